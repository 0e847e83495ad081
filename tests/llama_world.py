"""A tiny corpus with a modality gap as real LlamaIndex stores, nodes and models, and its exact ranking in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from llama_index.core.bridge.pydantic import Field
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore, TextNode
from llama_index.core.vector_stores import SimpleVectorStore

from commonscale.llama_index import StandardizedMultiModalRetriever
from sources import unit_rows

DIMENSION = 16
TEXTS = 60
IMAGES = 25
QUESTIONS = [f"question {i}" for i in range(40)]


class FixedEmbedding(MultiModalEmbedding):
    """Looks every vector up by string: question, text or image path; counts what it embeds."""

    vectors: dict[str, list[float]] = Field(default_factory=dict, exclude=True)
    calls: list[str] = Field(default_factory=list, exclude=True)
    model_name: str = "fixed"

    @classmethod
    def class_name(cls) -> str:
        return "FixedEmbedding"

    def _look_up(self, key: str) -> list[float]:
        self.calls.append(key)
        return list(self.vectors[key])

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._look_up(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._look_up(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._look_up(text)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._look_up(img_file_path)

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._look_up(img_file_path)


class World:
    """Texts near the questions, images far from them, with every cosine known."""

    def __init__(self, seed: int = 0, norm: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        gap = np.zeros(DIMENSION, dtype=np.float32)
        gap[0] = 1.0
        self.questions = self._unit(unit_rows(rng, len(QUESTIONS), DIMENSION) + gap)
        self.text_vectors = self._unit(unit_rows(rng, TEXTS, DIMENSION) + gap)
        self.image_vectors = self._unit(unit_rows(rng, IMAGES, DIMENSION) - 0.3 * gap)
        stretch = norm ** rng.uniform(-1, 1, size=(TEXTS + IMAGES, 1)).astype(np.float32)
        stored = np.concatenate([self.text_vectors, self.image_vectors]) * stretch
        self.text_nodes: list[BaseNode] = [
            TextNode(
                id_=f"t{i}", text=f"text {i}", metadata={"modality": "text", "parity": i % 2}, embedding=row.tolist()
            )
            for i, row in enumerate(stored[:TEXTS])
        ]
        self.image_nodes: list[BaseNode] = [
            ImageNode(
                id_=f"i{i}",
                image_path=f"image{i}.png",
                metadata={"modality": "image", "parity": i % 2},
                embedding=row.tolist(),
            )
            for i, row in enumerate(stored[TEXTS:])
        ]
        self._ids = [f"t{i}" for i in range(TEXTS)] + [f"i{i}" for i in range(IMAGES)]
        self._cosines = self.questions.astype(np.float64) @ np.concatenate([self.text_vectors, self.image_vectors]).T
        vectors = {text: row.tolist() for text, row in zip(QUESTIONS, self.questions, strict=True)}
        vectors |= {f"text {i}": row.tolist() for i, row in enumerate(self.text_vectors)}
        vectors |= {f"image{i}.png": row.tolist() for i, row in enumerate(self.image_vectors)}
        self.model = FixedEmbedding(vectors=vectors)

    @property
    def mixed_nodes(self) -> list[BaseNode]:
        """Texts and images in turn, so that rows of one modality are not adjacent."""
        nodes = list(self.text_nodes)
        for place, node in enumerate(self.image_nodes):
            nodes.insert(2 * place, node)
        return nodes

    def cosines(self, question: int) -> dict[str, float]:
        """Every document's cosine with a question, in float64."""
        return dict(zip(self._ids, self._cosines[question].tolist(), strict=True))

    def ranking(self, question: int, k: int, *, raw: bool = False) -> list[tuple[str, float]]:
        """The exact joint ranking by brute force: ids and scores."""
        scores = self._cosines[question].copy()
        for part in (slice(0, TEXTS), slice(TEXTS, None)):
            tops = self._cosines[:, part].max(axis=1)
            if not raw:
                scores[part] = (scores[part] - tops.mean()) / tops.std()
        order = np.argsort(-scores)[:k]
        return [(self._ids[i], float(scores[i])) for i in order]

    @staticmethod
    def _unit(rows: np.ndarray) -> np.ndarray:
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def retriever_over(world: World, stores: tuple[Any, ...], **settings: Any) -> StandardizedMultiModalRetriever:
    """A retriever over the two stores given (texts, images), or the one (mixed)."""
    if len(stores) == 1:
        named: dict[str, Any] = {"store": stores[0], "nodes": world.mixed_nodes}
    else:
        named = dict(zip(("text_store", "image_store"), stores, strict=True))
        named |= {"text_nodes": world.text_nodes, "image_nodes": world.image_nodes}
    if isinstance(stores[0], SimpleVectorStore):
        named |= {name: {n.node_id: n for n in nodes} for name, nodes in named.items() if name.endswith("nodes")}
    return StandardizedMultiModalRetriever(**{"embed_model": world.model, **named, **settings})


def simple_store(nodes: Sequence[BaseNode]) -> SimpleVectorStore:
    """A SimpleVectorStore of the nodes."""
    store = SimpleVectorStore()
    store.add(list(nodes))
    return store


def faiss_store(nodes: Sequence[BaseNode], metric: str = "IP") -> Any:
    """A FaissVectorStore of the nodes over a flat index."""
    faiss: Any = pytest.importorskip("faiss")
    module = pytest.importorskip("llama_index.vector_stores.faiss")
    store = module.FaissVectorStore(faiss_index=getattr(faiss, f"IndexFlat{metric}")(DIMENSION))
    store.add(list(nodes))
    return store


def two_simple(world: World) -> StandardizedMultiModalRetriever:
    """The plainest retriever: two SimpleVectorStores, calibrated."""
    retriever = retriever_over(world, (simple_store(world.text_nodes), simple_store(world.image_nodes)))
    retriever.calibrate(QUESTIONS, method="standardized")
    return retriever


def pairs(nodes: list[NodeWithScore]) -> list[tuple[str, float]]:
    """Ids and scores of what a retriever returned."""
    return [(node.node.node_id, float(node.get_score())) for node in nodes]
