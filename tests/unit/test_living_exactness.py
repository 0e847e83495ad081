"""After any sequence of changes a living calibration is what a fresh one would be, to 1e-6."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonscale import LivingCalibration, Question
from commonscale.core.errors import CommonscaleWarning
from living_world import ChangingStore, fresh
from sources import unit_rows

RNG = np.random.default_rng(5)
POOL = unit_rows(RNG, 12, 6)
ASKED = [Question(vector=vector) for vector in unit_rows(RNG, 30, 6)]
OTHERS = {f"o{i}": vector for i, vector in enumerate(unit_rows(RNG, 30, 6))}
KEYS = [f"d{i}" for i in range(9)]
MODALITIES = ("text", "image")
METHODS = ("standardized", "centered+standardized", "chance")

_documents = st.dictionaries(st.sampled_from(KEYS), st.integers(0, len(POOL) - 1), max_size=5)
_changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(MODALITIES), _documents, st.booleans()),
        st.tuples(
            st.just("drop"),
            st.sampled_from(MODALITIES),
            st.lists(st.sampled_from(KEYS), max_size=4, unique=True),
            st.sampled_from(["before", "after", "remembered", "given"]),
        ),
        st.tuples(st.just("join"), st.integers(0, 24), st.integers(1, 5), st.none()),
    ),
    max_size=9,
)


def apply(change: tuple[Any, ...], living: LivingCalibration, stores: dict[str, ChangingStore]) -> None:
    kind, what, documents, how = change
    if kind == "join":
        living.join(ASKED[what : what + documents])
    elif kind == "put":
        vectors = {key: POOL[number] for key, number in documents.items()}
        before = living.remember(what, list(vectors)) if how else None
        stores[what].documents |= vectors
        living.added(what, list(vectors), 3.0 * np.array(list(vectors.values())).reshape(-1, 6), before)
    else:
        held = stores[what].documents
        if how == "before":
            living.removed(what, documents)
        known: Any = living.remember(what, documents) if how == "remembered" else None
        if how == "given":
            known = np.stack([held.get(key, POOL[0]) for key in documents]) if documents else np.empty((0, 6))
        for key in documents:
            held.pop(key, None)
        if how != "before":
            living.removed(what, documents, known)


def check(living: LivingCalibration, stores: dict[str, ChangingStore]) -> None:
    calibration = living.calibration
    full = {modality for modality, store in stores.items() if store.documents}
    if not full:
        return
    assert set(calibration.modalities) == full
    for modality in full:
        entry = calibration.modalities[modality]
        expected = fresh(calibration, modality, living.questions(), stores[modality])
        assert entry.statistics.mean == pytest.approx(expected.mean, abs=1e-6)
        assert entry.statistics.std == pytest.approx(expected.std, abs=1e-6)
        assert entry.statistics.count == len(living.questions())
        if expected.location is not None:
            assert entry.location == pytest.approx(expected.location, abs=1e-6)
            assert entry.scale**2 == pytest.approx(expected.scale**2, abs=1e-6)
        if entry.correction is not None:
            table = entry.correction.documents
            assert set(table.ids) == set(stores[modality].documents)
            rows = table.rows(list(expected.table))
            numbers = np.stack([table.along[rows], table.norms[rows], table.hubs[rows]], axis=1)
            np.testing.assert_allclose(numbers, list(expected.table.values()), atol=1e-6)


@pytest.mark.parametrize("kept", [False, True], ids=["vectors not kept", "vectors kept"])
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20, deadline=None)
@given(texts=_documents, images=_documents, changes=_changes)
def test_any_sequence_of_changes_ends_where_a_fresh_fit_does(
    method: str, kept: bool, texts: dict[str, int], images: dict[str, int], changes: list[tuple[Any, ...]]
) -> None:
    stores = {
        # So many that they are subtracted, where the others are so few that the rest is read again.
        "text": ChangingStore("text", OTHERS | {key: POOL[number] for key, number in texts.items()}),
        "image": ChangingStore("image", {key: POOL[number] for key, number in images.items()}),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CommonscaleWarning)  # few questions, empty modalities
        living = LivingCalibration.fit(
            ASKED[:14], stores, method=method, capacity=16, keep_vectors=kept, join_every=1, seed=1
        )
        check(living, stores)
        for change in changes:
            apply(change, living, stores)
            check(living, stores)
