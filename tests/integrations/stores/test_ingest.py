"""Putting texts and images into every kind of store, twice and changed, and what is found then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import InvalidInputError
from store_suite.checks import recall
from store_suite.corpus import QUESTIONS, Corpus, Item
from store_suite.filled import Filled
from store_suite.kind import Kind
from store_suite.registry import KINDS

# Weaviate's client waits a second for every batch, whatever the metric is.
_KINDS = [kind for kind in KINDS if "fake-weaviate" not in kind.id or "cosine" in kind.id]

over_kinds = pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.id)

CANNOT_REPLACE = {"faiss-ivf": "inverted file", "faiss-hnsw": "graph"}


@pytest.fixture
def filled(open_kind: Any) -> Any:
    def make(kind: Kind) -> Filled:
        corpus = Corpus(texts=30, images=15, norm=5.0)
        empty = corpus.without([item.id for item in corpus.items])
        ours = open_kind(kind, "mixed", empty, behaviour="ranking")
        return Filled(kind, ours.stores["store"], corpus)

    return make


def _ranks_as_numpy(store: Filled) -> None:
    retriever = store.retriever(20)
    retriever.calibrate(list(QUESTIONS), method="standardized")
    recalls = []
    for place, found in enumerate(store.ask(retriever, QUESTIONS)):
        expected = store.corpus.ranking(place, 20)
        if store.kind.recall == 1.0:
            assert [i for i, _ in found] == [i for i, _ in expected]
            assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-4)
        recalls.append(recall([i for i, _ in found], [i for i, _ in expected]))
    assert np.mean(recalls) >= store.kind.recall


@over_kinds
def test_what_is_put_in_ranks_as_numpy_says_also_when_it_is_put_in_again(kind: Kind, filled: Any) -> None:
    store = filled(kind)
    items = store.corpus.items
    ids = store.add(items)
    assert sorted(ids) == sorted(item.id for item in items)
    # The store's own embeddings know none of the texts: it would have failed, had it embedded them a second time.
    assert len(store.model.embedded) == len(items)
    _ranks_as_numpy(store)
    before = store.contents()
    assert before == {
        item.id: (item.text, None, "text")
        if item.modality == "text"
        else (f"caption of {item.text}", f"{item.text}.png", "image")
        for item in items
    }
    assert store.add(items) == ids
    assert store.contents() == before
    _ranks_as_numpy(store)


@over_kinds
def test_changed_content_takes_the_place_of_the_old(kind: Kind, filled: Any) -> None:
    store = filled(kind)
    items = store.corpus.items
    store.add(items)
    retriever = store.retriever(len(items) + 5, raw=True)
    old = items[3]
    store.ask(retriever, QUESTIONS[7:8])
    new = Item(old.id, "text", "changed", {"modality": "text", "parity": 0, "place": 0}, [])
    store.model.vectors["changed"] = (3 * store.corpus.questions[7]).tolist()
    if any(kind.name == name for name in CANNOT_REPLACE) or kind.nodes == "rows":
        with pytest.raises(InvalidInputError, match="cannot replace rows"):
            store.add([new])
        return
    store.add([new])
    (again,) = store.ask(store.retriever(len(items) + 5, raw=True), QUESTIONS[7:8])
    assert again[0] == (old.id, pytest.approx(1.0, abs=5e-3))
    assert [i for i, _ in again].count(old.id) == 1
    assert len(again) == len(items)
    assert store.contents()[old.id] == ("changed", None, "text")
    # A retriever that has looked at the store before sees it too.
    assert store.ask(retriever, QUESTIONS[7:8])[0][0][0] == old.id


@over_kinds
def test_nothing_is_written_that_does_not_fit(kind: Kind, filled: Any) -> None:
    store = filled(kind)
    store.add(store.corpus.items)
    before = store.contents()
    store.model.vectors |= {"short": [1.0, 2.0], "null": [0.0] * store.corpus.dimension}
    short, null = (Item(store.corpus.items[0].id, "text", text, {"modality": "text"}, []) for text in ("short", "null"))
    if (
        "fake-weaviate" not in kind.name
    ):  # Weaviate does not say how long vectors are; it refuses others, the fake takes them.
        with pytest.raises(InvalidInputError, match=r"length 2, but the .* holds vectors of length 16"):
            store.add([short])
    with pytest.raises(InvalidInputError, match=r"vector for texts\[0\] that is null"):
        store.add([null])
    assert store.contents() == before
