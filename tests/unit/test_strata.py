from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale import Calibration, ModalityStatistics
from commonscale.core.background import Background
from commonscale.core.calibration import ModalityCalibration
from commonscale.core.strata import PerQuestion, credibility, shrunken, shrunken_statistics, stratified


def drawn(
    rng: np.random.Generator, sizes: list[int], between: float, within: float
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Values of strata whose true means vary by ``between`` around 0: values, keys, true means."""
    means = rng.normal(0, between, len(sizes))
    values = np.concatenate([rng.normal(mean, within, size) for mean, size in zip(means, sizes, strict=True)])
    return values, [f"s{i}" for i, size in enumerate(sizes) for _ in range(size)], means


def test_kappa_by_hand() -> None:
    # Two strata of 2: within = (0.5 + 0.5) / 2, sum n (mean - 2)^2 = 2 * (1.5^2 + 1.5^2) = 9, b = (9 - 0.5) / (4 - 2).
    assert credibility(np.array([0.0, 1.0, 3.0, 4.0]), ["a", "a", "b", "b"]) == pytest.approx(0.5 / 4.25)


def test_kappa_estimates_the_ratio_of_variances() -> None:
    rng = np.random.default_rng(0)
    found = [credibility(*drawn(rng, [30] * 40, 0.5, 1.0)[:2]) for _ in range(30)]
    assert np.median(found) == pytest.approx(4.0, rel=0.15)


def test_strata_that_differ_by_chance_only_get_the_global_statistics() -> None:
    assert credibility(np.array([0.0, 4.0, 1.0, 3.0]), ["a", "a", "b", "b"]) == math.inf
    assert credibility(np.array([1.0, 2.0]), ["a", "a"]) == math.inf
    assert credibility(np.array([1.0, 2.0]), ["a", "b"]) == math.inf  # nothing tells how much one question varies
    values = np.array([0.0, 4.0, 1.0, 3.0])
    assert shrunken(values, ["a", "a", "b", "b"]) == {"a": 2.0, "b": 2.0}
    statistics = shrunken_statistics(values, ["a", "a", "b", "b"])
    assert statistics["a"].mean == 2.0


@given(st.integers(0, 1000))
def test_a_stratum_lies_between_its_own_mean_and_that_of_all_the_nearer_to_its_own_the_larger_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, keys, _ = drawn(rng, [3, 10, 200, 40], 1.0, 1.0)
    kappa = credibility(values, keys)
    for key, size in (("s0", 3), ("s1", 10), ("s2", 200), ("s3", 40)):
        own = values[[k == key for k in keys]].mean()
        weight = 0.0 if math.isinf(kappa) else size / (size + kappa)
        assert shrunken(values, keys)[key] == pytest.approx(values.mean() + weight * (own - values.mean()))


def test_shrinking_is_nearer_to_the_truth_in_small_strata() -> None:
    rng = np.random.default_rng(1)
    errors = {"own": 0.0, "global": 0.0, "shrunken": 0.0}
    spreads = {"own": 0.0, "global": 0.0, "shrunken": 0.0}
    for _ in range(200):
        values, keys, means = drawn(rng, [5, 8, 12, 20, 30, 60, 100, 150], 0.3, 1.0)
        found = shrunken_statistics(values, keys)
        for place, (key, mean) in enumerate(zip(dict.fromkeys(keys), means, strict=True)):
            if place > 3:  # the four smaller ones
                continue
            own = values[[k == key for k in keys]]
            for name, value in (("own", own.mean()), ("global", values.mean()), ("shrunken", found[key].mean)):
                errors[name] += (value - mean) ** 2
            for name, value in (("own", own.std()), ("global", values.std()), ("shrunken", found[key].std)):
                spreads[name] += (value - 1.0) ** 2
    assert errors["shrunken"] < 0.8 * min(errors["own"], errors["global"])
    assert spreads["shrunken"] < 0.5 * spreads["own"]


def test_variances_of_large_strata_are_their_own() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(0, 1, 2000), rng.normal(0, 3, 2000)])
    found = shrunken_statistics(values, ["a"] * 2000 + ["b"] * 2000)
    assert found["a"].std == pytest.approx(1, rel=0.05)
    assert found["b"].std == pytest.approx(3, rel=0.05)
    assert found["a"].count == 2000


def test_questions_without_a_stratum_help_the_others_and_have_none() -> None:
    values = np.array([1.0, 1.1, 1.2, 5.0, 5.1, 5.2])
    found = shrunken_statistics(values, ["a", "a", "a", None, None, None])
    assert set(found) == {"a"}
    assert found["a"].mean == pytest.approx(1.1, abs=0.02)


def test_one_question_alone_has_the_spread_of_all() -> None:
    rng = np.random.default_rng(3)
    values = np.append(rng.normal(0, 1, 100), 9.0)
    found = shrunken_statistics(values, ["a"] * 50 + ["b"] * 50 + ["c"])
    assert found["c"].std == pytest.approx(values.std(), rel=0.2)


def make_calibration() -> Calibration:
    entries = {
        "text": ModalityCalibration(ModalityStatistics(0.8, 0.1, 60), background=Background(0.0, 0.1, 1000)),
        "image": ModalityCalibration(ModalityStatistics(0.3, 0.1, 60)),
    }
    return Calibration(entries, "chance", 60)


def test_a_calibration_gets_a_scale_for_every_key() -> None:
    rng = np.random.default_rng(4)
    keys = ["a"] * 40 + ["b"] * 15 + [None] * 5
    per = rng.normal(0, 0.01, 60) + np.array([0.05] * 40 + [-0.05] * 15 + [0.0] * 5)
    known = {
        "text": PerQuestion(0.8 + per, per, 0.1 + per / 10),
        "image": PerQuestion(np.where(np.arange(60) < 40, 0.3 + per, np.nan)),
    }
    calibration = make_calibration()
    found = stratified(calibration, keys, known)
    assert found.modalities == calibration.modalities
    assert list(found.strata) == ["a", "b"]
    a, b = found.strata["a"], found.strata["b"]
    assert (a.questions, b.questions, a.method) == (40, 15, "chance")
    assert a.modalities["text"].statistics.mean == pytest.approx(0.85, abs=0.01)
    background = b.modalities["text"].background
    assert background is not None
    assert background.mean == pytest.approx(-0.05, abs=0.01)
    assert background.documents == 1000
    # None of b's questions found an image.
    assert b.modalities["image"] == calibration.modalities["image"]
    assert stratified(found, [None] * 60, known).strata == {}


def test_a_stratum_in_which_a_modality_is_constant() -> None:
    calibration = make_calibration()
    values = np.full(60, 0.8)
    known = {m: PerQuestion(values, values, values) for m in ("text", "image")}
    found = stratified(calibration, ["a"] * 30 + ["b"] * 30, known)
    statistics = found.strata["a"].modalities["text"].statistics
    assert (statistics.mean, statistics.count) == (pytest.approx(0.8), 30)
    assert statistics.std == pytest.approx(0, abs=1e-7)
