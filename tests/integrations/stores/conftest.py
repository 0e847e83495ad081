"""One store of every kind, two layouts, at places of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store_suite.checks import require
from store_suite.corpus import Corpus
from store_suite.kind import Kind, Place
from store_suite.ours import Ours

Open = Callable[..., Ours]


@pytest.fixture
def open_kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Put a corpus into stores of a kind: ``open_kind(kind, layout, corpus=...)``; closed at the end."""
    places: list[Place] = []

    def opened(kind: Kind, layout: str, corpus: Corpus | None = None, *, behaviour: str = "") -> Ours:
        require(kind, behaviour)
        corpus = corpus or Corpus(norm=kind.norm)
        groups = {"store": corpus.items} if layout == "mixed" else {
            "text_store": corpus.of("text"), "image_store": corpus.of("image")
        }  # fmt: skip
        own, stores = [], {}
        for name, items in groups.items():
            folder = tmp_path / f"{len(places)}"
            folder.mkdir()
            place = Place(folder, corpus.dimension, request.getfixturevalue)
            places.append(place)
            own.append(place)
            stores[name] = kind.make(place, items)
        return Ours(kind, corpus, stores, own)

    yield opened
    for place in places:
        place.close()
