"""Skipping what cannot run here, and measuring what was found."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from store_suite.kind import Kind


def require(kind: Kind, behaviour: str) -> None:
    """Skip, naming kind, behavior and reason, what cannot be run here."""
    for package in kind.packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            pytest.skip(f"{kind.id}: {error}")
    if reason := kind.why_not():
        pytest.skip(f"{kind.id}: {reason}")
    if behaviour in kind.skips:
        pytest.skip(f"{kind.id}, {behaviour}: {kind.skips[behaviour]}")


def recall(found: list[Any], expected: list[Any]) -> float:
    """The fraction of what was expected that was found."""
    return len(set(found) & set(expected)) / len(expected)
