"""Living calibrations after updates that failed in the middle, without a fit anew."""

from __future__ import annotations

import numpy as np
import pytest

from commonscale import Calibration, JointSearch, LivingCalibration, Question
from commonscale.core.errors import InvalidInputError, SourceError
from living_world import ChangingStore, fresh
from sources import unit_rows

METHODS = ("standardized", "centered", "centered+standardized", "chance")


class Naming(ChangingStore):
    """Names ids that are gone as indexes of ours do: by an ``InvalidInputError``."""

    def vectors_of(self, ids: list[str]) -> np.ndarray:
        if not set(ids) <= set(self.documents):
            raise InvalidInputError("no document has one of these ids")
        return super().vectors_of(ids)


def make(rng: np.random.Generator, kind: type[ChangingStore] = ChangingStore) -> dict[str, ChangingStore]:
    return {m: kind(m, {f"{m}{i}": row for i, row in enumerate(unit_rows(rng, 200, 12))}) for m in ("text", "image")}


def asked(rng: np.random.Generator, count: int, kind: str = "text", strata: bool = False) -> list[Question]:
    rows = unit_rows(rng, count, 12)
    return [Question(vector=r, kind=kind, stratum="ab"[i % 2] if strata else None) for i, r in enumerate(rows)]


def assert_fresh(scale: Calibration, questions: tuple[Question, ...], stores: dict[str, ChangingStore]) -> None:
    for modality, store in stores.items():
        entry, expected = scale.modalities[modality], fresh(scale, modality, questions, store)
        assert entry.statistics.count == len(questions)
        assert entry.statistics.mean == pytest.approx(expected.mean, abs=1e-6)
        assert entry.statistics.std == pytest.approx(expected.std, abs=1e-6)
        if expected.location is not None:
            assert entry.location == pytest.approx(expected.location, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_bank_of_pictures_hears_of_a_change_that_fails_for_words(method: str) -> None:
    rng = np.random.default_rng(1)
    stores = make(rng)
    bank = asked(rng, 40) + asked(rng, 40, "image")
    living = LivingCalibration.fit(bank, stores, method=method, identical=None)
    gone = [f"text{i}" for i in range(150)]
    before = living.remember("text", gone)
    for key in gone:
        del stores["text"].documents[key]
    if method == "chance":
        before = {}  # So that all documents must be read, which fails.
    stores["text"].failing = True
    with pytest.raises(SourceError, match="down"):
        living.removed("text", gone, before)
    stores["text"].failing = False
    rows = unit_rows(rng, 1, 12)
    stores["text"].documents["late"] = rows[0]
    living.added("text", ["late"], rows)
    assert_fresh(living.calibration, living.questions(), stores)
    assert living.calibration.image_questions is not None
    assert_fresh(living.calibration.image_questions, living.questions("image"), stores)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("down", "next_change"), [("text", "text"), ("text", "image"), ("image", "text")])
def test_questions_that_joined_while_a_store_was_down_count_with_the_next_change(
    method: str, down: str, next_change: str
) -> None:
    rng = np.random.default_rng(2)
    stores = make(rng)
    living = LivingCalibration.fit(asked(rng, 40, strata=True), stores, method=method, capacity=80, join_every=1)
    before = living.calibration
    stores[down].failing = True
    with pytest.raises(SourceError, match="down"):
        living.join(asked(rng, 20, strata=True))
    assert living.calibration is before
    stores[down].failing = False
    rows = unit_rows(rng, 1, 12)
    stores[next_change].documents["late"] = rows[0]
    living.added(next_change, ["late"], rows)
    assert len(living.questions()) == 60
    assert_fresh(living.calibration, living.questions(), stores)


@pytest.mark.parametrize("kind", [ChangingStore, Naming])
def test_documents_that_are_gone_already_are_read_around(kind: type[ChangingStore]) -> None:
    rng = np.random.default_rng(3)
    stores = make(rng, kind)
    living = LivingCalibration.fit(asked(rng, 40), stores, method="chance")
    del stores["text"].documents["text7"]
    assert living.remember("text", ["text7"]) == {}
    living.removed("text", ["text7"])
    assert_fresh(living.calibration, living.questions(), stores)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore::commonscale.core.errors.FewQuestionsWarning")
@pytest.mark.filterwarnings("ignore::commonscale.core.errors.DegenerateStatisticsWarning")
def test_one_question_is_enough_to_go_on(method: str) -> None:
    rng = np.random.default_rng(4)
    stores = make(rng)
    one = asked(rng, 1)
    for questions in (one, one * 3):
        living = LivingCalibration.fit(questions, stores, method=method)
        assert_fresh(living.calibration, living.questions(), stores)


def test_pictures_alone_have_the_default_of_a_fresh_calibration() -> None:
    rng = np.random.default_rng(5)
    texts = ChangingStore("text", {f"{i}": row for i, row in enumerate(unit_rows(rng, 200, 3))})
    pictures = [Question(vector=row, kind="image") for row in unit_rows(rng, 60, 3)]
    once = JointSearch({"text": texts}).calibrate(pictures).image_questions
    kept = LivingCalibration.fit(pictures, {"text": texts}).calibration.image_questions
    assert once is not None
    assert kept is not None
    assert kept.method == once.method == "standardized"


@pytest.mark.parametrize("bad", [{"join_every": 2.5}, {"recenter_beyond": -1.0}, {"recenter_beyond": "far"}])
def test_settings_that_make_no_sense_are_refused_at_once(bad: dict[str, object]) -> None:
    rng = np.random.default_rng(6)
    with pytest.raises(InvalidInputError, match=next(iter(bad))):
        LivingCalibration.fit(asked(rng, 40), make(rng), **bad)
