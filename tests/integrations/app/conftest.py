"""One encoder for all, one server and one browser for each module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("faiss")
pytest.importorskip("PIL")
pytest.importorskip("jinja2")
pytest.importorskip("markdown_it")

from app_world import FakeAnswerer, Page, calibrate, chromium, demo_encoder, open_world, served, write_index
from commonscale.app import Library
from commonscale.encoders import BatchedEncoder


@pytest.fixture(scope="package")
def encoder() -> BatchedEncoder:
    return demo_encoder()


@pytest.fixture(scope="package")
def questions() -> list[str]:
    from commonscale.demo.world import build_world

    return list(build_world().calibration_questions)[:60]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, encoder: BatchedEncoder, questions: list[str]) -> Path:
    """The folder of a calibrated index."""
    folder = tmp_path_factory.mktemp("world")
    write_index(folder, encoder)
    calibrate(folder, encoder, questions)
    return folder


@pytest.fixture(scope="module")
def the_answerer() -> FakeAnswerer:
    return FakeAnswerer()


@pytest.fixture
def answerer(the_answerer: FakeAnswerer) -> FakeAnswerer:
    the_answerer.reset()
    return the_answerer


@pytest.fixture(scope="module")
def library(world: Path, the_answerer: FakeAnswerer) -> Library:
    return open_world(world, the_answerer)


@pytest.fixture(scope="module")
def url(library: Library) -> Iterator[str]:
    with served(library, remind=0.2, limit=60.0) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Not longer than a module: while it runs, no test can have an event loop.
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Callable[..., Page]]:
    """Opens the page as another user."""
    pages: list[Page] = []

    def opened(address: str | None = None, **context: Any) -> Page:
        pages.append(Page(browser, address or url, **context))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    return visit()
