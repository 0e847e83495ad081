"""Bringing the calibration of an index up to date after its documents have changed."""

from __future__ import annotations

from commonscale.cli.console import say
from commonscale.index import FaissIndex
from commonscale.index.scale import renew_scale


def renew(index: FaissIndex) -> None:
    """Bring the calibration up to date if there is need, and say so; the caller holds the index's folder."""
    calibration = renew_scale(index)
    if calibration is not None:
        say(f"The calibration was brought up to date with the {calibration.questions} questions that it is of.")
