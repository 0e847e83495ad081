"""Windows of incoming best hits, each compared with the bank as soon as it is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.statistics import ModalityStatistics
from commonscale.core.two_samples import ks_probability, ks_statistic
from commonscale.core.types import Floats, Modality

WINDOWS = (50, 200, 800)
"""How many questions are compared at once: changes of 1, 0.5 and 0.25 standard deviations need about so many."""

FALSE_ALARMS = 0.01
"""False alarms allowed per 1,000 questions: one in 100,000."""

_SHORTEST = 10


@dataclass(frozen=True, slots=True)
class DriftTest:
    """One window of one modality, compared with the bank.

    Attributes:
        modality: the modality.
        window: how many questions were compared.
        statistic: largest difference of the two distribution functions, in [0, 1].
        p_value: probability of one as large without drift.
        level: the alarm is raised for p-values of at most this.
        shift: mean of the window minus mean of the bank, in standard deviations of the bank.
        spread: standard deviation of the window over that of the bank.
    """

    modality: Modality
    window: int
    statistic: float
    p_value: float
    level: float
    shift: float
    spread: float

    @property
    def drifted(self) -> bool:
        """Whether the alarm is raised."""
        return self.p_value <= self.level

    def __str__(self) -> str:
        return (
            f"{'drift' if self.drifted else 'no drift'} in modality {self.modality!r}: the best hits of the last "
            f"{self.window} questions lie {self.shift:+.2f} standard deviations from those of the bank and spread "
            f"{self.spread:.2f} times as wide (p = {self.p_value:.1e}, alarm at {self.level:.1e})"
        )


class DriftWindows:
    """Windows of several lengths side by side, none of which overlaps another of its length.

    Each length and each modality spends an equal share of the false alarms that are allowed per 1,000 questions: the
    level of a test of w questions is ``false_alarms * w / 1000 / (lengths * modalities)``. However long one goes on
    looking, the expected number of false alarms per 1,000 questions stays below what was allowed (expectations add
    up, whether or not the tests depend on each other).

    Attributes:
        lengths: the lengths, in questions, ascending.
        false_alarms: how many are allowed per 1,000 questions, over all lengths and modalities.
    """

    def __init__(self, lengths: Sequence[int] = WINDOWS, false_alarms: float = FALSE_ALARMS) -> None:
        """Set up empty windows.

        Raises:
            InvalidInputError: if there is no length, one is no integer of at least 10, or the alarms allowed are not
                above 0 and few enough to leave every test a level of at most 0.1.
        """
        whole = all(isinstance(length, (int, np.integer)) and length >= _SHORTEST for length in lengths)
        if not lengths or not whole:
            raise InvalidInputError(f"windows must be integers of at least {_SHORTEST} questions, got {lengths!r}")
        self.lengths = tuple(sorted({int(length) for length in lengths}))
        self.false_alarms = float(false_alarms)
        if not 0 < self.level(self.lengths[-1], 1) <= 0.1:
            most = 100 * len(self.lengths) / self.lengths[-1]
            raise InvalidInputError(
                f"false alarms per 1,000 questions must lie above 0 and at most at {most:g} for windows of "
                f"{list(self.lengths)}, got {false_alarms!r}"
            )
        self._filling: dict[tuple[Modality, int], list[float]] = {}

    def level(self, length: int, modalities: int) -> float:
        """Give the level of one test."""
        return self.false_alarms * length / 1000 / (len(self.lengths) * max(1, modalities))

    def add(self, best: Mapping[Modality, Floats], bank: Mapping[Modality, Floats]) -> list[DriftTest]:
        """Take in best similarities and test the windows that they fill.

        Args:
            best: by modality (n,), finite.
            bank: those of the banked questions, by modality, finite; modalities without any are not tested.

        Returns:
            The tests that were due, in the order of the bank's modalities, short windows first.
        """
        known = {modality: values for modality, values in bank.items() if len(values)}
        tests = []
        for modality, reference in known.items():
            for length in self.lengths:
                filling = self._filling.setdefault((modality, length), [])
                filling.extend(np.asarray(best.get(modality, ()), dtype=np.float64).tolist())
                while len(filling) >= length:
                    window = np.array(filling[:length])
                    del filling[:length]
                    tests.append(compare(modality, window, reference, self.level(length, len(known))))
        return tests

    def clear(self) -> None:
        """Begin anew."""
        self._filling.clear()


def compare(modality: Modality, window: Floats, bank: Floats, level: float) -> DriftTest:
    """Test whether a window comes from the distribution of the bank.

    Args:
        modality: the modality.
        window: best similarities of incoming questions (n,), at least one.
        bank: those of the banked questions (C,), at least one.
        level: the alarm is raised for p-values of at most this.

    Returns:
        The test.
    """
    statistic = ks_statistic(bank, window)
    p_value = ks_probability(statistic, len(bank), len(window))
    banked, came = ModalityStatistics.fit(bank), ModalityStatistics.fit(window)
    shift, spread = (came.mean - banked.mean) / banked.scale, came.std / banked.scale
    return DriftTest(modality, len(window), statistic, p_value, level, shift, spread)
