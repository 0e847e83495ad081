"""How each LangChain store takes ready vectors so that one copy of each id is left.

LangChain has no standard way to add vectors: stores embed what they are given. Some have ``add_embeddings``, with one
of two signatures; of the others a shallow copy is used, whose embeddings hand out the vectors.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import numpy as np

from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.faiss_rows import removes_in_order, unchanged
from commonscale.langchain.documents import IMAGE_PATH_KEY
from commonscale.langchain.ingest_batch import Batch, Way, prepared, through
from commonscale.langchain.live_ingest import telling
from commonscale.langchain.live_store import LiveVectorStore


def _add_lists(store: Any, batch: Batch) -> None:
    store.add_embeddings(batch.texts, batch.vectors.tolist(), batch.metadatas, batch.ids)


def _add_to_pgvector(store: Any, batch: Batch) -> None:
    """Add, unless another collection has one of the ids: its document would be overwritten, and ours not be found."""
    table = store.EmbeddingStore
    with store._make_sync_session() as session:
        mine = store.get_collection(session)
        elsewhere = [] if mine is None else [table.id.in_(batch.ids), table.collection_id != mine.uuid]
        taken = session.query(table.id).filter(*elsewhere).first() if elsewhere else None
    if taken is not None:
        raise InvalidInputError(
            f"the id {taken[0]!r} belongs to another collection of this database, and PGVector keeps ids once for all "
            f"collections; leave ids= out, or put the collection's name into the ids"
        )
    _add_lists(store, batch)


def _add_pairs(store: Any, batch: Batch) -> None:
    pairs = list(zip(batch.texts, batch.vectors.tolist(), strict=True))
    # OpenSearch refuses more than bulk_size at once, Elasticsearch takes no notice of it.
    store.add_embeddings(pairs, batch.metadatas, batch.ids, bulk_size=max(500, len(pairs)))


def _add_to_memory(store: Any, batch: Batch) -> None:
    prepared(store, "embedding", batch).add_documents(batch.documents, ids=batch.ids)


def _add_to_chroma(store: Any, batch: Batch) -> None:
    # An upsert leaves metadata as they were that the new document does not have.
    store.delete(batch.ids)
    through("_embedding_function")(store, batch)


def _add_to_lancedb(store: Any, batch: Batch) -> None:
    metadatas = batch.metadatas
    if store.get_table() is None:
        # The first rows decide for good which metadata there are, so images must find a place among them.
        metadatas = [{IMAGE_PATH_KEY: "", "image_url": "", **metadata} for metadata in metadatas]
    else:
        store.delete(batch.ids)
    twin = prepared(store, "_embedding", batch)
    # The default, "overwrite", drops everything that was added before.
    twin.mode = "append"
    twin.add_texts(batch.texts, metadatas, ids=batch.ids)


def _add_to_weaviate(store: Any, batch: Batch) -> None:
    through("_embedding")(store, batch)
    failed = store._client.batch.failed_objects
    if failed:
        # The store only logs them.
        raise SourceError(
            f"Weaviate refused {len(failed)} of {len(batch.documents)} objects, the first: {failed[0].message}"
        )


def _add_to_milvus(store: Any, batch: Batch) -> None:
    if not store.client.has_collection(store.collection_name):
        store.add_embeddings(batch.texts, batch.vectors.tolist(), batch.metadatas, ids=batch.ids)
        return
    prepared(store, "embedding_func", batch).upsert(batch.ids, batch.documents)


def _add_to_async_elasticsearch(store: Any, batch: Batch) -> None:
    """Add by a client of its own, in an event loop of its own: the store's belongs to the loop that used it first."""
    from elasticsearch import AsyncElasticsearch

    from commonscale.stores.elasticsearch import copied_client

    pairs = list(zip(batch.texts, batch.vectors.tolist(), strict=True))

    async def added() -> None:
        async with copied_client(store.client, AsyncElasticsearch) as client:
            twin = copy.copy(store)
            twin._store = copy.copy(store._store)
            twin._store.client = client
            await twin.aadd_embeddings(pairs, batch.metadatas, batch.ids)

    # In a thread, since a notebook's loop is running already.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(added())).result()


def _refuse_async(store: Any) -> None:
    raise InvalidInputError(
        f"a {type(store).__name__} can only be added to asynchronously; give a {type(store).__name__[5:]} over the "
        f"same table"
    )


def _refuse_own_ids(store: Any) -> None:
    if getattr(store, "auto_id", False) or getattr(store, "is_aoss", False):
        setting = "auto_id=True" if getattr(store, "auto_id", False) else "Amazon's serverless offering"
        raise InvalidInputError(
            f"this {type(store).__name__} gives ids of its own ({setting}), so that putting items in again would "
            f"double them; let it keep the ids that it is given"
        )


def _add_to_faiss(store: Any, batch: Batch) -> None:
    """Remove rows that are to be replaced first: the store would add them, and then fail over their ids."""
    row_of = {name: row for row, name in store.index_to_docstore_id.items()}
    known = [place for place, key in enumerate(batch.ids) if key in row_of]
    added = list(range(len(batch.documents)))
    if known and removes_in_order(store.index):
        store.delete([batch.ids[place] for place in known])
    elif known:
        rows = [row_of[batch.ids[place]] for place in known]
        same = unchanged(store.index, rows, batch.vectors[known])
        for place, as_before in zip(known, same, strict=True):
            if not as_before or store.docstore.search(batch.ids[place]) != batch.documents[place]:
                raise InvalidInputError(
                    f"the id {batch.ids[place]!r} is in the FAISS store already, with another vector, text or "
                    f"metadata; a faiss.{type(store.index).__name__} cannot replace rows: build it anew, or use a "
                    f"flat index"
                )
        added = [place for place in added if place not in set(known)]
    if added:
        pairs = [(batch.texts[place], batch.vectors[place].tolist()) for place in added]
        metadatas, ids = [batch.metadatas[p] for p in added], [batch.ids[p] for p in added]
        store.add_embeddings(pairs, metadatas, ids)


def _add_to_index(index: Any, batch: Batch) -> None:
    from commonscale.index.document import Document as Stored

    stored = []
    for document in batch.documents:
        metadata = {key: value for key, value in document.metadata.items() if key not in (batch.key, IMAGE_PATH_KEY)}
        path = document.metadata.get(IMAGE_PATH_KEY)
        stored.append(Stored(str(document.id), batch.modality, document.page_content, path, metadata))
    index.add(stored, np.asarray(batch.vectors), encoder_fingerprint=batch.fingerprint)


def _add_by_own_attribute(store: Any, batch: Batch) -> None:
    """Add to a store that is not known: find the attribute that holds its embeddings."""
    held = getattr(store, "embeddings", None)
    name = next(
        (key for key, value in getattr(store, "__dict__", {}).items() if held is not None and value is held), None
    )
    if name is None:
        raise InvalidInputError(
            f"{type(store).__name__} cannot be given ready vectors: it has no attribute that holds its embeddings. "
            f"Known are {', '.join(WAYS)}"
        )
    store.delete(batch.ids)
    through(name)(store, batch)


WAYS: Mapping[str, Way] = MappingProxyType(
    {
        "InMemoryVectorStore": Way(_add_to_memory),
        "FAISS": Way(_add_to_faiss),
        "MemoryIndex": Way(_add_to_index),
        "QdrantVectorStore": Way(through("_embeddings"), uuids=True),
        "Chroma": Way(_add_to_chroma),
        "LanceDB": Way(_add_to_lancedb, first_decides=True),
        "Milvus": Way(_add_to_milvus, refuse=_refuse_own_ids),
        # Its table has one primary key over all collections.
        "PGVector": Way(_add_to_pgvector, place=lambda store: str(store.collection_name)),
        # Its column of ids has the type UUID, unless the table was made with another.
        "PGVectorStore": Way(_add_lists, usually_uuids=True),
        "AsyncPGVectorStore": Way(_add_lists, refuse=_refuse_async),
        "ElasticsearchStore": Way(_add_pairs),
        "AsyncElasticsearchStore": Way(_add_to_async_elasticsearch),
        "OpenSearchVectorSearch": Way(_add_pairs, refuse=_refuse_own_ids),
        "WeaviateVectorStore": Way(_add_to_weaviate, uuids=True),
    }
)
"""By the name of a store's class or of one it derives from."""


def way_of(store: Any) -> Way:
    """Give the way of a store."""
    if isinstance(store, LiveVectorStore):
        return telling(store, way_of(store.store))
    return next((WAYS[cls.__name__] for cls in type(store).__mro__ if cls.__name__ in WAYS), Way(_add_by_own_attribute))
