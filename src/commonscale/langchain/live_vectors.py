"""The vectors of documents that were just put into a LangChain store, at a cost that does not grow with the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from langchain_core.documents import Document

from commonscale.core.faiss_pages import stored_rows
from commonscale.core.types import Vector
from commonscale.langchain.view import View
from commonscale.stores.table import TableSource

_Reader: TypeAlias = Callable[[Any, Sequence[str], Sequence[Document]], Any]


def vectors_of(store: Any, ids: Sequence[str], documents: Sequence[Document]) -> Vector | None:
    """Read the vectors of new documents back, or embed their texts once more.

    Args:
        store: the store.
        ids: their ids (n).
        documents: the documents (n).

    Returns:
        Shape (n, d); None if there is no way to know them.
    """
    tried = (_tried(read, store, ids, documents) for read in _READERS)
    return next((vectors for vectors in tried if vectors is not None), None)


def ids_of_all(store: Any) -> list[str] | None:
    """List all documents of a store; None if it does not let them be listed."""
    try:
        source: Any = _source(store)
        return [one for ids, _ in source.scan() for one in ids]
    except Exception:  # noqa: BLE001 (as above)
        return None


def _tried(read: _Reader, store: Any, ids: Sequence[str], documents: Sequence[Document]) -> Vector | None:
    try:
        vectors = np.asarray(read(store, ids, documents), dtype=np.float32)
    except Exception:  # noqa: BLE001 (each store that cannot be read in this way fails with an error of its own)
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == len(ids) else None


def _source(store: Any) -> Any:
    from commonscale.langchain.stores import source_of

    return source_of(store, View("any"))


def _from_records(store: Any, ids: Sequence[str], documents: Sequence[Document]) -> list[Any]:
    # How InMemoryVectorStore keeps them.
    del documents
    return [store.store[one]["vector"] for one in ids]


def _from_rows(store: Any, ids: Sequence[str], documents: Sequence[Document]) -> Vector:
    # LangChain's FAISS adds at the end, so that the last rows are looked at first.
    del documents
    wanted, rows = set(ids), dict[str, int]()
    for row, name in reversed(store.index_to_docstore_id.items()):
        if name in wanted:
            rows.setdefault(name, row)
            if len(rows) == len(wanted):
                break
    return stored_rows(store.index, np.array([rows[one] for one in ids], dtype=np.int64))


def _from_database(store: Any, ids: Sequence[str], documents: Sequence[Document]) -> Vector:
    del documents
    source = _source(store)
    if not isinstance(source, TableSource):
        raise TypeError(type(store).__name__)
    return source.vectors_of(ids)


def _embedded(store: Any, ids: Sequence[str], documents: Sequence[Document]) -> list[Any]:
    del ids
    found: list[Any] = store.embeddings.embed_documents([document.page_content for document in documents])
    return found


_READERS: tuple[_Reader, ...] = (_from_records, _from_rows, _from_database, _embedded)
