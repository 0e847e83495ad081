"""A LlamaIndex vector store that tells living calibrations what comes and goes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from pydantic import PrivateAttr

from commonscale.core.changes import Changes, Memory, Watchable
from commonscale.core.errors import InvalidInputError
from commonscale.core.threads import off_thread
from commonscale.core.types import IMAGE
from commonscale.llama_index.live_catalog import LiveCatalog
from commonscale.llama_index.modality import IMAGE_CLASSES, modality_of
from commonscale.llama_index.query_store import QuerySource
from commonscale.llama_index.restriction import TYPE_KEY
from commonscale.llama_index.sources import NodeSource, StoreRequest
from commonscale.llama_index.table_store import NodeTableSource

REFERENCE = "ref_doc_id"
"""Under this key every store keeps the document that a node belongs to."""


class LiveVectorStore(BasePydanticVectorStore):
    """A vector store as it is, that tells what is added to it and deleted from it.

    Give it to an index (``StorageContext``, ``VectorStoreIndex``, ``MultiModalVectorStoreIndex``) and to our retriever,
    in place of the store. A retriever that is kept calibrated (``keep_calibrated``) then follows all that the index
    does: ``insert_nodes``, ``delete_ref_doc``, ``delete_nodes`` and their asynchronous forms.

        store = LiveVectorStore(QdrantVectorStore("documents", client=client))
        index = VectorStoreIndex.from_vector_store(store, embed_model)
        retriever = StandardizedMultiModalRetriever(store=store, embed_model=embed_model)
        retriever.keep_calibrated(questions)
        index.insert_nodes(nodes)

    Whatever it does not have itself is the store's. What is changed past it (by the store itself, or by another
    process) is not seen.

    Attributes:
        store: the store.
    """

    store: Any

    _changes: Changes = PrivateAttr(default_factory=Changes)
    _request: StoreRequest | None = PrivateAttr(default=None)
    _catalogs: tuple[LiveCatalog, ...] = PrivateAttr(default=())

    def __init__(self, store: BasePydanticVectorStore) -> None:
        """Wrap a store.

        Args:
            store: any LlamaIndex vector store.

        Raises:
            InvalidInputError: if it is none, or one that is wrapped already.
        """
        if not isinstance(store, BasePydanticVectorStore) or isinstance(store, LiveVectorStore):
            wrapped = isinstance(store, LiveVectorStore)
            raise InvalidInputError(
                f"LiveVectorStore takes a LlamaIndex vector store, got a {type(store).__name__}"
                f"{', which tells of its changes already' if wrapped else ''}"
            )
        fields: dict[str, Any] = {"store": store, "is_embedding_query": store.is_embedding_query}
        super().__init__(stores_text=store.stores_text, **fields)

    @classmethod
    def class_name(cls) -> str:
        """Give the name that LlamaIndex knows the class by."""
        return "LiveVectorStore"

    def __getattr__(self, name: str) -> Any:
        """Give what only the store has."""
        if name.startswith("__") or name in ("_changes", "_request", "_catalogs", "store"):
            return super().__getattr__(name)  # type: ignore[misc]
        return getattr(self.store, name)

    @property
    def client(self) -> Any:
        """The store's client."""
        return self.store.client

    @property
    def changes(self) -> Changes:
        """Who is told of changes."""
        return self._changes

    def asked(self, request: StoreRequest) -> StoreRequest:
        """Learn how the store is searched; give what is asked of the store itself."""
        if request.catalog is not None:
            self._catalogs = (*self._catalogs, LiveCatalog(request.catalog, {}))
            request = replace(request, catalog=self._catalogs[-1])
        self._request = request
        return request

    def watchable(self, source: NodeSource, request: StoreRequest) -> Watchable:
        """Say of which nodes a source of the store must be told."""
        obstacle = None if request.filters is None else "the retriever has filters=, so that not all documents count"
        return Watchable(self._changes, lambda node: _belongs(node, source, request), obstacle)

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes with their embeddings, as the store does."""
        with self._changes.turns.turn():
            memory = self._changes.remember([node.node_id for node in nodes])
            added: list[str] = self.store.add(nodes, **kwargs)
            self._tell(nodes, memory, added)
        return added

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes with their embeddings, as the store does."""
        async with self._changes.turns.aturn():
            memory = await off_thread(self._changes.remember, [node.node_id for node in nodes])
            added: list[str] = await self.store.async_add(nodes, **kwargs)
            await off_thread(self._tell, nodes, memory, added)
        return added

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document, as the store does."""
        with self._changes.turns.turn():
            ids, memory = self._passing(None, _of_document(ref_doc_id))
            self.store.delete(ref_doc_id, **delete_kwargs)
            self._gone(ids, memory)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document, as the store does."""
        async with self._changes.turns.aturn():
            ids, memory = await off_thread(self._passing, None, _of_document(ref_doc_id))
            await self.store.adelete(ref_doc_id, **delete_kwargs)
            await off_thread(self._gone, ids, memory)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by id, by filters, or by both, as the store does."""
        with self._changes.turns.turn():
            ids, memory = self._passing(node_ids, filters)
            self.store.delete_nodes(node_ids, filters, **delete_kwargs)
            self._gone(ids, memory)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by id, by filters, or by both, as the store does."""
        async with self._changes.turns.aturn():
            ids, memory = await off_thread(self._passing, node_ids, filters)
            await self.store.adelete_nodes(node_ids, filters, **delete_kwargs)
            await off_thread(self._gone, ids, memory)

    def clear(self) -> None:
        """Delete all nodes, as the store does."""
        with self._changes.turns.turn():
            ids = self._found(None)
            self.store.clear()
            self._gone(ids, self._changes.nothing())

    async def aclear(self) -> None:
        """Delete all nodes, as the store does."""
        async with self._changes.turns.aturn():
            ids = await off_thread(self._found, None)
            await self.store.aclear()
            await off_thread(self._gone, ids, self._changes.nothing())

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """Read nodes, as the store does."""
        found: list[BaseNode] = self.store.get_nodes(node_ids, filters, **kwargs)
        return found

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **kwargs: Any
    ) -> list[BaseNode]:
        """Read nodes, as the store does."""
        found: list[BaseNode] = await self.store.aget_nodes(node_ids, filters, **kwargs)
        return found

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Query the store."""
        found: VectorStoreQueryResult = self.store.query(query, **kwargs)
        return found

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Query the store."""
        found: VectorStoreQueryResult = await self.store.aquery(query, **kwargs)
        return found

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Persist the store."""
        self.store.persist(persist_path, fs=fs)

    def told(self, nodes: Sequence[BaseNode], memory: Memory) -> None:
        """Tell of nodes that our own functions have put into the store."""
        self._tell(nodes, memory)

    def _tell(self, nodes: Sequence[BaseNode], memory: Memory, store_ids: Sequence[str] = ()) -> None:
        if memory and len(store_ids) == len(nodes):
            for catalog in self._catalogs:
                catalog.learn(dict(zip(store_ids, nodes, strict=True)))
        vectors = None
        if memory:
            with suppress(ValueError, TypeError):
                vectors = np.array([node.get_embedding() for node in nodes], dtype=np.float32)
        self._changes.added([node.node_id for node in nodes], vectors, nodes, memory)

    def _passing(self, node_ids: list[str] | None, filters: MetadataFilters | None) -> tuple[list[str] | None, Memory]:
        """Find the nodes that are about to be deleted, and remember them; None if they cannot be found."""
        if not self._changes.watchers:
            return [], ()
        ids = node_ids
        if filters is not None and (ids := self._found(filters)) is not None and node_ids is not None:
            ids = sorted(set(ids) & set(node_ids))
        return ids, self._changes.nothing() if ids is None else self._changes.remember(ids)

    def _found(self, filters: MetadataFilters | None) -> list[str] | None:
        """List the nodes that pass filters, all without any; None if the store does not let them be listed."""
        from commonscale.llama_index.stores import open_source

        if not self._changes.watchers or self._request is None:
            return []
        request = replace(self._request, mixed=False, filters=filters)
        try:
            source: Any = open_source(self.store, request)
            return [node_id for ids, _ in source.scan() for node_id in ids]
        except Exception:  # noqa: BLE001 (whatever the store raises: the deletion itself may still succeed)
            return None

    def _gone(self, ids: list[str] | None, memory: Memory) -> None:
        if ids is None:
            self._changes.unknown()
        else:
            self._changes.removed(ids, memory)


def _of_document(ref_doc_id: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=REFERENCE, value=ref_doc_id)], condition=FilterCondition.AND)


def _belongs(node: BaseNode, source: NodeSource, request: StoreRequest) -> bool:
    """Tell whether a source finds a node: databases go by what is in its metadata, others by the node itself."""
    if not request.mixed:
        return True
    if not isinstance(source, (NodeTableSource, QuerySource)):
        return modality_of(node, request.modality_key) == request.modality
    if request.modality_key == TYPE_KEY:
        return (node.class_name() in IMAGE_CLASSES) == (request.modality == IMAGE)
    return bool(node.metadata.get(request.modality_key) == request.modality)
