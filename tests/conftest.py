"""Fixtures for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chat_server import ChatServer, serve_chat


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real embeddings, encoders and photos beside the repository, for evaluation only."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"the evaluation data are not at {folder}; they may not be distributed with the project")
    return folder


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A loopback chat server that records the requests it gets."""
    with serve_chat() as server:
        yield server
