"""Fixtures for every test."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from chat_server import ChatServer, serve_chat
from store_suite.chroma import serve_chroma
from store_suite.fakes.fixtures import fake_elasticsearch_8 as fake_elasticsearch_8
from store_suite.fakes.fixtures import fake_elasticsearch_9 as fake_elasticsearch_9
from store_suite.fakes.fixtures import fake_opensearch as fake_opensearch
from store_suite.fakes.fixtures import fake_weaviate as fake_weaviate
from store_suite.postgres import PostgresServer, serve_postgres

# The environments of single packages (see the Makefile) do without hypothesis, and have no test that needs it.
if find_spec("hypothesis"):
    from hypothesis import settings

    # A deadline measures the machine and what else it does, not the code.
    settings.register_profile("without deadline", deadline=None)
    settings.load_profile("without deadline")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real embeddings, encoders and photos beside the repository, for evaluation only."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "data" / "coco-clip-b32.npz").is_file():
        pytest.skip(f"the evaluation data are not at {folder}; they may not be distributed with the project")
    return folder


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A loopback chat server that records the requests it gets."""
    with serve_chat() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server with pgvector."""
    with serve_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def chroma_server() -> Iterator[int]:
    """The port of a Chroma server on loopback."""
    with serve_chroma() as port:
        yield port


@pytest.fixture(scope="session", autouse=True)
def _no_forgotten_event_loop() -> None:
    """Close the event loop that pytest-asyncio makes for the main thread and forgets.

    The first ``asyncio.run`` afterwards (LlamaIndex calls it in synchronous queries) drops that loop unclosed:
    a ResourceWarning in whichever test runs when it is collected. With no loop set, none is made.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            asyncio.get_event_loop_policy().get_event_loop().close()
        except RuntimeError:
            return
    asyncio.set_event_loop(None)
