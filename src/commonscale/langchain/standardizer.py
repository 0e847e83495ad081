"""A document compressor that puts any retriever's scores on the common scale."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import BeforeValidator, ConfigDict, InstanceOf

from commonscale.core.calibration import Calibration, normal_cdf
from commonscale.core.cosines import cosines_with, to_cosine
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.ranking import Quotas, select
from commonscale.core.recorded import COSINE_KEY, MODALITY_KEY, QUESTION_KEY, scale_of_marked
from commonscale.core.rescoring import rescored
from commonscale.core.types import IMAGE, Hit, Modality, Vector
from commonscale.langchain.documents import modality_of, scored_copy
from commonscale.langchain.fields import refuse_unknown
from commonscale.langchain.image_questions import mark_of
from commonscale.langchain.questions import QuestionEmbedder, as_embeddings


def _calibration(value: Any) -> Any:
    return Calibration.load(value) if isinstance(value, (str, os.PathLike)) else value


class _Compared(NamedTuple):
    """A document, its cosine with a question, and that question's mark if it is known."""

    document: Document
    cosine: float
    mark: str | None


class SimilarityStandardizer(BaseDocumentCompressor):
    """Rescores the mixed documents of any retriever and sorts them, best first.

    The cosine of each document comes from the first of these that applies:

    1. ``vectors``: the question is embedded and compared with the document's stored vector;
    2. Commonscale's own record of it, if one of its retrievers found the document for the very same question;
    3. ``score_key`` and ``score_kind``: the score in its metadata is converted.

    LangChain's documents have no score of their own and its "relevance scores" are not comparable, so nothing
    is guessed: a document without a score, or one whose kind was not named, or with a record for another question
    (rephrased, or from results that were indexed again) and nothing else, is an error. A calibration that corrects
    cosines (by method ``"chance"`` or by centring) needs the question and ``embeddings``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    calibration: Annotated[InstanceOf[Calibration], BeforeValidator(_calibration)]
    """The common scale; also as the path of its file."""

    score_key: str = "score"
    """Metadata key of the score that the store returned."""

    score_kind: Any = None
    """What that score means: one of ``commonscale.SCORE_KINDS``, or a function from scores to cosines; for all or
    by modality."""

    vectors: str | Callable[[Sequence[Document]], Any] | None = None
    """Where stored vectors are: a metadata key, or a function from documents to vectors (n, d)."""

    embeddings: Any = None
    """What the question is embedded with, where ``vectors`` are used."""

    image_embeddings: Any = None
    """What it is embedded with for images, if that differs."""

    probability: bool = False
    """Give scores in [0, 1] (see ``Calibration.probability``), for cut-offs."""

    modality_key: str = "modality"
    """Metadata key with the modality of documents that no retriever of Commonscale found."""

    top_n: int | None = None
    """How many documents to return; None for all."""

    def __init__(self, **fields: Any) -> None:
        """Set up the compressor.

        Args:
            **fields: the fields above.

        Raises:
            InvalidInputError: if a keyword names no field, vectors are to be compared and no embeddings are given, or
                ``top_n`` is below 1.
            UnknownScoreKindError: if a score kind has no known name.
            FileNotFoundError: if the calibration is a path that does not exist.
        """
        refuse_unknown(type(self), fields)
        super().__init__(**fields)
        for kind in self.score_kind.values() if isinstance(self.score_kind, Mapping) else [self.score_kind]:
            if kind is not None:
                to_cosine([], kind)
        if self.vectors is not None and self.embeddings is None:
            raise InvalidInputError("vectors= needs embeddings=, which the question is embedded with")
        if self.top_n is not None and self.top_n < 1:
            raise InvalidInputError(f"top_n must be at least 1, or None for no limit, got {self.top_n!r}")

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks = None,  # noqa: ARG002 (the interface names it)
    ) -> list[Document]:
        """Put documents on the common scale.

        Args:
            documents: in any order.
            query: the question: what vectors are compared with, and whose records are used.
            callbacks: not used.

        Returns:
            Copies with ``commonscale_score``, ``commonscale_cosine`` and ``commonscale_modality`` in their
            metadata, best first; of documents with the same id only the best.

        Raises:
            InvalidInputError: if a document has no score, no vector or no modality, or only the cosine of another
                question.
            UnknownScoreKindError: if the kind of a score was not named.
            NotCalibratedError: if the calibration does not cover a modality.
        """
        return self._standardized(documents, query, mark_of(query))

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        """Put documents on the common scale, as a step of a chain, where the question is not known.

        Records of cosines are used if all documents have the same question's.

        Raises:
            InvalidInputError: if the question is needed; see also ``compress_documents``.
        """
        if self.vectors is not None:
            raise InvalidInputError(
                "cosines from vectors need the question, which a chain does not pass on to this step: call "
                "compress_documents(documents, query), or use a ContextualCompressionRetriever"
            )
        marks = {document.metadata.get(QUESTION_KEY) for document in documents}
        return self._standardized(documents, "", marks.pop() if len(marks) == 1 else None)

    def _standardized(self, documents: Sequence[Document], query: str, mark: str | None) -> list[Document]:
        hits = sorted(self._hits(documents, query, mark), key=lambda hit: -hit.score)
        budget = len(hits) if self.top_n is None else self.top_n
        chosen = select(hits, budget, Quotas({}, {}), lambda hit: hit.modality, lambda hit: hit.id or id(hit))
        return [scored_copy(hit.payload.document, hit, hit.payload.mark) for hit in chosen]

    def _hits(self, documents: Sequence[Document], query: str, mark: str | None) -> list[Hit]:
        """Put each modality's documents on the scale; a payload is the document with its cosine's question."""
        modalities = [modality_of(document, MODALITY_KEY, self.modality_key) for document in documents]
        hits: list[Hit] = []
        for modality in dict.fromkeys(modalities):
            group = [d for d, m in zip(documents, modalities, strict=True) if m == modality]
            found = self._cosines(group, modality, query, mark)
            calibration = scale_of_marked(self.calibration, mark)
            question = self._question(modality, query) if calibration.corrects(modality) else None
            ids = [each.document.id or "" for each in found]
            scores = rescored(calibration, modality, np.array([each.cosine for each in found]), ids, question)
            if self.probability:
                scores = normal_cdf(scores)
            hits += [
                Hit(each.document.id or "", modality, each.cosine, float(score), each)
                for each, score in zip(found, scores, strict=True)
            ]
        return hits

    def _cosines(
        self, documents: Sequence[Document], modality: Modality, query: str, mark: str | None
    ) -> list[_Compared]:
        recorded = [
            None if self._has_vector(document) else _recorded(document, modality, mark) for document in documents
        ]
        unknown = [document for document, cosine in zip(documents, recorded, strict=True) if cosine is None]
        if not unknown:
            found: list[float] = []
        elif self.vectors is not None:
            found = self._compared(unknown, modality, query)
        else:
            found = self._converted(unknown, modality)
        rest = iter(found)
        # Which question a store's score answers is not known: a retriever may have rephrased it.
        other = mark if self.vectors is not None else None
        return [
            _Compared(d, next(rest), other) if cosine is None else _Compared(d, cosine, mark)
            for d, cosine in zip(documents, recorded, strict=True)
        ]

    def _has_vector(self, document: Document) -> bool:
        if isinstance(self.vectors, str):
            return document.metadata.get(self.vectors) is not None
        return self.vectors is not None

    def _compared(self, documents: Sequence[Document], modality: Modality, query: str) -> list[float]:
        question = self._question(modality, query)
        if question is None:
            raise InvalidInputError("vectors are compared with the question, which is empty; ask something")
        key = self.vectors
        vectors = key(documents) if callable(key) else [_value(d, str(key), "vector") for d in documents]
        if len(vectors) != len(documents):
            raise InvalidInputError(f"vectors= gave {len(vectors)} vectors for {len(documents)} documents")
        cosines: list[float] = cosines_with(question, vectors).tolist()
        return cosines

    def _question(self, modality: Modality, query: str) -> Vector | None:
        """Embed the question for a modality; None without embeddings, or where the question is not known."""
        own = self.image_embeddings if modality == IMAGE and self.image_embeddings is not None else self.embeddings
        if own is None or not query:
            return None
        return QuestionEmbedder({modality: as_embeddings(own)}).embed([query])[0].vector_for(modality)

    def _converted(self, documents: Sequence[Document], modality: Modality) -> list[float]:
        kind = self.score_kind.get(modality) if isinstance(self.score_kind, Mapping) else self.score_kind
        for document in documents:
            if COSINE_KEY in document.metadata and (kind is None or document.metadata.get(self.score_key) is None):
                raise InvalidInputError(
                    f"the cosine recorded with the {modality!r} document {document.id!r} may be that of another "
                    f"question: call compress_documents(documents, query) with the question that it was found for, or "
                    f"give vectors= and embeddings= to compare with this one (or score_key= and score_kind= of a score)"
                )
        scores = [_value(document, self.score_key, "score") for document in documents]
        if kind is None:
            raise UnknownScoreKindError(
                f"what the score {scores[0]!r} of the {modality!r} document {documents[0].id!r} means is not known: "
                f"pass score_kind= (see commonscale.SCORE_KINDS), for all or by modality, or give vectors="
            )
        cosines: list[float] = to_cosine(scores, kind).tolist()
        return cosines


def _recorded(document: Document, modality: Modality, mark: str | None) -> float | None:
    metadata = document.metadata
    if mark is None or metadata.get(QUESTION_KEY) != mark:
        return None
    if metadata.get(MODALITY_KEY) != modality or COSINE_KEY not in metadata:
        return None
    return float(metadata[COSINE_KEY])


def _value(document: Document, key: str, what: str) -> Any:
    value = document.metadata.get(key)
    if value is None:
        raise InvalidInputError(
            f"document {document.id!r} ({document.page_content[:60]!r}) has no {what} in metadata[{key!r}]; let the "
            f"retriever write it there, or name another key"
        )
    return value
