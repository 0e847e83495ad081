"""From columns of Arrow to values of Python, some of which it cannot hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from commonscale.core.extras import require
from commonscale.embedding.records import EXTRA


@dataclass(frozen=True, slots=True)
class BadValue:
    """Stands for a value that cannot be converted, such as text that is not UTF-8.

    Attributes:
        reason: why.
        text: ISO text of a time in nanoseconds, which Python holds with the help of pandas only; None for all others.
    """

    reason: str
    text: str | None


def values_of(column: Any) -> list[Any]:
    """Convert a column; where one value cannot be converted, a ``BadValue`` stands for it and the others remain.

    Args:
        column: a ``pyarrow.Array``.
    """
    errors = (require("pyarrow", EXTRA).ArrowException, ValueError, OverflowError)
    try:
        return list(column.to_pylist())
    except errors:
        return [_value(scalar, errors) for scalar in column]


def _value(scalar: Any, errors: tuple[type[Exception], ...]) -> Any:
    try:
        return scalar.as_py()
    except errors as error:
        return BadValue(f"{type(error).__name__}: {error}", _text(scalar, errors))


def _text(scalar: Any, errors: tuple[type[Exception], ...]) -> str | None:
    arrow = require("pyarrow", EXTRA)
    # Only these are sure to be right: times in larger units may lie in years that Arrow's own text cannot say.
    if getattr(scalar.type, "unit", None) != "ns" or arrow.types.is_duration(scalar.type):
        return None
    try:
        return str(scalar.cast(arrow.string()).as_py()).replace(" ", "T", 1)
    except errors:
        return None
