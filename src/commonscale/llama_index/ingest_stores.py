"""How each LlamaIndex store takes nodes so that one copy of each id is left."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode

from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.extras import require
from commonscale.core.faiss_rows import removes_in_order, unchanged
from commonscale.core.types import Modality


@dataclass(frozen=True)
class Labels:
    """What nodes of one call have in common.

    Attributes:
        modality: their modality.
        key: metadata key that names it; None if they are not labeled.
        fingerprint: identity of the encoder that made their vectors; None if it is not one of Commonscale's.
    """

    modality: Modality
    key: str | None
    fingerprint: str | None


Writer: TypeAlias = Callable[[Any, list[BaseNode], Labels], None]


@dataclass(frozen=True)
class Way:
    """How a store takes nodes.

    Attributes:
        write: puts nodes with their embeddings in, in place of those with the same ids.
        uuids: whether ids must be UUIDs.
        first_decides: whether the first nodes decide for good which metadata there may be.
    """

    write: Writer
    uuids: bool = False
    first_decides: bool = False


def _add(store: Any, nodes: list[BaseNode], _labels: Labels) -> None:
    """Add to a store that overwrites by id."""
    store.add(nodes)


def _replace(store: Any, nodes: list[BaseNode], _labels: Labels) -> None:
    """Add to a store that would keep both copies, or the old one."""
    store.delete_nodes([node.node_id for node in nodes])
    store.add(nodes)


def _upsert_into_milvus(store: Any, nodes: list[BaseNode], _labels: Labels) -> None:
    # A copy with the store's own setting for this: deleting first would leave nothing if inserting failed.
    store.model_copy(update={"upsert_mode": True}).add(nodes)


def _add_to_lancedb(store: Any, nodes: list[BaseNode], _labels: Labels) -> None:
    if store._table is None:
        # Somebody may have made the table since the store was opened: by default the store would make it anew, empty.
        with suppress(ValueError, FileNotFoundError):
            store._table = store._connection.open_table(store._table_name)
    if store._table is not None:
        from commonscale.stores.lancedb import within

        # The store's own delete_nodes() puts ids into double quotes, which LanceDB takes for names of columns.
        store._table.delete(within("id", [node.node_id for node in nodes]))
    store.add(nodes)


def _add_to_elasticsearch(store: Any, nodes: list[BaseNode], _labels: Labels) -> None:
    """Add by a client of its own, in an event loop of its own: the store's belongs to the loop that used it first."""
    from elasticsearch import AsyncElasticsearch

    from commonscale.stores.elasticsearch import copied_client

    async def added() -> None:
        async with copied_client(store.client, AsyncElasticsearch) as client:
            twin = copy.copy(store)
            twin._store = copy.copy(store._store)
            twin._store.client = client
            await twin.async_add(nodes)

    # In a thread, since a notebook's loop is running already.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(added())).result()


def _add_to_weaviate(store: Any, nodes: list[BaseNode], _labels: Labels) -> None:
    store.add(nodes)
    failed = store.client.batch.failed_objects
    if failed:
        # The client only logs them.
        raise SourceError(f"Weaviate refused {len(failed)} of {len(nodes)} objects, the first: {failed[0].message}")


def _add_to_opensearch(store: Any, nodes: list[BaseNode], _labels: Labels) -> None:
    if store._client.is_aoss:
        raise InvalidInputError(
            "Amazon's serverless OpenSearch gives ids of its own, so that putting items in again would double them; "
            "add them once with store.add(nodes), or use a cluster of your own"
        )
    store.add(nodes)


def _add_to_faiss_map(store: Any, nodes: list[BaseNode], _labels: Labels) -> None:
    """Give replaced nodes the numbers that they had, and new ones numbers that were never given.

    The store numbers a new row by how many there are, so that after a deletion it gives a number away twice.
    """
    faiss = require("faiss", "faiss")
    mapped, number_of = store.client, store._node_id_to_faiss_id_map
    vectors = np.array([node.get_embedding() for node in nodes], dtype=np.float32)
    taken = faiss.vector_to_array(mapped.id_map)
    row_of = {int(number): row for row, number in enumerate(taken.tolist())}
    known = [place for place, node in enumerate(nodes) if node.node_id in number_of]
    if known and not removes_in_order(mapped.index):
        rows = [row_of[int(number_of[nodes[place].node_id])] for place in known]
        _refuse_changed(mapped.index, [nodes[p].node_id for p in known], rows, vectors[known], "FaissMapVectorStore")
        fresh = [place for place in range(len(nodes)) if place not in set(known)]
        nodes, vectors, known = [nodes[place] for place in fresh], vectors[fresh], []
    if not nodes:
        return
    free = max(row_of, default=-1) + 1
    numbers = []
    for node in nodes:
        numbers.append(int(number_of.get(node.node_id, free)))
        free += node.node_id not in number_of
    if known:
        mapped.remove_ids(np.array([numbers[place] for place in known], dtype=np.int64))
    mapped.add_with_ids(vectors, np.array(numbers, dtype=np.int64))
    for node, number in zip(nodes, numbers, strict=True):
        number_of[node.node_id] = number
        store._faiss_id_to_node_id_map[number] = node.node_id


def _refuse_changed(index: Any, ids: Sequence[str], rows: Sequence[int], vectors: Any, store_name: str) -> None:
    same = unchanged(index, rows, vectors)
    if not same.all():
        inner = type(require("faiss", "faiss").downcast_index(index)).__name__
        raise InvalidInputError(
            f"{int((~same).sum())} of these ids are in the {store_name} already with another vector, the first: "
            f"{ids[int(np.argmin(same))]!r}; this store over a faiss.{inner} cannot replace rows; build it anew, or "
            f"use a FaissMapVectorStore over a flat index"
        )


def add_rows(store: Any, nodes: Sequence[BaseNode], row_of: Mapping[str, int]) -> list[tuple[BaseNode, str]]:
    """Add nodes to a FaissVectorStore, which knows rows only.

    Args:
        store: the store.
        nodes: nodes with their embeddings.
        row_of: rows of the nodes that are in it.

    Returns:
        The nodes that were not in yet, each with the store's id.

    Raises:
        InvalidInputError: if one is in already with another vector.
    """
    known = [node for node in nodes if node.node_id in row_of]
    if known:
        vectors = np.array([node.get_embedding() for node in known], dtype=np.float32)
        ids = [node.node_id for node in known]
        _refuse_changed(store.client, ids, [row_of[i] for i in ids], vectors, "FaissVectorStore")
    fresh = [node for node in nodes if node.node_id not in row_of]
    return list(zip(fresh, store.add(fresh), strict=True)) if fresh else []


def _add_to_index(index: Any, nodes: list[BaseNode], labels: Labels) -> None:
    from commonscale.index.document import Document

    documents = []
    for node in nodes:
        metadata = {key: value for key, value in node.metadata.items() if key != labels.key}
        path = None
        if isinstance(node, ImageNode):
            path = node.image_path
            kept = {"image_url": node.image_url, "image_base64": node.image, "mime_type": node.image_mimetype}
            if path is None:
                metadata |= {key: value for key, value in kept.items() if value is not None}
        text = node.get_content(metadata_mode=MetadataMode.NONE)
        documents.append(Document(node.node_id, labels.modality, text, path, metadata))
    vectors = np.array([node.get_embedding() for node in nodes], dtype=np.float32)
    index.add(documents, vectors, encoder_fingerprint=labels.fingerprint)


WAYS: Mapping[str, Way] = MappingProxyType(
    {
        "SimpleVectorStore": Way(_add),
        "FaissMapVectorStore": Way(_add_to_faiss_map),
        "MemoryIndex": Way(_add_to_index),
        "QdrantVectorStore": Way(_add, uuids=True),
        "ChromaVectorStore": Way(_replace),
        "PGVectorStore": Way(_replace),
        "LanceDBVectorStore": Way(_add_to_lancedb, first_decides=True),
        "MilvusVectorStore": Way(_upsert_into_milvus),
        "ElasticsearchStore": Way(_add_to_elasticsearch),
        "OpensearchVectorStore": Way(_add_to_opensearch),
        "WeaviateVectorStore": Way(_add_to_weaviate, uuids=True),
    }
)
"""By the name of a store's class or of one it derives from; any other store deletes the ids before it adds."""


def way_of(store: Any) -> Way:
    """Give the way of a store."""
    return next((WAYS[cls.__name__] for cls in type(store).__mro__ if cls.__name__ in WAYS), Way(_replace))
