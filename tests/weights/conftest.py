"""The marker of the tests that need published checkpoints."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "weights: needs published checkpoints, skipped where they are not in the cache")
