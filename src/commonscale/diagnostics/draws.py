"""Random draws that depend on a seed, and on nothing else."""

from __future__ import annotations

import numpy as np


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Give a generator of its own for each purpose.

    A plain ``default_rng(0)`` draws the same permutation here as in whatever script arranged the data, and its halves
    are then no random halves: this happened with the first benchmark that was diagnosed.

    Args:
        seed: the user's seed, at least 0.
        purpose: what is drawn.
        numbers: what else tells draws apart, such as a size.
    """
    return np.random.default_rng([seed, *numbers, *purpose.encode()])
