"""From a model's raw features to unit vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commonscale.core import dense
from commonscale.core.errors import EncoderError, InvalidInputError
from commonscale.core.types import Vector

ADVICE = "See that the model is whole; if it computes in float16, which overflows easily, try float32."
"""What to do where a model gives vectors without direction."""


def unit_rows(features: ArrayLike, what: str) -> Vector:
    """Divide every row by its Euclidean norm; see ``commonscale.core.dense.unit_rows``.

    Args:
        features: raw features, shape (n, d), any floating type.
        what: what the rows are, for the error: ``"text"`` or ``"image"``.

    Returns:
        Unit rows, shape (n, d), float32.

    Raises:
        EncoderError: if a row holds NaN or infinity, or has norm zero: it has no direction, so no cosine.
    """
    try:
        return dense.unit_rows(features, f"{what} vector")
    except InvalidInputError as error:
        raise EncoderError(f"The model gave vectors that cannot be used: {error}. {ADVICE}") from error


def usable_rows(features: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of each row whether it has a direction: its norm, as :func:`unit_rows` takes it, is finite and not zero."""
    squares = np.einsum("ij,ij->i", features, features, dtype=np.float64)
    good: NDArray[np.bool_] = np.isfinite(squares) & (squares > 0)
    return good


def features_of(output: Any) -> Any:
    """Return the projected features from what ``get_*_features`` gave.

    transformers 4.x returns the tensor itself; 5.x returns an output whose ``pooler_output`` holds it.
    """
    return getattr(output, "pooler_output", output)
