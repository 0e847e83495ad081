"""Fixtures of the LangChain tests."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("langchain_core")

from commonscale.langchain import StandardizedMultiModalRetriever
from langchain_world import QUESTIONS, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def retriever(world: World, tmp_path: Path) -> StandardizedMultiModalRetriever:
    """A calibrated retriever over two stores in memory."""
    retriever = StandardizedMultiModalRetriever(**world.stores("in-memory", "two", tmp_path))
    retriever.calibrate(QUESTIONS, method="standardized")
    return retriever
