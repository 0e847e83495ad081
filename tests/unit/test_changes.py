"""Telling living calibrations what comes into a store and what goes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from commonscale import Calibration, JointSearch, LivingCalibration, Question
from commonscale.core.changes import Changes, Watchable, follow
from commonscale.core.errors import InvalidInputError, StaleCalibrationWarning
from commonscale.core.kept import Kept
from sources import unit_rows

DIMENSION = 8
QUESTIONS = [Question(vector=row) for row in unit_rows(np.random.default_rng(1), 40, DIMENSION)]


class Store:
    """A store in a dict, and its own source: the smallest one that tells of changes."""

    def __init__(self, modality: str = "text", obstacle: str | None = None) -> None:
        self.rows: dict[str, np.ndarray] = {}
        self.hub = Changes()
        self.changes = Watchable(self.hub, lambda document: bool(document == modality), obstacle)
        self.fails: Exception | None = None
        self.lies = False

    def put(self, ids: list[str], vectors: Any, documents: list[str] | None = None) -> None:
        with self.hub.turns.turn():
            memory = self.hub.remember(ids)
            if self.fails is not None:
                raise self.fails
            self.rows.update(zip(ids, vectors, strict=True))
            self.hub.added(ids, np.asarray(vectors), documents or ["text"] * len(ids), memory)

    def drop(self, ids: list[str]) -> None:
        with self.hub.turns.turn():
            memory = self.hub.remember(ids)
            if self.fails is not None:
                raise self.fails
            for one in ids:
                self.rows.pop(one, None)
            self.hub.removed(ids, memory)

    def search(self, questions: Any, k: int) -> Any:
        from commonscale import Candidates

        if self.lies:
            raise ConnectionError("the store is gone")
        ids = list(self.rows)
        matrix = np.array([self.rows[one] for one in ids]).reshape(len(ids), DIMENSION)
        found = []
        for question in questions:
            cosines = matrix.astype(np.float64) @ question.vector
            order = np.argsort(-cosines, kind="stable")[:k]
            found.append(Candidates([ids[place] for place in order], cosines[order]))
        return found

    def scan(self, size: int = 100) -> Any:
        if self.rows:
            yield list(self.rows), np.array(list(self.rows.values()))

    def vectors_of(self, ids: list[str]) -> Any:
        return np.array([self.rows[one] for one in ids])


def filled(count: int = 30, **settings: Any) -> Store:
    store = Store(**settings)
    rows = unit_rows(np.random.default_rng(2), count, DIMENSION)
    store.put([f"d{number}" for number in range(count)], rows)
    return store


def means(calibration: Calibration) -> float:
    return calibration.modalities["text"].statistics.mean


@pytest.mark.parametrize("method", ["standardized", "chance"])
def test_a_search_follows_additions_replacements_and_deletions(method: str) -> None:
    store = filled()
    search = JointSearch({"text": store})
    kept = Kept(LivingCalibration.fit(QUESTIONS, search.sources, method=method), search)
    store.put(["late", "d3"], unit_rows(np.random.default_rng(3), 2, DIMENSION))
    store.drop(["d0", "d1", "unknown"])
    assert search.calibration is kept.living.calibration
    if method == "chance":
        kept.living.refit()
    fresh = LivingCalibration.fit(QUESTIONS, {"text": store}, method=method).calibration
    assert means(search.calibration) == pytest.approx(means(fresh), abs=1e-6)  # type: ignore[arg-type]
    assert search.calibration.modalities["text"].location == pytest.approx(  # type: ignore[union-attr]
        fresh.modalities["text"].location, abs=1e-6
    )


def test_documents_of_another_modality_are_not_told_of_and_moved_ones_are_gone() -> None:
    store = filled()
    living = LivingCalibration.fit(QUESTIONS, {"text": store}, method="chance")
    follow(living)
    store.put(["elsewhere"], unit_rows(np.random.default_rng(4), 1, DIMENSION), ["image"])
    del store.rows["elsewhere"]
    store.put(["d5"], [store.rows["d5"]], ["image"])
    known = living.calibration.modalities["text"].correction.documents.ids  # type: ignore[union-attr]
    assert sorted(known) == sorted(set(store.rows) - {"d5"})


def test_a_store_that_fails_changes_nothing() -> None:
    store = filled()
    search = JointSearch({"text": store})
    Kept(LivingCalibration.fit(QUESTIONS, search.sources, method="chance"), search)
    before = search.calibration
    store.fails = OSError("the disk is full")
    for change in (
        lambda: store.put(["a"], unit_rows(np.random.default_rng(5), 1, DIMENSION)),
        lambda: store.drop(["d1"]),
    ):
        with pytest.raises(OSError, match="disk is full"):
            change()
    assert search.calibration is before


def test_what_the_calibration_cannot_do_is_a_warning_and_made_up_for() -> None:
    store = filled()
    search = JointSearch({"text": store})
    living = LivingCalibration.fit(QUESTIONS, search.sources, method="standardized")
    Kept(living, search)
    best = [found.ids[0] for found in store.search(QUESTIONS, 1)]
    store.lies = True
    with pytest.warns(StaleCalibrationWarning, match="could not be kept up to date"):
        store.drop([best[0]])
    store.lies = False
    store.drop([best[1]])
    fresh = LivingCalibration.fit(QUESTIONS, {"text": store}, method="standardized").calibration
    assert means(living.calibration) == pytest.approx(means(fresh), abs=1e-6)


def test_when_nobody_knows_what_changed_everything_is_fitted_anew() -> None:
    store = filled()
    living = LivingCalibration.fit(QUESTIONS, {"text": store}, method="standardized")
    follow(living)
    store.rows["secret"] = QUESTIONS[0].vector  # type: ignore[assignment]
    before = means(living.calibration)
    store.hub.unknown()
    assert means(living.calibration) > before


def test_another_calibration_or_the_end_ends_it() -> None:
    store = filled()
    search = JointSearch({"text": store})
    kept = Kept(LivingCalibration.fit(QUESTIONS, search.sources, method="standardized"), search)
    mine = search.calibrate(QUESTIONS[:35], method="standardized")
    store.drop(["d1"])
    assert search.calibration is mine
    assert store.hub.watchers == ()
    again = Kept(kept.living, search)
    assert copy.deepcopy(again) is again
    again.end()
    given = search.calibration
    store.drop(["d2"])
    assert search.calibration is given


def test_a_kept_search_begins_with_what_changed_since_the_fit() -> None:
    store = filled()
    search = JointSearch({"text": store})
    living = LivingCalibration.fit(QUESTIONS, search.sources, method="standardized")
    living.added("text", ["x"], np.array([QUESTIONS[0].vector]))
    store.rows["x"] = QUESTIONS[0].vector  # type: ignore[assignment]
    Kept(living, search)
    assert search.calibration is living.calibration


def test_stores_that_cannot_be_followed_are_named() -> None:
    store, silent = filled(), filled()
    silent.changes = None  # type: ignore[assignment]
    both = {"text": store, "image": silent}
    with pytest.warns(StaleCalibrationWarning, match="'image' are not seen: its Store does not tell"):
        end = follow(LivingCalibration.fit(QUESTIONS, both, method="standardized"))
    assert len(store.hub.watchers) == 1
    end()
    assert store.hub.watchers == ()
    with pytest.raises(InvalidInputError, match="none of the stores tells of its changes"):
        follow(LivingCalibration.fit(QUESTIONS, {"text": silent}, method="standardized"))
    filtered = filled(obstacle="a filter decides")
    with pytest.raises(InvalidInputError, match="cannot be followed: a filter decides"):
        follow(LivingCalibration.fit(QUESTIONS, {"text": filtered}, method="standardized"))
