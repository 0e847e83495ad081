"""Which documents of a store a source searches, and how they are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.documents import Document

from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.types import Modality

IdKey: TypeAlias = str | Callable[[Document], str]


@dataclass(frozen=True)
class View:
    """One modality's part of a store.

    Attributes:
        modality: the modality.
        modality_key: metadata key that holds a document's modality; None if the store holds only this one.
        modality_filter: the store's own kind of filter for this modality, instead of ``modality_key``.
        filter: the store's own kind of filter for the documents that may be found at all.
        id_key: metadata key, or function of a document, that gives its id; None for the store's own id.
        score_kind: what the store's scores mean, where that cannot be found out.
    """

    modality: Modality
    modality_key: str | None = None
    modality_filter: Any = None
    filter: Any = None
    id_key: IdKey | None = None
    score_kind: str | Converter | None = None

    @property
    def restricted(self) -> bool:
        """Whether some documents of the store may be outside the view."""
        return not (self.modality_key is None and self.modality_filter is None and self.filter is None)

    def labeled(self, metadata: Mapping[str, Any], document_id: str) -> bool:
        """Tell whether a document has this modality, by its label.

        Raises:
            InvalidInputError: if it has no label: it would never be found in any modality.
        """
        if self.modality_key is None:
            return True
        label = metadata.get(self.modality_key)
        if label is None:
            raise InvalidInputError(
                f"document {document_id!r} of the mixed store has no metadata[{self.modality_key!r}], so its modality "
                f"is not known; add the label, name another key with modality_key=..., or give modality_filters=..."
            )
        return bool(label == self.modality)

    def id_of(self, document: Document, own_id: str | None) -> str:
        """Give a document's id.

        Args:
            document: the document.
            own_id: the id that the store knows it by, if it said.

        Raises:
            SourceError: if there is none.
        """
        key = self.id_key
        found: Any
        if callable(key):
            found = key(document)
        elif key is not None:
            found = document.metadata.get(key)
        else:
            found = own_id if own_id is not None else document.id
        if found is None or found == "":
            raise SourceError(
                f"a document of modality {self.modality!r} has no id ({document.page_content[:60]!r}); add documents "
                f"with ids, or say where they are with id_key='<metadata key>' or id_key=<function of the document>"
            )
        return str(found)


def equality_test(condition: Any, name: str) -> Callable[[Document], bool]:
    """Turn a filter into a test of documents.

    Args:
        condition: a function of the document, or a mapping of metadata keys to the value, or list of values,
            that is wanted.
        name: what the condition is called in messages.

    Raises:
        InvalidInputError: if it is neither.
    """
    if callable(condition):
        return lambda document: bool(condition(document))
    if not isinstance(condition, Mapping) or any(isinstance(wanted, Mapping) for wanted in condition.values()):
        raise InvalidInputError(
            f"{name} must be a function of the document or a mapping from metadata keys to values, got {condition!r}"
        )
    wanted_values = {key: wanted if isinstance(wanted, list) else [wanted] for key, wanted in condition.items()}
    return lambda document: all(document.metadata.get(key) in wanted for key, wanted in wanted_values.items())
