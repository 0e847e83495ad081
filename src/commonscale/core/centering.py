"""Gap removal: subtract each modality's mean, renormalize (GR-CLIP).

    q' = norm(q - mu_q)        d' = norm(d - mu_m)        score = q'.d'

with ``mu_q`` the mean of the questions and ``mu_m`` that of the documents of modality m, all of unit vectors
(arXiv 2507.19054). A document of text and image together is ``norm(a t + (1 - a) i - (a mu_t + (1 - a) mu_i))``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import unit_rows
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Floats, Modality, Question, Vector

QUESTION = "question"
"""The role of questions; documents have their modality's name as their role."""


@dataclass(frozen=True, slots=True, eq=False)
class Centering:
    """The means that gap removal subtracts.

    Attributes:
        questions: mean (d,) of the unit question vectors, by the modality that they search: the same for all, unless
            modalities have encoders of their own.
        documents: mean (d,) of the unit document vectors, by modality.
    """

    questions: Mapping[Modality, Floats]
    documents: Mapping[Modality, Floats]

    def __post_init__(self) -> None:
        if QUESTION in self.documents:
            raise InvalidInputError(f"a modality cannot be called {QUESTION!r}: that is the role of questions")
        if set(self.questions) != set(self.documents) or not self.documents:
            raise InvalidInputError(
                f"centering needs a mean of questions and one of documents for every modality, got questions for "
                f"{sorted(self.questions)} and documents for {sorted(self.documents)}"
            )
        for modality, mean in self.documents.items():
            asked = self.questions[modality]
            if np.ndim(mean) != 1 or np.shape(asked) != np.shape(mean) or not np.isfinite([*mean, *asked]).all():
                raise InvalidInputError(
                    f"the means of modality {modality!r} must be finite vectors (d,), got shapes {np.shape(asked)} "
                    f"(questions) and {np.shape(mean)} (documents)"
                )

    def __repr__(self) -> str:
        dimensions = {modality: len(mean) for modality, mean in self.documents.items()}
        return f"Centering(dimensions={dimensions})"

    @classmethod
    def fit(
        cls,
        questions: npt.ArrayLike | Sequence[Question],
        documents: Mapping[Modality, npt.ArrayLike | Iterable[npt.ArrayLike]],
    ) -> Centering:
        """Take the means of unlabeled questions and of documents, or of samples of them.

        Args:
            questions: vectors (n, d) of any norm, or ``Question`` objects; at least one.
            documents: vectors (n, d) of any norm by modality, or batches of them; at least one each.

        Returns:
            The centering.

        Raises:
            InvalidInputError: if there are none of a kind, dimensions differ, or a vector is null or not finite.
        """
        means = {modality: _mean(vectors, f"documents of {modality!r}") for modality, vectors in documents.items()}
        if isinstance(questions, Sequence) and questions and isinstance(questions[0], Question):
            asked = {m: _mean([q.vector_for(m) for q in questions], "questions") for m in means}  # type: ignore[union-attr]
        else:
            mean = _mean(questions, "questions")  # type: ignore[arg-type]
            asked = dict.fromkeys(means, mean)
        return cls(asked, means)

    def center(self, vectors: npt.ArrayLike, role: str, modality: Modality | None = None) -> Vector:
        """Subtract the mean of a role and renormalize.

        Args:
            vectors: shape (n, d), any norm.
            role: ``"question"``, or the modality of documents.
            modality: for questions, the modality that they search; needed where the question means differ.

        Returns:
            Unit vectors (n, d), float32.

        Raises:
            InvalidInputError: if the role is not known, dimensions differ, or a vector has no direction, before or
                after its mean is subtracted.
        """
        mean = self._question_mean(modality) if role == QUESTION else self._document_mean(role)
        return centered_rows(vectors, mean, role)

    def blend(
        self,
        texts: npt.ArrayLike,
        images: npt.ArrayLike,
        alpha: float = 0.5,
        *,
        text: Modality = TEXT,
        image: Modality = IMAGE,
    ) -> Vector:
        """Give the vectors of documents that are a text and an image together.

        ``norm(alpha t + (1 - alpha) i - (alpha mu_t + (1 - alpha) mu_i))`` for unit vectors t and i.

        Args:
            texts: vectors (n, d) of the texts, any norm.
            images: vectors (n, d) of their images, any norm.
            alpha: weight of the text, in [0, 1].
            text: the modality whose mean the texts have.
            image: the modality whose mean the images have.

        Returns:
            Unit vectors (n, d), float32; search them with questions centred like all others.

        Raises:
            InvalidInputError: if ``alpha`` or the vectors cannot be used, or their numbers differ.
        """
        if not 0.0 <= alpha <= 1.0:
            raise InvalidInputError(f"alpha is the weight of the text, in [0, 1], got {alpha!r}")
        t, i = unit_rows(texts, "text vector"), unit_rows(images, "image vector")
        if t.shape != i.shape:
            raise InvalidInputError(f"texts {t.shape} and images {i.shape} must pair up, row by row")
        mixed = alpha * t.astype(np.float64) + (1.0 - alpha) * i.astype(np.float64)
        mean = alpha * self._document_mean(text) + (1.0 - alpha) * self._document_mean(image)
        _check_dimension(mixed.shape[1], mean, "text and image")
        return unit_rows(mixed - mean, "blended vector")

    def _document_mean(self, modality: Modality) -> Floats:
        try:
            return self.documents[modality]
        except KeyError:
            raise InvalidInputError(
                f"centering knows the roles {[QUESTION, *self.documents]}, not {modality!r}; fit it with documents "
                f"of that modality"
            ) from None

    def _question_mean(self, modality: Modality | None) -> Floats:
        if modality is not None:
            self._document_mean(modality)
            return self.questions[modality]
        first, *others = self.questions.values()
        if any(not np.array_equal(first, other) for other in others):
            raise InvalidInputError(
                f"questions have another mean for each of {sorted(self.questions)}, which have encoders of their own; "
                f"say with modality= which one they search"
            )
        return first


def centered_rows(vectors: npt.ArrayLike, mean: Floats, what: str) -> Vector:
    """Normalize rows, subtract a mean, and normalize again, in float64.

    Args:
        vectors: shape (n, d), any norm.
        mean: shape (d,).
        what: what a row is, for error messages.

    Returns:
        Unit rows (n, d), float32.

    Raises:
        InvalidInputError: if dimensions differ, or a row has no direction before or after.
    """
    rows = unit_rows(vectors, f"{what} vector")
    _check_dimension(rows.shape[1], mean, what)
    return unit_rows(rows.astype(np.float64) - mean, f"centred {what} vector")


def _check_dimension(dimension: int, mean: Floats, what: str) -> None:
    if dimension != len(mean):
        raise InvalidInputError(
            f"{what} vectors have dimension {dimension}, the means of this centering {len(mean)}; fit it on vectors "
            f"of the encoder in use"
        )


def _mean(vectors: npt.ArrayLike | Iterable[npt.ArrayLike], what: str) -> Floats:
    """Average unit rows: of one matrix (n, d), or of batches of them."""
    total: Floats | None = None
    count = 0
    batches: Iterable[Any] = [vectors] if _is_matrix(vectors) else vectors  # type: ignore[assignment]
    for batch in batches:
        rows = unit_rows(batch, f"{what}: vector")
        if not len(rows):
            continue
        added = rows.sum(axis=0, dtype=np.float64)
        if total is not None and total.shape != added.shape:
            raise InvalidInputError(
                f"{what}: dimensions {len(total)} and {len(added)} differ; embed all with one model"
            )
        total = added if total is None else total + added
        count += len(rows)
    if total is None:
        raise InvalidInputError(f"centering needs at least one of the {what}, got none")
    return total / count


def _is_matrix(vectors: object) -> bool:
    if isinstance(vectors, np.ndarray):
        return vectors.ndim == 2
    # A list of rows is a matrix; a list of matrices, or an iterator of them, is batches.
    return isinstance(vectors, Sequence) and (not vectors or np.ndim(vectors[0]) <= 1)
