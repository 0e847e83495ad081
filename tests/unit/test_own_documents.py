"""Questions that are pictures of the store: their own hit is left out of what is learned, by every method."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from commonscale import Calibration, Candidates, JointSearch, Question, QuestionBank
from commonscale.core.errors import (
    DegenerateStatisticsWarning,
    FewQuestionsWarning,
    InvalidInputError,
    NotCalibratedError,
)
from commonscale.core.own_documents import OthersSource
from sources import ArraySource, unit_rows

DIMENSION = 12


class Readable(ArraySource):
    """An exact source that gives its vectors back."""

    def scan(self, size=2048):
        for start in range(0, len(self.ids), 7):
            yield self.ids[start : start + 7], self.vectors[start : start + 7]


def world(seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    gap = np.eye(DIMENSION, dtype=np.float32)[0]

    def rows(count: int, side: float) -> np.ndarray:
        found = unit_rows(rng, count, DIMENSION) + side * gap
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    vectors = {"text": rows(50, 0.8), "image": rows(40, -0.8)}
    # Every other picture of the store is asked with, and some that are not in it.
    return vectors, np.concatenate([vectors["image"][::2], rows(20, -0.8)])


def search_over(vectors: dict[str, np.ndarray]) -> JointSearch:
    return JointSearch({m: Readable([f"{m}{i}" for i in range(len(rows))], rows) for m, rows in vectors.items()})


def asked(rows: np.ndarray) -> list[Question]:
    return [Question(vector=row, kind="image") for row in rows]


def without_own(vectors: np.ndarray, bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines (C, N) in float64, and which of them are of a question with itself."""
    cosines = bank.astype(np.float64) @ vectors.astype(np.float64).T
    return cosines, cosines > 0.9999


def test_best_hits_are_those_of_other_documents() -> None:
    vectors, bank = world()
    calibration = search_over(vectors).calibrate(asked(bank), method="standardized").image_questions
    assert calibration is not None
    for modality, rows in vectors.items():
        cosines, own = without_own(rows, bank)
        best = np.where(own, -np.inf, cosines).max(axis=1)
        statistics = calibration.modalities[modality].statistics
        assert own.any() == (modality == "image")
        assert (statistics.mean, statistics.std) == pytest.approx((best.mean(), best.std()), abs=1e-6)


def test_none_keeps_them() -> None:
    vectors, bank = world()
    only = bank[:20]  # all in the store
    with pytest.warns(FewQuestionsWarning), pytest.warns(DegenerateStatisticsWarning, match="do not vary"):
        kept = search_over({"image": vectors["image"]}).calibrate(asked(only), method="standardized", identical=None)
    assert kept.image_questions is not None
    assert kept.image_questions.modalities["image"].statistics.mean == pytest.approx(1.0, abs=1e-6)


def test_questions_in_words_keep_theirs() -> None:
    vectors, bank = world()
    calibration = search_over(vectors).calibrate([Question(vector=row) for row in bank], method="standardized")
    cosines, _ = without_own(vectors["image"], bank)
    assert calibration.statistics("image").mean == pytest.approx(cosines.max(axis=1).mean(), abs=1e-6)


def chance_by_definition(vectors: np.ndarray, bank: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Level, scale and hub scores with every pair of a picture with itself left out, pair by pair."""
    _, own = without_own(vectors, bank)
    q, d = (rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0) for rows in (bank, vectors))
    q, d = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (q, d))
    centred = np.where(own, np.nan, q @ d.T)
    hubs = np.array([np.sort(column[~np.isnan(column)])[-10:].mean() for column in centred.T])
    similarities = centred - 0.5 * hubs
    mean = np.mean([np.nanmean(row) for row in similarities])
    std = np.mean([np.nanstd(row) for row in similarities])
    return mean + std * -NormalDist().inv_cdf(1e-5 / len(vectors)), math.sqrt(std), hubs


def test_chance_level_is_that_of_other_documents() -> None:
    vectors, bank = world()
    calibration = search_over(vectors).calibrate(asked(bank), method="chance").image_questions
    assert calibration is not None
    for modality, rows in vectors.items():
        entry = calibration.modalities[modality]
        level, scale, hubs = chance_by_definition(rows, bank)
        assert entry.correction is not None
        assert (entry.location, entry.scale) == pytest.approx((level, scale), abs=1e-5)
        np.testing.assert_allclose(entry.correction.documents.hubs, hubs, atol=1e-5)


def test_centred_best_hits_are_those_of_other_documents() -> None:
    vectors, bank = world()
    calibration = search_over(vectors).calibrate(asked(bank), method="centered+standardized").image_questions
    assert calibration is not None
    _, own = without_own(vectors["image"], bank)
    q, d = (rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0) for rows in (bank, vectors["image"]))
    q, d = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (q, d))
    best = np.where(own, -np.inf, q @ d.T).max(axis=1)
    assert calibration.statistics("image").mean == pytest.approx(best.mean(), abs=1e-5)


@pytest.mark.parametrize("method", ["standardized", "centered+standardized"])
def test_a_question_that_finds_only_itself_teaches_nothing_of_that_modality(method: str) -> None:
    vectors, bank = world()
    sources = search_over({"text": vectors["text"], "image": np.repeat(bank[:1], 3, axis=0)}).sources
    if method != "standardized":
        sources["image"] = Readable(["image0", "image1"], bank[[0, 21]])
    found = QuestionBank.fit(asked(bank[:1]), sources, method="standardized", identical=0.9999)
    if method == "standardized":
        assert found.best["image"].ids == (None,)
        assert np.isnan(found.best["image"].cosines).all()
    else:
        assert found.best["image"].ids == ("image1",)
    assert found.best["text"].ids[0] is not None


async def test_asynchronously_too() -> None:
    vectors, bank = world()
    for method in ("standardized", "chance"):
        search, other = search_over(vectors), search_over(vectors)
        expected = search.calibrate(asked(bank), method=method).image_questions
        found = (await other.acalibrate(asked(bank), method=method)).image_questions
        assert expected is not None
        assert found is not None
        assert found.modalities == expected.modalities


def test_a_search_for_others_goes_as_deep_as_needed() -> None:
    _, bank = world()
    source = ArraySource([str(i) for i in range(8)], np.concatenate([np.repeat(bank[:1], 5, axis=0), bank[1:4]]))
    [found] = OthersSource(source, "image", 0.9999).search(asked(bank[:1]), 2)
    assert [int(i) >= 5 for i in found.ids] == [True, True]
    assert (np.diff(found.cosines) <= 0).all()


def test_payloads_stay_beside_their_hits() -> None:
    class Paid:
        def search(self, questions: list[Question], k: int) -> list[Candidates]:
            return [Candidates(["a", "b", "c"][:k], np.array([1.0, 0.5, 0.25])[:k], ["A", "B", "C"][:k])]

    [found] = OthersSource(Paid(), "image", 0.9999).search([Question(kind="image")], 2)
    assert (list(found.ids), list(found.payloads or [])) == (["b", "c"], ["B", "C"])


@pytest.mark.parametrize("identical", [1.5, -2.0, math.nan])
def test_what_is_no_cosine_is_refused(identical: float) -> None:
    vectors, bank = world()
    with pytest.raises(InvalidInputError, match=r"in \[-1, 1\], or None"):
        search_over(vectors).calibrate(asked(bank), identical=identical)


def test_pictures_have_a_scale_of_their_own_that_words_do_not_touch(tmp_path) -> None:
    vectors, bank = world()
    search = search_over(vectors)
    with pytest.raises(NotCalibratedError, match="no calibration yet"):
        search.search(asked(bank)[0], 5)
    words = [Question(f"q{i}", row) for i, row in enumerate(world(seed=1)[0]["text"][:40])]
    search.calibrate(words, method="standardized")
    with pytest.raises(NotCalibratedError, match=r"calibrate_images.*raw=True"):
        search.search(asked(bank)[0], 5)
    assert len(search.search(asked(bank)[0], 5, raw=True)) == 5
    before = search.search(words[0], 5)
    pictures = search.calibrate(asked(bank), method="standardized")
    assert search.search(words[0], 5).hits == before.hits
    assert search.calibrate(words, method="standardized").image_questions is pictures.image_questions
    pictures.save(tmp_path / "calibration.json")
    loaded = Calibration.load(tmp_path / "calibration.json")
    fresh = search_over(vectors)
    fresh.calibration = loaded
    # A batch of both kinds: each is ranked on its own scale.
    mixed = [words[0], asked(bank)[0], words[1]]
    assert [r.hits for r in fresh.search_batch(mixed, 5)] == [search.search(q, 5).hits for q in mixed]


def test_pictures_alone_can_be_calibrated() -> None:
    vectors, bank = world()
    search = search_over(vectors)
    search.calibrate(asked(bank), method="chance")
    assert search.search(asked(bank)[0], 5).hits
    with pytest.raises(NotCalibratedError, match="has no statistics"):
        search.search(Question("words", vectors["text"][0]), 5)
