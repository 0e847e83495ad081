"""Warnings that point at the user's line, however deep inside the library they arise."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from commonscale.core.errors import CommonscaleWarning

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def warn(message: str, category: type[CommonscaleWarning]) -> None:
    """Warn at the first caller outside this package.

    Args:
        message: what happened, with numbers, and what to do.
        category: the kind of warning.
    """
    level = 2
    frame = sys._getframe(1)  # stacklevel 2: the caller of this function
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
