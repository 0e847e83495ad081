"""From a model's raw features to unit vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commonscale.core.errors import EncoderError


def unit_rows(features: ArrayLike, what: str) -> NDArray[np.float32]:
    """Divide every row by its Euclidean norm.

    The norm is taken in float64, where the square of any finite float32 is finite, and the result is rounded
    to float32 once.

    Args:
        features: raw features, shape (n, d), any floating type.
        what: what the rows are, for the error: ``"text"`` or ``"image"``.

    Returns:
        Unit rows, shape (n, d), float32.

    Raises:
        EncoderError: if a row holds NaN or infinity, or has norm zero: it has no direction, so no cosine.
    """
    raw = np.asarray(features, dtype=np.float64)
    norms: NDArray[np.float64] = np.linalg.norm(raw, axis=1, keepdims=True)
    flat = norms[:, 0]
    broken = np.flatnonzero(~np.isfinite(flat) | (flat == 0.0))
    if broken.size:
        first = int(broken[0])
        fault = "norm zero" if flat[first] == 0.0 else "NaN or infinite numbers"
        raise EncoderError(
            f"The model gave {broken.size} of {len(raw)} {what} vectors without a direction (row {first} of the "
            f"batch has {fault}), so no cosine can be taken. Check the weights; with float16 or bfloat16 try "
            "dtype='float32'."
        )
    return (raw / norms).astype(np.float32)


def features_of(output: Any) -> Any:
    """Return the projected features from what ``get_*_features`` gave.

    transformers 4.x returns the tensor itself; 5.x returns an output whose ``pooler_output`` holds it.
    """
    return getattr(output, "pooler_output", output)
