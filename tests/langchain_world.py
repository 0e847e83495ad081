"""A small corpus with a modality gap, in every LangChain store, and its ranking by brute force."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

DIMENSION = 16
STORES = ["in-memory", "faiss-l2", "faiss-ip", "faiss-cosine", "faiss-normalized", "index"]
QUESTIONS = [f"question {number}" for number in range(60)]


class WordEmbeddings(Embeddings):
    """Gives every text its own vector, the same in every process; counts what it is asked."""

    def __init__(self, dimension: int = DIMENSION, offset: float = 1.0) -> None:
        self.dimension = dimension
        self.offset = offset
        self.asked: list[str] = []

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(text)
        rng = np.random.default_rng(zlib.crc32(text.encode()))
        vector = rng.standard_normal(self.dimension) * 0.5
        vector[0] += self.offset
        return vector.tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


@dataclass
class World:
    """Texts near the questions' side of the space, images far from it."""

    norms: str = "unit"
    texts: int = 60
    images: int = 25
    ids: dict[str, list[str]] = field(init=False)
    vectors: dict[str, np.ndarray] = field(init=False)
    embeddings: WordEmbeddings = field(default_factory=WordEmbeddings)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        self.ids = {"text": [f"t{i}" for i in range(self.texts)], "image": [f"i{i}" for i in range(self.images)]}
        self.vectors = {}
        for modality, shift in (("text", 1.0), ("image", -1.0)):
            rows = rng.standard_normal((len(self.ids[modality]), DIMENSION)) * 0.4
            rows[:, 0] += shift
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            if self.norms != "unit":
                rows *= rng.uniform(0.3, 10.0, (len(rows), 1))
            self.vectors[modality] = rows.astype(np.float32)

    def cosines(self, question: str, modality: str) -> dict[str, float]:
        vector = np.array(WordEmbeddings().embed_query(question))
        rows = self.vectors[modality].astype(np.float64)
        values = rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)
        return dict(zip(self.ids[modality], values.tolist(), strict=True))

    def expected(self, question: str, k: int, *, raw: bool = False) -> list[tuple[str, float, float]]:
        """The best k of all documents as (id, cosine, score), statistics from QUESTIONS, all by brute force."""
        ranked = []
        for modality in self.ids:
            best = [max(self.cosines(q, modality).values()) for q in QUESTIONS]
            mean, std = (0.0, 1.0) if raw else (np.mean(best), np.std(best))
            ranked += [(i, c, (c - mean) / std) for i, c in self.cosines(question, modality).items()]
        return sorted(ranked, key=lambda hit: -hit[2])[:k]

    def documents(self, modality: str) -> list[Document]:
        content = "passage {}" if modality == "text" else ""
        return [
            Document(id=i, page_content=content.format(i), metadata={"modality": modality, "number": n})
            for n, i in enumerate(self.ids[modality])
        ]

    def store(self, kind: str, modalities: list[str], folder: Path) -> Any:
        documents = [document for modality in modalities for document in self.documents(modality)]
        vectors = np.concatenate([self.vectors[modality] for modality in modalities])
        return build_store(kind, documents, vectors, self.embeddings, folder / "-".join(modalities))

    def stores(self, kind: str, layout: str, folder: Path) -> dict[str, Any]:
        """The retriever's arguments that name stores."""
        if layout == "mixed":
            return {"store": self.store(kind, ["text", "image"], folder)}
        return {"text_store": self.store(kind, ["text"], folder), "image_store": self.store(kind, ["image"], folder)}


def build_store(kind: str, documents: list[Document], vectors: np.ndarray, embeddings: Embeddings, folder: Path) -> Any:
    if kind == "in-memory":
        store = InMemoryVectorStore(embeddings)
        add_to_memory(store, documents, vectors)
        return store
    if kind == "index":
        from commonscale.index import Document as IndexDocument
        from commonscale.index import FaissIndex

        index = FaissIndex.create(folder, vectors.shape[1])
        index.add(
            [IndexDocument(d.id, d.metadata["modality"], d.page_content, metadata=d.metadata) for d in documents],
            vectors,
        )
        return index
    from langchain_community.vectorstores.faiss import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy

    options: dict[str, dict[str, Any]] = {
        "faiss-l2": {},
        "faiss-ip": {"distance_strategy": DistanceStrategy.MAX_INNER_PRODUCT},
        "faiss-cosine": {"distance_strategy": DistanceStrategy.COSINE},
        "faiss-normalized": {"normalize_L2": True},
    }
    return FAISS.from_embeddings(
        [(d.page_content, v) for d, v in zip(documents, vectors.tolist(), strict=True)],
        embeddings,
        metadatas=[d.metadata for d in documents],
        ids=[d.id for d in documents],
        **options[kind],
    )


def add_to_memory(store: InMemoryVectorStore, documents: list[Document], vectors: np.ndarray) -> None:
    for document, vector in zip(documents, vectors.tolist(), strict=True):
        record = {"id": document.id, "vector": vector, "text": document.page_content, "metadata": document.metadata}
        store.store[document.id] = record
