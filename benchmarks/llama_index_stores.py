"""LlamaIndex: our retriever against plain store searches and against LlamaIndex's own multimodal retriever."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import faiss
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.data_structs import IndexDict
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.indices.multi_modal import MultiModalVectorIndexRetriever
from llama_index.core.retrievers import VectorIndexRetriever
from llama_index.core.schema import BaseNode, ImageNode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from llama_index.vector_stores.faiss import FaissVectorStore
from pydantic import PrivateAttr
from timing import Comparison, Scenario
from world import Settings, World

from commonscale.llama_index import StandardizedMultiModalRetriever

OURS = "StandardizedMultiModalRetriever"
STORES = "embed, then query() of both stores"
RETRIEVERS = "two VectorIndexRetrievers"
THEIRS = "MultiModalVectorIndexRetriever"
COMPARISONS = (Comparison(OURS, STORES, 1.1), Comparison(OURS, RETRIEVERS, 1.1), Comparison(OURS, THEIRS, 1.0))


class LookUp(MultiModalEmbedding):
    """An embedding model that looks its vectors up, so that embedding costs the same, and little, on every side."""

    _vectors: Mapping[str, list[float]] = PrivateAttr()

    def __init__(self, vectors: Mapping[str, list[float]]) -> None:
        super().__init__(model_name="look-up")
        self._vectors = vectors

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vectors[query]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vectors[query]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vectors[text]

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._vectors[str(img_file_path)]

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._vectors[str(img_file_path)]


def scenarios(world: World, settings: Settings, fast: int, slow: int) -> dict[str, Callable[[str], Scenario]]:
    """Give the scenarios by name, each built only when it is run.

    Args:
        world: the vectors.
        settings: sizes and k.
        fast: repetitions over FAISS, which answers in milliseconds.
        slow: repetitions over SimpleVectorStore, which takes about a second.
    """

    def faiss_store() -> BasePydanticVectorStore:
        return FaissVectorStore(faiss_index=faiss.IndexFlatIP(settings.dimension))

    return {
        "LlamaIndex, FaissVectorStore": lambda name: _scenario(name, faiss_store, world, settings, fast),
        "LlamaIndex, SimpleVectorStore": lambda name: _scenario(name, SimpleVectorStore, world, settings, slow),
    }


def _scenario(
    name: str, make_store: Callable[[], BasePydanticVectorStore], world: World, settings: Settings, repetitions: int
) -> Scenario:
    k = settings.k
    asked = [f"question {i}" for i in range(len(world.questions))]
    banked = [f"calibration question {i}" for i in range(len(world.calibration))]
    vectors = [*world.questions.tolist(), *world.calibration.tolist()]
    embed_model = LookUp(dict(zip(asked + banked, vectors, strict=True)))
    texts: list[BaseNode] = [
        TextNode(id_=f"text:{i}", text=f"passage {i}", embedding=row) for i, row in enumerate(world.texts.tolist())
    ]
    # Metadata, since LlamaIndex drops nodes that have neither text nor metadata.
    images: list[BaseNode] = [
        ImageNode(id_=f"image:{i}", metadata={"file": f"{i}.jpg"}, embedding=row)
        for i, row in enumerate(world.images.tolist())
    ]
    text_store, image_store = make_store(), make_store()
    context = StorageContext.from_defaults(vector_store=text_store, image_store=image_store)
    index = MultiModalVectorStoreIndex(
        [*texts, *images], storage_context=context, embed_model=embed_model, image_embed_model=embed_model
    )
    theirs = MultiModalVectorIndexRetriever(index, similarity_top_k=k, image_similarity_top_k=k)
    single = [
        VectorIndexRetriever(_single(store, nodes, context, embed_model), similarity_top_k=k)
        for store, nodes in ((text_store, texts), (image_store, images))
    ]
    ours = StandardizedMultiModalRetriever(
        text_store=text_store,
        image_store=image_store,
        text_nodes=_by_store_id(text_store, texts),
        image_nodes=_by_store_id(image_store, images),
        embed_model=embed_model,
        similarity_top_k=k,
    )
    ours.calibrate(banked, method=settings.method)

    def stores(number: int) -> None:
        query = VectorStoreQuery(
            query_embedding=embed_model.get_query_embedding(asked[number]), query_str=asked[number], similarity_top_k=k
        )
        text_store.query(query)
        image_store.query(query)

    contenders: dict[str, Callable[[int], object]] = {
        OURS: lambda number: ours.retrieve(asked[number]),
        STORES: stores,
        RETRIEVERS: lambda number: [retriever.retrieve(asked[number]) for retriever in single],
        THEIRS: lambda number: theirs.retrieve(asked[number]),
    }
    return Scenario(name, contenders, COMPARISONS, repetitions)


def _by_store_id(store: BasePydanticVectorStore, nodes: Sequence[BaseNode]) -> dict[str, BaseNode]:
    """Key nodes by the store's id: FAISS numbers its rows, other stores keep the node's id."""
    bare = [node.model_copy(update={"embedding": None}) for node in nodes]
    if isinstance(store, FaissVectorStore):
        return {str(row): node for row, node in enumerate(bare)}
    return {node.node_id: node for node in bare}


def _single(
    store: BasePydanticVectorStore, nodes: Sequence[BaseNode], context: StorageContext, embed_model: LookUp
) -> VectorStoreIndex:
    """Make an index of one store, which holds the vectors already."""
    struct = IndexDict(nodes_dict={key: node.node_id for key, node in _by_store_id(store, nodes).items()})
    own = StorageContext.from_defaults(vector_store=store, docstore=context.docstore)
    return VectorStoreIndex(index_struct=struct, storage_context=own, embed_model=embed_model)
