"""Checks of the retriever's arguments, before anything is searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.ranking import Quotas


def check_calibration(calibration: Any) -> None:
    """Check that it is a calibration or None.

    Raises:
        InvalidInputError: if it is something else, such as a path.
    """
    if calibration is not None and not isinstance(calibration, Calibration):
        raise InvalidInputError(
            f"calibration must be a Calibration or None, got {calibration!r}; read one from its file with "
            f"commonscale.Calibration.load(path)"
        )


def check_numbers(similarity_top_k: Any, minimum: Any, maximum: Any) -> None:
    """Check how many hits are asked for.

    Raises:
        InvalidInputError: if ``similarity_top_k`` is no integer of at least 1, or the quotas are no mappings from
            modalities to integers of at least 0 that can be met together.
    """
    is_integer = isinstance(similarity_top_k, (int, np.integer)) and not isinstance(similarity_top_k, bool)
    if not is_integer or similarity_top_k < 1:
        raise InvalidInputError(f"similarity_top_k must be an integer of at least 1, got {similarity_top_k!r}")
    for name, limits in (("minimum", minimum), ("maximum", maximum)):
        if limits is not None and not isinstance(limits, Mapping):
            raise InvalidInputError(
                f"{name} must be a mapping from modalities to numbers, such as {name}={{'image': 2}}, got {limits!r}"
            )
    Quotas(minimum or {}, maximum or {}).check(similarity_top_k)
