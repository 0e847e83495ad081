"""A document compressor that balances text and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document

from commonscale.core.errors import InvalidInputError
from commonscale.core.ranking import Quotas, first_of_each, select, warn_of_shortages
from commonscale.core.recorded import MODALITY_KEY
from commonscale.core.types import Modality
from commonscale.langchain.documents import modality_of
from commonscale.langchain.fields import refuse_unknown


class ModalityBalancer(BaseDocumentCompressor):
    """Keeps at least and at most so many documents of each modality, and so many in all.

    Documents are expected best first and keep their order; one that comes twice (by id) counts once. Use it in
    a ``ContextualCompressionRetriever``, or after a retriever with ``retriever | ModalityBalancer(...)``.
    """

    minimum: Mapping[str, int] | None = None
    """At least this many documents of a modality, such as ``{"image": 2}``; where fewer came in, all of them, with a
    ``CommonscaleWarning``."""

    maximum: Mapping[str, int] | None = None
    """At most this many documents of a modality."""

    top_n: int | None = None
    """How many documents in all; None for as many as came."""

    modality_key: str = "modality"
    """Metadata key with a document's modality; without one, the modality it was found in counts."""

    def __init__(self, **fields: Any) -> None:
        """Set up the balancer.

        Args:
            **fields: the fields above.

        Raises:
            InvalidInputError: if a keyword names no field, a number is negative, a minimum lies above its maximum, or
                the minima add up to more than ``top_n``.
        """
        refuse_unknown(type(self), fields)
        super().__init__(**fields)
        quotas = self._quotas()
        if self.top_n is not None:
            if self.top_n < 1:
                raise InvalidInputError(f"top_n must be at least 1, or None for no limit, got {self.top_n!r}")
            quotas.check(self.top_n)

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,  # noqa: ARG002 (the interface names it)
        callbacks: Callbacks = None,  # noqa: ARG002 (the interface names it)
    ) -> list[Document]:
        """Choose documents under the quotas.

        Args:
            documents: best first.
            query: not used.
            callbacks: not used.

        Returns:
            The chosen documents themselves, in their order.

        Raises:
            InvalidInputError: if there are quotas and a document names no modality.
        """
        quotas = self._quotas()
        budget = len(documents) if self.top_n is None else self.top_n
        chosen = select(documents, budget, quotas, self._modality if quotas else _any_modality, _identity)
        if self.minimum:
            retrieved = len(first_of_each(documents, _identity))
            warn_of_shortages(quotas, map(self._modality, chosen), retrieved, what="documents", setting="k")
        return chosen

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        """Choose documents under the quotas, as a step of a chain."""
        return self.compress_documents(documents, "")

    def _modality(self, document: Document) -> str:
        # What a document is, before what it was found as: a picture found by its caption costs a picture.
        return modality_of(document, self.modality_key, MODALITY_KEY)

    def _quotas(self) -> Quotas:
        return Quotas(self.minimum or {}, self.maximum or {})


def _any_modality(document: Document) -> Modality:  # noqa: ARG001 (without quotas it makes no difference)
    return ""


def _identity(document: Document) -> str | int:
    return document.id if document.id is not None else id(document)
