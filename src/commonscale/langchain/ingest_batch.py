"""Documents with ready vectors, and how any LangChain store that embeds what it is given can take them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from commonscale.core.errors import SourceError
from commonscale.core.types import Modality, Vector


@dataclass(frozen=True)
class Batch:
    """Documents with their vectors.

    Attributes:
        documents: with different ids.
        vectors: unit rows (n, d).
        modality: of all of them.
        key: metadata key that names it.
        fingerprint: identity of the encoder; None if it is not one of Commonscale's.
    """

    documents: list[Document]
    vectors: Vector
    modality: Modality
    key: str
    fingerprint: str | None

    @property
    def ids(self) -> list[str]:
        """Their ids."""
        return [str(document.id) for document in self.documents]

    @property
    def texts(self) -> list[str]:
        """Their contents."""
        return [document.page_content for document in self.documents]

    @property
    def metadatas(self) -> list[dict[str, Any]]:
        """Their metadata."""
        return [document.metadata for document in self.documents]


Writer: TypeAlias = Callable[[Any, Batch], None]


@dataclass(frozen=True)
class Way:
    """How a store takes vectors.

    Attributes:
        write: puts documents in, in place of those with the same ids.
        uuids: whether ids must be UUIDs.
        usually_uuids: whether ids must be UUIDs unless the store was set up otherwise.
        first_decides: whether the first documents decide for good which metadata there may be.
        place: names the collection, where ids are unique over several.
        refuse: raises if the store's settings do not let ids be kept.
    """

    write: Writer
    uuids: bool = False
    usually_uuids: bool = False
    first_decides: bool = False
    place: Callable[[Any], str] = lambda _store: ""
    refuse: Callable[[Any], None] = lambda _store: None


class Prepared(Embeddings):
    """Hands out vectors that are there already, in the order of their texts."""

    def __init__(self, texts: Sequence[str], vectors: Vector) -> None:
        self._pairs = list(zip(texts, vectors.tolist(), strict=True))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Give the vectors of the next texts."""
        taken, self._pairs = self._pairs[: len(texts)], self._pairs[len(texts) :]
        if [text for text, _ in taken] != list(texts):
            raise SourceError("the store asked for vectors of other texts than it was given, so they cannot be added")
        return [vector for _, vector in taken]

    def embed_query(self, text: str) -> list[float]:
        """Refuse: nothing is searched while adding."""
        raise SourceError(f"the store wanted to search for {text!r} while adding")


def through(attribute: str) -> Writer:
    """Add by a copy of the store whose embeddings, in this attribute, are replaced."""

    def write(store: Any, batch: Batch) -> None:
        prepared(store, attribute, batch).add_texts(batch.texts, batch.metadatas, ids=batch.ids)

    return write


def prepared(store: Any, attribute: str, batch: Batch) -> Any:
    """Copy a store, with embeddings in this attribute that hand out the batch's vectors.

    The copy is shallow: it has the client, the connection and the data of the store, so what is added is in both.
    """
    twin = copy.copy(store)
    setattr(twin, attribute, Prepared(batch.texts, batch.vectors))
    return twin
