"""Chance level: how high the best of N irrelevant documents of a modality is expected to score.

The statistics of best hits mix "a relevant document was there" with "the best of chance", so they follow the mix of
the questions. The background, the similarity of questions with all documents, hardly does. Extrapolated to the best
of N it gives an anchor that ignores the mix (found for this project; see ``docs/chance.md``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.statistics import SMALLEST_STD
from commonscale.core.types import Floats, Modality

CHANCE = 1e-5
"""The nominal probability that any of the N irrelevant documents scores above the chance level. Real tails are heavier
than normal ones, so this is a setting, not a measured rate; less favours images, more favours texts."""


WIDE = 0.3
"""The standard deviation above which similarities have too few effective dimensions (``1 / std^2``, here 11) for the
normal tail that the chance level extrapolates: it would lie far above 1, which no similarity reaches. CLIP's are at
.09 to .16 and those of a small photo encoder at .14 to .21, where the chance level is best; those of the drawn world of
the demonstration are at .31 to .38, where it is not (measured, see ``docs/chance.md``)."""


@dataclass(frozen=True, slots=True)
class Background:
    """The similarities of a modality's documents with questions that they do not answer.

    Attributes:
        mean: mean similarity of banked questions and all documents.
        std: mean over the questions of the standard deviation (ddof 0) over the documents, at least 0.
        documents: N, how many different documents there are, at least 1.
        p: see ``CHANCE``; in (0, 0.5].
    """

    mean: float
    std: float
    documents: int
    p: float = CHANCE

    def __post_init__(self) -> None:
        good = math.isfinite(self.mean) and math.isfinite(self.std) and self.std >= 0
        if not good or self.documents < 1 or not 0 < self.p <= 0.5:
            raise InvalidInputError(
                f"a background needs a finite mean, a finite std >= 0, at least one document and p in (0, 0.5], got "
                f"mean={self.mean!r}, std={self.std!r}, documents={self.documents!r}, p={self.p!r}"
            )

    @classmethod
    def fit(cls, sums: Floats, squares: Floats, documents: int, distinct: int | None = None) -> Background:
        """Compute the background from sums over the documents, kept for each question.

        Args:
            sums: sum of the similarities with all documents, one per question (C,), C >= 1.
            squares: sum of their squares (C,).
            documents: how many documents were summed, at least 1.
            distinct: how many of them differ; None for all.

        Returns:
            The background.
        """
        if documents < 1 or not len(sums):
            raise InvalidInputError(f"a background needs questions and documents, got {len(sums)} and {documents}")
        means = sums / documents
        variances = np.maximum(squares / documents - means**2, 0.0)
        return cls(float(means.mean()), float(np.sqrt(variances).mean()), documents if distinct is None else distinct)

    @property
    def wide(self) -> bool:
        """Whether the spread is too wide for a chance level, see ``WIDE``."""
        return self.std > WIDE

    @property
    def flat(self) -> bool:
        """Whether no document differs from the others, as a single one or copies of one: there is no best of chance.

        The level would be the mean itself, not far above it, so the modality would come first for most questions.
        """
        return self.documents < 2 or self.std <= SMALLEST_STD

    @property
    def level(self) -> float:
        """The chance level ``mean + std * PhiInv(1 - p / N)``, in units of similarity."""
        # PhiInv(1 - x) = -PhiInv(x), which keeps its precision where 1 - x would round to 1.
        return self.mean - self.std * NormalDist().inv_cdf(self.p / self.documents)

    @property
    def scale(self) -> float:
        """What similarities above the chance level are divided by: the root of ``std``; 1 without any spread.

        The root, not ``std`` itself, was found by measurement: it is between dividing and not dividing.
        """
        return math.sqrt(self.std) if self.std > SMALLEST_STD else 1.0


def unsuited(backgrounds: Mapping[Modality, Background]) -> bool:
    """Tell whether the chance level is of no use in any modality, see ``Background.wide`` and ``Background.flat``."""
    return any(background.wide or background.flat for background in backgrounds.values())
