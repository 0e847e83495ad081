"""A LangChain vector store that tells living calibrations what comes and goes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from commonscale.core.changes import Changes, Memory, Watchable
from commonscale.core.errors import InvalidInputError
from commonscale.core.threads import off_thread
from commonscale.langchain.live_vectors import ids_of_all, vectors_of
from commonscale.langchain.view import View

_PASSED = (
    "get_by_ids",
    "aget_by_ids",
    "search",
    "asearch",
    "similarity_search",
    "asimilarity_search",
    "similarity_search_with_score",
    "asimilarity_search_with_score",
    "similarity_search_by_vector",
    "asimilarity_search_by_vector",
    "similarity_search_with_relevance_scores",
    "asimilarity_search_with_relevance_scores",
    "max_marginal_relevance_search",
    "amax_marginal_relevance_search",
    "max_marginal_relevance_search_by_vector",
    "amax_marginal_relevance_search_by_vector",
    "_similarity_search_with_relevance_scores",
    "_asimilarity_search_with_relevance_scores",
    "_select_relevance_score_fn",
)
"""Methods that every vector store has, and that change nothing."""

_OTHER_CHANGES = frozenset(
    prefix + name
    for prefix in ("", "a")
    for name in (
        "add_embeddings", "add_images", "clear", "create_collection", "delete_collection", "delete_by_filter", "drop",
        "drop_table", "drop_tables", "drop_vectorstore_table", "merge_from", "recreate_collection",
        "reset_collection", "update_document", "update_documents", "upsert", "create_tables_if_not_exists",
    )
)  # fmt: skip
"""Methods that some stores have beside those of LangChain's interface, and that change what is in them."""


class LiveVectorStore(VectorStore):
    """A vector store as it is, that tells what is added to it and deleted from it.

    Use it in place of the store, and give it to our retriever. A retriever that is kept calibrated
    (``keep_calibrated``) then follows ``add_texts``, ``add_documents``, ``delete`` and their asynchronous forms.

        store = LiveVectorStore(Chroma("documents", embeddings))
        retriever = StandardizedMultiModalRetriever(store=store)
        retriever.keep_calibrated(questions)
        store.add_documents(documents)

    Vectors of new documents are read back from the store; where it does not give them, the texts are embedded once
    more. After methods of the store's own that change it (``add_embeddings``, ``merge_from``), everything is fitted
    anew. What is changed past it (by the store itself, or by another process) is not seen.

    Attributes:
        store: the store.
        changes: who is told of changes.
    """

    def __init__(self, store: VectorStore) -> None:
        """Wrap a store.

        Args:
            store: any LangChain vector store.

        Raises:
            InvalidInputError: if it is none, or one that is wrapped already.
        """
        if not isinstance(store, VectorStore) or isinstance(store, LiveVectorStore):
            wrapped = isinstance(store, LiveVectorStore)
            raise InvalidInputError(
                f"LiveVectorStore takes a LangChain vector store, got a {type(store).__name__}"
                f"{', which tells of its changes already' if wrapped else ''}"
            )
        self.store: Any = store
        self.changes = Changes()

    def __getattr__(self, name: str) -> Any:
        """Give what only the store has."""
        if name in ("store", "changes") or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        found = getattr(self.store, name)
        return self._other_change(found) if name in _OTHER_CHANGES and callable(found) else found

    @classmethod
    def from_texts(  # type: ignore[override]
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        store: type[VectorStore],
        **kwargs: Any,
    ) -> LiveVectorStore:
        """Make a store of texts, and wrap it.

        Args:
            texts: the texts.
            embedding: what they are embedded with.
            metadatas: metadata for each.
            ids: an id for each.
            store: the class of the store that is to be wrapped.
            **kwargs: what its ``from_texts`` takes.
        """
        given = kwargs if ids is None else {**kwargs, "ids": ids}
        return cls(store.from_texts(texts, embedding, metadatas, **given))

    @property
    def embeddings(self) -> Embeddings | None:
        """The store's embeddings."""
        found: Embeddings | None = self.store.embeddings
        return found

    def watchable(self, view: View) -> Watchable:
        """Say of which documents a source of the store must be told."""
        obstacle = None
        if view.filter is not None or view.modality_filter is not None:
            obstacle = "the retriever has filter= or modality_filters=, which only the store itself can apply"
        return Watchable(
            self.changes,
            lambda document: view.modality_key is None or document.metadata.get(view.modality_key) == view.modality,
            obstacle,
        )

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, as the store does."""
        given = list(texts)
        with self.changes.turns.turn():
            memory = self._remembered(ids)
            added = list(self.store.add_texts(given, metadatas, **_with(kwargs, ids)))
            self._tell(added, _documents(given, metadatas), memory)
        return added

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, as the store does."""
        given = list(texts)
        async with self.changes.turns.aturn():
            memory = await off_thread(self._remembered, ids)
            added = list(await self.store.aadd_texts(given, metadatas, **_with(kwargs, ids)))
            await off_thread(self._tell, added, _documents(given, metadatas), memory)
        return added

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add documents, as the store does."""
        with self.changes.turns.turn():
            memory = self._remembered(_ids_of(documents, kwargs))
            added = list(self.store.add_documents(documents, **kwargs))
            self._tell(added, documents, memory)
        return added

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add documents, as the store does."""
        async with self.changes.turns.aturn():
            memory = await off_thread(self._remembered, _ids_of(documents, kwargs))
            added = list(await self.store.aadd_documents(documents, **kwargs))
            await off_thread(self._tell, added, documents, memory)
        return added

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents by id, as the store does; without ids it deletes all in most stores."""
        with self.changes.turns.turn():
            gone, memory = self._going(ids, kwargs)
            deleted: bool | None = self.store.delete(ids, **kwargs)
            self._gone(gone, memory, deleted)
        return deleted

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete documents by id, as the store does; without ids it deletes all in most stores."""
        async with self.changes.turns.aturn():
            gone, memory = await off_thread(self._going, ids, kwargs)
            deleted: bool | None = await self.store.adelete(ids, **kwargs)
            await off_thread(self._gone, gone, memory, deleted)
        return deleted

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Search the store."""
        found: list[Document] = self.store.similarity_search(query, k=k, **kwargs)
        return found

    def _remembered(self, ids: Sequence[str | None] | None) -> Memory:
        return self.changes.remember([one for one in ids or () if one is not None])

    def _tell(self, ids: Sequence[str], documents: Sequence[Document], memory: Memory) -> None:
        if not memory or not ids:
            return
        if len(ids) != len(documents):
            self.changes.unknown()
            return
        self.changes.added(ids, vectors_of(self.store, ids, documents), documents, memory)

    def _going(self, ids: list[str] | None, kwargs: dict[str, Any]) -> tuple[list[str] | None, Memory]:
        """Remember what is about to be deleted; None if it is not known."""
        if not self.changes.watchers:
            return [], ()
        if kwargs:
            # A condition of the store's own, perhaps.
            return None, self.changes.nothing()
        if ids is None:
            return ids_of_all(self.store), self.changes.nothing()
        return list(ids), self.changes.remember(ids)

    def _gone(self, ids: list[str] | None, memory: Memory, deleted: bool | None) -> None:
        if ids is None or deleted is False:
            self.changes.unknown()
        else:
            self.changes.removed(ids, memory)

    def _other_change(self, change: Callable[..., Any]) -> Callable[..., Any]:
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            async with self.changes.turns.aturn():
                result = await change(*args, **kwargs)
                await off_thread(self.changes.unknown)
            return result

        def done(*args: Any, **kwargs: Any) -> Any:
            with self.changes.turns.turn():
                result = change(*args, **kwargs)
                self.changes.unknown()
            return result

        return awaited if inspect.iscoroutinefunction(change) else done


def _passed(name: str) -> Callable[..., Any]:
    def method(self: LiveVectorStore, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.store, name)(*args, **kwargs)

    method.__name__, method.__qualname__ = name, f"LiveVectorStore.{name}"
    method.__doc__ = "Ask the store."
    return method


for _name in _PASSED:
    setattr(LiveVectorStore, _name, _passed(_name))


def _with(kwargs: dict[str, Any], ids: list[str] | None) -> dict[str, Any]:
    return kwargs if ids is None else {**kwargs, "ids": ids}


def _documents(texts: Sequence[str], metadatas: Sequence[dict[str, Any]] | None) -> list[Document]:
    known = metadatas if metadatas is not None else [{}] * len(texts)
    return [Document(text, metadata=metadata or {}) for text, metadata in zip(texts, known, strict=False)]


def _ids_of(documents: Sequence[Document], kwargs: dict[str, Any]) -> list[str | None]:
    given = kwargs.get("ids")
    return [document.id for document in documents] if given is None else list(given)
