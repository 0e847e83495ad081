"""The names of the methods: one word each, the same wherever a method is named."""

from __future__ import annotations

from commonscale.core.errors import InvalidInputError

COSINE = "cosine"
LABELED = "labeled"
STANDARDIZED = "standardized"
CENTERED = "centered"
CENTERED_STANDARDIZED = "centered+standardized"
CHANCE = "chance"

UNLABELED = (CHANCE, CENTERED_STANDARDIZED, STANDARDIZED, CENTERED)
"""Methods that calibrate from unlabeled questions."""

CORRECTED = (CHANCE, CENTERED_STANDARDIZED, CENTERED)
"""Those of them that need the documents' vectors."""

AUTO = "auto"
"""``"chance"``, unless a modality is unsuited for it (see ``background.unsuited``); then ``"standardized"``."""

DEFAULT = AUTO
"""What ``calibrate`` does unless told otherwise; chosen by measurement, see ``docs/chance.md``."""


def check_choice(method: str) -> str:
    """Give the method's name, or ``"auto"``.

    Raises:
        InvalidInputError: if questions cannot be calibrated with by that name.
    """
    return method if method == AUTO else check_method(method)


def check_method(method: str) -> str:
    """Give the method's name.

    Raises:
        InvalidInputError: if there is no method of that name for unlabeled questions.
    """
    if method not in UNLABELED:
        raise InvalidInputError(
            f"unknown method {method!r}; calibrate with one of {', '.join(UNLABELED)}, or {AUTO!r} "
            f"({STANDARDIZED!r} is the method of Yamashita et al. 2025, {CENTERED!r} that of GR-CLIP)"
        )
    return method
