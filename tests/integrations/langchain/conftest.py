"""Fixtures of the LangChain tests."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("langchain_core")

from langchain_core.documents import Document

from chat_providers import PROVIDERS, Provider, serve_provider
from commonscale.langchain import StandardizedMultiModalRetriever
from langchain_world import QUESTIONS, World, build_store
from loopback import fence


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def retriever(world: World, tmp_path: Path) -> StandardizedMultiModalRetriever:
    """A calibrated retriever over two stores in memory."""
    retriever = StandardizedMultiModalRetriever(**world.stores("in-memory", "two", tmp_path))
    retriever.calibrate(QUESTIONS, method="standardized")
    return retriever


@pytest.fixture
def pictured(tmp_path: Path) -> StandardizedMultiModalRetriever:
    """A retriever over passages and real picture files; every other picture has a caption."""
    image = pytest.importorskip("PIL.Image")
    world = World()
    passages = world.documents("text")
    pictures = []
    for number, name in enumerate(world.ids["image"]):
        file = tmp_path / f"{name}.{'png' if number % 3 else 'jpg'}"
        image.new("RGB", (9, 7), (zlib.crc32(name.encode()) % 256, number, 90)).save(file)
        caption = f"caption {name}" if number % 2 else ""
        pictures.append(
            Document(id=name, page_content=caption, metadata={"modality": "image", "image_path": str(file)})
        )
    retriever = StandardizedMultiModalRetriever(
        text_store=build_store("in-memory", passages, world.vectors["text"], world.embeddings, tmp_path),
        image_store=build_store("in-memory", pictures, world.vectors["image"], world.embeddings, tmp_path),
        k=6,
        minimum={"text": 2},
    )
    retriever.calibrate(QUESTIONS, method="standardized")
    return retriever


@pytest.fixture
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that tries to leave this machine."""
    fence(monkeypatch)


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest, loopback_only: None) -> Iterator[Provider]:
    """The real chat model of one provider's package, before a loopback server."""
    with serve_provider(request.param) as served:
        yield served
