"""LangChain: our retriever against plain store searches and against the EnsembleRetriever."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_classic.retrievers import EnsembleRetriever
from langchain_community.vectorstores import FAISS
from langchain_community.vectorstores.utils import DistanceStrategy
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from timing import Comparison, Scenario
from world import Settings, Vectors, World

from commonscale.langchain import StandardizedMultiModalRetriever

OURS = "StandardizedMultiModalRetriever"
STORES = "embed, then similarity_search_with_score_by_vector() of both stores"
RETRIEVERS = "as_retriever() of both stores"
THEIRS = "EnsembleRetriever of both stores"
COMPARISONS = (Comparison(OURS, STORES, 1.1), Comparison(OURS, RETRIEVERS, 1.1), Comparison(OURS, THEIRS, 1.0))

MakeStore = Callable[[str, Vectors, "LookUp"], Any]


class LookUp(Embeddings):
    """Embeddings that look their vectors up, so that embedding costs the same, and little, on every side."""

    def __init__(self, vectors: Mapping[str, list[float]]) -> None:
        self.vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Look passages up."""
        return [self.vectors[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Look a question up."""
        return self.vectors[text]


def scenarios(world: World, settings: Settings, fast: int, slow: int) -> dict[str, Callable[[str], Scenario]]:
    """Give the scenarios by name, each built only when it is run.

    Args:
        world: the vectors.
        settings: sizes and k.
        fast: repetitions over FAISS, which answers in milliseconds.
        slow: repetitions over InMemoryVectorStore, which takes about a second.
    """
    return {
        "LangChain, FAISS": lambda name: _scenario(name, _faiss_store, world, settings, fast),
        "LangChain, InMemoryVectorStore": lambda name: _scenario(name, _memory_store, world, settings, slow),
    }


def _scenario(name: str, make_store: MakeStore, world: World, settings: Settings, repetitions: int) -> Scenario:
    k = settings.k
    asked = [f"question {i}" for i in range(len(world.questions))]
    banked = [f"calibration question {i}" for i in range(len(world.calibration))]
    vectors = [*world.questions.tolist(), *world.calibration.tolist()]
    embeddings = LookUp(dict(zip(asked + banked, vectors, strict=True)))
    text_store = make_store("text", world.texts, embeddings)
    image_store = make_store("image", world.images, embeddings)
    ours = StandardizedMultiModalRetriever(text_store=text_store, image_store=image_store, embeddings=embeddings, k=k)
    ours.calibrate(banked, method=settings.method)
    single = [store.as_retriever(search_kwargs={"k": k}) for store in (text_store, image_store)]
    # With an id_key, since without it all pictures with empty page_content would be one document.
    theirs = EnsembleRetriever(retrievers=single, weights=[0.5, 0.5], id_key="id")

    def stores(number: int) -> None:
        vector = embeddings.embed_query(asked[number])
        text_store.similarity_search_with_score_by_vector(vector, k=k)
        image_store.similarity_search_with_score_by_vector(vector, k=k)

    contenders: dict[str, Callable[[int], object]] = {
        OURS: lambda number: ours.invoke(asked[number]),
        STORES: stores,
        RETRIEVERS: lambda number: [retriever.invoke(asked[number]) for retriever in single],
        THEIRS: lambda number: theirs.invoke(asked[number]),
    }
    return Scenario(name, contenders, COMPARISONS, repetitions)


def _content(modality: str, count: int) -> tuple[list[str], list[str], list[dict[str, str]]]:
    """Give ids, contents and metadata: pictures have no content, as in real stores."""
    ids = [f"{modality}:{i}" for i in range(count)]
    contents = [f"passage {i}" if modality == "text" else "" for i in range(count)]
    return ids, contents, [{"id": document_id} for document_id in ids]


def _faiss_store(modality: str, vectors: Vectors, embeddings: LookUp) -> FAISS:
    ids, contents, metadata = _content(modality, len(vectors))
    pairs = list(zip(contents, vectors.tolist(), strict=True))
    return FAISS.from_embeddings(
        pairs, embeddings, metadatas=metadata, ids=ids, distance_strategy=DistanceStrategy.MAX_INNER_PRODUCT
    )


def _memory_store(modality: str, vectors: Vectors, embeddings: LookUp) -> InMemoryVectorStore:
    ids, contents, metadata = _content(modality, len(vectors))
    store = InMemoryVectorStore(embeddings)
    rows = zip(ids, contents, metadata, vectors.tolist(), strict=True)
    store.store.update({i: {"id": i, "vector": row, "text": text, "metadata": data} for i, text, data, row in rows})
    return store
