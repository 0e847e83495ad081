"""Mean and spread of one modality's cosines (Eq. 1, 3 and 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats

STABLE_COUNT = 30
"""Below this many questions a mean and a standard deviation are too rough to be used without a warning."""

SMALLEST_STD = 1e-7
"""A spread below this is rounding: cosines computed in float32 are only known to about 6e-8."""


@dataclass(frozen=True, slots=True)
class ModalityStatistics:
    """Mean and standard deviation of the cosines of one modality's (pseudo-)positive pairs.

    Yamashita et al. 2025 (arXiv 2511.22141). Eq. 1 takes the cosines of labeled question-document pairs of
    the modality; Eq. 3-4 take, for each unlabeled question, the cosine of its best hit in the modality.

    Degenerate cases: no cosine at all is an error; one cosine, or equal ones, give ``std`` 0 and then a
    ``scale`` of 1, so that standardizing only subtracts the mean (as scikit-learn's StandardScaler does).
    NaN and infinite cosines are errors. Repeated questions count as often as they are given.

    Attributes:
        mean: mean cosine.
        std: population standard deviation (ddof 0), at least 0.
        count: how many cosines it rests on, at least 1.
    """

    mean: float
    std: float
    count: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std >= 0 and self.count >= 1):
            raise InvalidInputError(
                f"statistics need a finite mean, a finite std >= 0 and a count >= 1, "
                f"got mean={self.mean!r}, std={self.std!r}, count={self.count!r}"
            )

    @classmethod
    def fit(cls, cosines: npt.ArrayLike) -> ModalityStatistics:
        """Compute the statistics of a set of cosines in one pass over float64.

        Args:
            cosines: shape (n,), n >= 1, finite.

        Returns:
            Their mean, population standard deviation and count.

        Raises:
            InvalidInputError: if there are none, they are not one-dimensional, or some are not finite.
        """
        values = as_cosines(cosines, what="statistics")
        if values.size == 0:
            raise InvalidInputError("statistics need at least one cosine, got none; give more questions")
        return cls(float(values.mean()), float(values.std()), int(values.size))

    def merge(self, other: ModalityStatistics) -> ModalityStatistics:
        """Give the statistics of both sets together, as if computed in one pass.

        Uses the pairwise update of Chan, Golub and LeVeque (1979): the sums of squared deviations add up,
        plus ``delta^2 * n_a * n_b / n``.

        Args:
            other: statistics of a disjoint set of cosines.

        Returns:
            The statistics of the union.
        """
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        squares = self.std**2 * self.count + other.std**2 * other.count
        squares += delta**2 * (self.count * other.count / count)
        return ModalityStatistics(mean, math.sqrt(squares / count), count)

    def partial_fit(self, cosines: npt.ArrayLike) -> ModalityStatistics:
        """Give the statistics after some more cosines; this object stays as it is.

        Args:
            cosines: shape (n,), finite; none is allowed and changes nothing.

        Returns:
            The statistics of the old and the new cosines together.
        """
        values = as_cosines(cosines, what="statistics")
        return self.merge(ModalityStatistics.fit(values)) if values.size else self

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, ``std / sqrt(count)``, in units of cosine."""
        return self.std / math.sqrt(self.count)

    @property
    def scale(self) -> float:
        """What cosines are divided by: ``std``, or 1 where ``std`` is below the resolution of float32."""
        return self.std if self.std > SMALLEST_STD else 1.0


def as_cosines(values: npt.ArrayLike, *, what: str) -> Floats:
    """Turn scores into a float64 array (n,), refusing NaN and infinity.

    Args:
        values: shape (n,).
        what: what they are for, to begin the error message with.

    Raises:
        InvalidInputError: if they are not one-dimensional or not all finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InvalidInputError(f"{what}: cosines must have shape (n,), got {array.shape}")
    finite = np.isfinite(array)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InvalidInputError(
            f"{what}: {int((~finite).sum())} of {array.size} cosines are not finite, the first is "
            f"{float(array[first])!r} at position {first}; look for null vectors or NaN in the embeddings"
        )
    return array
