"""From cosines to the numbers that vision-language models document."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Form = Literal["cosine", "logits", "softmax", "sigmoid"]


def numbers(cosines: NDArray[np.float64], form: Form, scale: float = 1.0, bias: float = 0.0) -> NDArray[np.float64]:
    """Turn cosines into logits or probabilities.

    Args:
        cosines: one row for each picture, one column for each text.
        form: ``"cosine"`` leaves them; ``"logits"`` is scale * cosine + bias; ``"softmax"`` makes probabilities over
            the texts of them (CLIP), ``"sigmoid"`` one probability for each pair (SigLIP).
        scale: the learned temperature, as a factor.
        bias: the learned bias.

    Returns:
        An array of the same shape.
    """
    if form == "cosine":
        return cosines
    logits = scale * cosines + bias
    if form == "softmax":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return 1 / (1 + np.exp(-logits)) if form == "sigmoid" else logits
