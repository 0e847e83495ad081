"""The vocabulary of every signature: modality, question, candidates, hit, ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, overload, runtime_checkable

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError

Modality: TypeAlias = str
"""A label such as ``"text"`` or ``"image"``; any set of labels works."""

Vector: TypeAlias = npt.NDArray[np.float32]
Floats: TypeAlias = npt.NDArray[np.float64]

TEXT: Modality = "text"
IMAGE: Modality = "image"


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question, embedded once and ready for every source.

    Attributes:
        text: its wording; empty if only the vector is known.
        vector: its embedding (d,), searched in every modality that has no vector of its own.
        vectors: embeddings by modality, where modalities have encoders of their own.
        kind: ``"text"``, or ``"image"`` for a question that is a picture, which has a scale of its own.
        stratum: a key of the calibration's strata (a tenant, a language, a type of question); None for the scale of
            all questions.
    """

    text: str = ""
    vector: Vector | None = None
    vectors: Mapping[Modality, Vector] = field(default_factory=dict)
    kind: Literal["text", "image"] = "text"
    stratum: str | None = None

    def vector_for(self, modality: Modality) -> Vector:
        """Give the embedding (d,) to search ``modality`` with.

        Raises:
            InvalidInputError: if the question has no embedding for it.
        """
        vector = self.vectors.get(modality, self.vector)
        if vector is None:
            raise InvalidInputError(
                f"question {self.text!r} has no vector for modality {modality!r}; "
                f"give Question(vector=...) or Question(vectors={{{modality!r}: ...}})"
            )
        return vector


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What one source found for one question, best first.

    Attributes:
        ids: document ids, unique within the source.
        cosines: true cosines (n,) of question and document, descending; an ``unbounded`` source gives its scores.
        payloads: what the framework needs of each hit (a node, a document), or None.
        similarities: what is put on the common scale (n,), descending, where that is not the cosine: it is centred or
            corrected for hubs (see ``Correction``), and then the hits are in its order, not in that of the cosines.
    """

    ids: Sequence[str]
    cosines: Floats
    payloads: Sequence[Any] | None = None
    similarities: Floats | None = None


@runtime_checkable
class Source(Protocol):
    """One modality's search: the only thing that Commonscale asks of a vector store.

    A source may also have ``async def asearch(questions, k)`` with the same meaning; where it is missing,
    asynchronous searches run ``search`` in a thread. A source whose attribute ``concurrent`` is true may be
    searched in a helping thread by synchronous searches too, beside other sources; one without it is searched in
    the caller's thread. One whose attribute ``remote`` is true asks another process, which may be down or slow, and
    is tried again after passing failures. One whose attribute ``unbounded`` is true returns scores of another kind
    (BM25) in place of cosines: they may lie anywhere, but more must mean better. One whose attribute ``by_text`` is
    true searches by ``Question.text``, so that questions need no vector for it. ``probe(questions, k)``,
    which returns one ``Probe`` per question, lets a source be verified (see ``commonscale.core.verification``); one
    whose attribute ``needs_check`` is false is verified on demand only, not before the first search; one with
    ``version`` and ``read_version()`` is verified again when its store is set up anew (see ``FirstUse``).
    ``scan(size)``, which yields the ids and stored vectors (n, d) of all documents that it can find, in batches, and
    ``vectors_of(ids)`` let methods be used that need the vectors (see ``commonscale.core.scanning``).
    Vectors that were decoded from a compressed form are marked by ``lossy_vectors``. Where the store tells of what is
    added and deleted, ``changes`` is a ``Watchable`` (see ``commonscale.core.changes``).
    """

    def search(self, questions: Sequence[Question], k: int) -> Sequence[Candidates]:
        """Find the ``k`` documents closest to each question.

        Args:
            questions: one or many; a source should answer them in one batch where its store can.
            k: how many hits per question, at least 1.

        Returns:
            One ``Candidates`` per question with ``min(k, documents)`` hits, best first.
        """
        ...


@runtime_checkable
class Prior(Protocol):
    """What is known of the modality that a question wants, before anything is searched."""

    def offsets(self, questions: Sequence[Question]) -> Mapping[Modality, Floats]:
        """Give what to add to the scores of each modality.

        Args:
            questions: the questions, embedded.

        Returns:
            By modality, one number per question (n,), in units of the common scale; a modality left out gets nothing.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """What a store said of one question, before any conversion, beside the vectors that it holds.

    Attributes:
        ids: document ids (n), in the store's order.
        numbers: the store's own numbers (n,), as they came.
        vectors: the stored vectors (n, d), as stored; None if the store cannot give them.
        kind: what the numbers are taken for: the name of a score kind, or a function to cosines; None if they are
            no function of the cosine.
        converted: whether cosines are made from the numbers; False if they are computed from the vectors, so that
            the numbers only decide what is found.
        lossy: whether the vectors are decoded from a compressed form.
    """

    ids: Sequence[str]
    numbers: Floats
    vectors: Vector | None
    kind: str | Callable[[Floats], Floats] | None = None
    converted: bool = True
    lossy: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One document in a ranking.

    Attributes:
        id: the document's id.
        modality: the modality it was found in.
        cosine: raw cosine with the question, in [-1, 1]; from a source whose scores are of another kind (``unbounded``)
            its score, as it was standardized.
        score: place on the common scale: standard deviations above the modality's mean (Eq. 2). Without
            standardization (``raw=True``) it is the cosine.
        payload: the framework's node or document, if the source gave one.
    """

    id: str
    modality: Modality
    cosine: float
    score: float
    payload: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Ranking(Sequence[Hit]):
    """The hits of one question, best first; a sequence of ``Hit``.

    Attributes:
        hits: the hits in order.
        missing: why a modality is not in it, for modalities whose source failed and was skipped (see
            ``FailurePolicy``); empty if all were searched.
    """

    hits: tuple[Hit, ...]
    missing: Mapping[Modality, str] = field(default_factory=dict, hash=False)

    @property
    def ids(self) -> list[str]:
        """The documents' ids in ranked order."""
        return [hit.id for hit in self.hits]

    def of(self, modality: Modality) -> list[Hit]:
        """Give the hits of one modality, in ranked order."""
        return [hit for hit in self.hits if hit.modality == modality]

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)
