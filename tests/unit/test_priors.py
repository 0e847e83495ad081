"""Priors on modality: offsets from evidence, their strength, and what a search makes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from commonscale import (
    Background,
    Calibration,
    JointSearch,
    ModalityCalibration,
    ModalityStatistics,
    Provenance,
    Question,
)
from commonscale.core.errors import (
    EncoderMismatchError,
    FileFormatError,
    InvalidInputError,
    NotCalibratedError,
    PriorWarning,
)
from commonscale.priors import FunctionPrior, LinearPrior, Prior, ZeroShotPrior, best_scores, load_prior, strength_of
from commonscale.priors.odds import STEEPEST, calibration_of, centered, log_softmax, slope_of
from commonscale.priors.words import PLACES, word_vectors
from sources import ArraySource, unit_rows

finite = st.floats(-50, 50)
evidences = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 4)), elements=finite)


class Told(Prior):
    """A prior with the evidence that a test gives it."""

    kind = "told"

    def __init__(self, rows: Any, modalities: Sequence[str] = ("text", "image"), **settings: Any) -> None:
        super().__init__(modalities, **settings)
        self.rows = np.asarray(rows, dtype=np.float64)

    def evidence(self, questions: Sequence[Question]) -> np.ndarray:
        return self.rows


class Letters:
    """A fake encoder: counts letters. Equal texts have equal vectors."""

    dimension = 26
    fingerprint = "letters"

    def encode_questions(self, questions: Sequence[str]) -> np.ndarray:
        rows = np.array([[q.lower().count(chr(97 + k)) + 0.01 for k in range(26)] for q in questions])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def asked(*texts: str) -> list[Question]:
    return [Question(text) for text in texts]


@given(evidences, st.floats(0.1, 10), st.floats(0.1, 20))
def test_offsets_sum_to_zero_keep_the_order_and_stay_within_the_limit(
    rows: np.ndarray, strength: float, limit: float
) -> None:
    labels = [f"m{place}" for place in range(rows.shape[1])]
    prior = Told(rows, labels, strength=strength, limit=limit)
    offsets = prior.offsets([Question("?")] * len(rows))
    assert list(offsets) == labels
    given_ = np.column_stack([offsets[label] for label in labels])
    np.testing.assert_allclose(given_.sum(axis=1), 0, atol=1e-9 * strength * limit)
    spread = given_.max(axis=1) - given_.min(axis=1)
    assert (spread <= strength * limit * (1 + 1e-9)).all()
    for row, added in zip(rows, given_, strict=True):
        assert (np.diff(added[np.argsort(row, kind="stable")]) >= -1e-12).all()


@given(evidences, st.floats(-30, 30))
def test_a_constant_added_to_all_evidence_of_a_question_changes_nothing(rows: np.ndarray, constant: float) -> None:
    np.testing.assert_allclose(centered(rows + constant, 6.0), centered(rows, 6.0), atol=1e-9)


def test_a_question_without_signal_gets_nothing_and_one_with_it_gets_log_odds() -> None:
    prior = Told([[0.0, 0.0], [np.log(3), 0.0], [-np.inf, 0.0], [-np.inf, -np.inf]], strength=0.5, limit=4.0)
    offsets = prior.offsets(asked("a", "b", "c", "d"))
    np.testing.assert_allclose(offsets["text"], [0, 0.25 * np.log(3), -1, 0])
    np.testing.assert_allclose(offsets["image"], -offsets["text"])


def test_pictures_as_questions_get_nothing_and_are_not_judged() -> None:
    prior = Told([[2.0, 0.0]], strength=1.0)
    offsets = prior.offsets([Question(kind="image"), Question("words"), Question(kind="image")])
    np.testing.assert_allclose(offsets["text"], [0, 1, 0])
    assert [len(v) for v in prior.offsets([]).values()] == [0, 0]


def test_probabilities_follow_bayes_rule() -> None:
    prior = Told([[np.log(4), 0.0]])
    np.testing.assert_allclose(prior.probabilities(asked("a")), [[0.8, 0.2]])
    np.testing.assert_allclose(prior.probabilities(asked("a"), {"text": 1, "image": 4}), [[0.5, 0.5]])
    with pytest.raises(InvalidInputError, match=r"rates must be numbers above 0 .* got \{'text': 1\}"):
        prior.probabilities(asked("a"), {"text": 1})


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="two different modalities apart, got 'text'"):
        Told([], "text")
    with pytest.raises(InvalidInputError, match="two different modalities"):
        Told([], ("text", "text"))
    with pytest.raises(InvalidInputError, match=r"strength must be .* got -1"):
        Told([], strength=-1)
    with pytest.raises(InvalidInputError, match="strength must be"):
        Told([]).scaled(float("nan"))
    with pytest.raises(InvalidInputError, match=r"limit must be .* got 0"):
        Told([], limit=0)
    with pytest.raises(NotCalibratedError, match=r"this Told was not fitted to a scale.*scaled_to\(calibration"):
        Told([[0, 0]]).offsets(asked("a"))
    with pytest.raises(InvalidInputError, match=r"must have shape \(2, 2\), got \(1, 2\)"):
        Told([[0, 0]], strength=1).offsets(asked("a", "b"))
    with pytest.raises(InvalidInputError, match=r"is \[nan, 0.0\] for question 'b'"):
        Told([[0, 0], [np.nan, 0]], strength=1).offsets(asked("a", "b"))


async def test_asynchronous_offsets_are_the_same() -> None:
    prior = Told([[1.0, 0.0]], strength=1.0)
    found = await prior.aoffsets(asked("a"))
    np.testing.assert_array_equal(found["text"], prior.offsets(asked("a"))["text"])
    assert len((await prior.aoffsets([]))["text"]) == 0


def test_a_copy_is_scaled_and_the_original_stays() -> None:
    prior = Told([[1.0, 0.0]])
    assert prior.scaled(2.0).strength == 2.0
    best = {"text": np.array([0.0, 4.0]), "image": np.array([0.0, 0.0])}
    assert prior.scaled_to(best).strength == pytest.approx(1.0)
    assert prior.strength is None


@given(hnp.arrays(np.float64, (2, 20), elements=finite), st.floats(0.01, 100), finite)
def test_the_strength_grows_with_the_scale_and_ignores_shifts(scores: np.ndarray, factor: float, shift: float) -> None:
    best = {"a": scores[0], "b": scores[1]}
    assert strength_of(best) == pytest.approx(np.std(scores[0] - scores[1]) / 2)
    moved = {"a": factor * scores[0] + shift, "b": factor * scores[1]}
    assert strength_of(moved) == pytest.approx(factor * strength_of(best), abs=1e-6)


def test_the_strength_of_three_modalities_is_the_root_mean_square_and_leaves_out_what_found_nothing() -> None:
    best = {"a": np.array([0.0, 2.0, np.nan]), "b": np.array([0.0, 0.0, 9.0]), "c": np.array([0.0, 4.0, 1.0])}
    variances = [np.var([0, 2]), np.var([0, -2]), np.var([0, -4, 8])]
    assert strength_of(best) == pytest.approx(np.sqrt(np.mean(variances)) / 2)
    with pytest.raises(InvalidInputError, match=r"at least two modalities, got \['a'\]"):
        strength_of({"a": np.zeros(3)})
    with pytest.raises(InvalidInputError, match="for the same questions in every modality"):
        strength_of({"a": np.zeros(3), "b": np.zeros(2)})
    with pytest.raises(InvalidInputError, match="at least two questions"):
        strength_of({"a": np.array([1.0, np.nan]), "b": np.array([np.nan, 1.0])})


def test_a_calibration_tells_the_strength_too() -> None:
    entries = {
        "text": ModalityCalibration(ModalityStatistics(0.8, 0.06, 9), background=Background(0.1, 0.04, 50)),
        "image": ModalityCalibration(ModalityStatistics(0.3, 0.02, 9), background=Background(0.0, 0.01, 70)),
    }
    # Scores are divided by the square root of the background's spread: .06 / .2 and .02 / .1.
    assert strength_of(Calibration(entries)) == pytest.approx(np.sqrt(0.3**2 + 0.2**2) / 2)
    assert Told([[0, 0]]).scaled_to(Calibration(entries)).strength == strength_of(Calibration(entries))
    with pytest.raises(InvalidInputError, match=r"a calibration of at least two modalities, got \['text'\]"):
        strength_of(Calibration({"text": entries["text"]}))


def test_platt_scaling_finds_slope_and_bias() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 4000)
    odds = np.where(truth == 0, 1, -1) * 1.5**2 / 2 + 1.5 * rng.standard_normal(4000)
    skewed = np.column_stack([odds + 1.2, -odds]) * 2
    slope, bias = calibration_of(skewed, truth)
    assert slope == pytest.approx(0.25, abs=0.02)
    assert bias[0] - bias[1] == pytest.approx(-0.6, abs=0.1)
    three = np.eye(3)[rng.integers(0, 3, 900)]
    slope, bias = calibration_of(three, three.argmax(axis=1))
    assert 5 < slope < STEEPEST
    np.testing.assert_allclose(bias, 0, atol=0.5)
    assert calibration_of(-skewed, truth)[0] == 0.0
    assert not calibration_of(-skewed, truth)[1].any()


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_word_vectors_are_unit_or_null_and_ignore_order_case_and_repeats(texts: list[str]) -> None:
    rows = word_vectors(texts)
    norms = np.linalg.norm(rows, axis=1)
    assert ((np.abs(norms - 1) < 1e-12) | (norms == 0)).all()
    np.testing.assert_array_equal(word_vectors(["Is it RED, red?"]), word_vectors(["red it is"]))
    assert rows.shape == (len(texts), PLACES)


def test_a_linear_prior_can_see_words_beside_the_embedding(tmp_path: Path) -> None:
    weights = np.zeros((2, 2 + PLACES))
    weights[1, 2:] = 4.0 * word_vectors(["color"])[0]
    prior = LinearPrior(("text", "image"), weights, np.zeros(2), strength=1.0, words=True)
    vector = np.array([1.0, 0.0], dtype=np.float32)
    rows = prior.evidence([Question("color", vector), Question("who", vector), Question("", vector)])
    np.testing.assert_allclose(rows, [[0, 4 / np.sqrt(2)], [0, 0], [0, 0]])
    assert prior.dimension == 2
    prior.save(tmp_path / "prior.json")
    again = load_prior(tmp_path / "prior.json")
    np.testing.assert_array_equal(again.evidence([Question("color", vector)]), rows[:1])  # type: ignore[attr-defined]


def test_the_slope_recovers_how_wrong_evidence_is_scaled_and_is_zero_where_it_is_worth_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 4000)
    odds = np.where(truth == 0, 1, -1) * 1.5**2 / 2 + 1.5 * rng.standard_normal(4000)
    calibrated = np.column_stack([odds / 2, -odds / 2])
    assert slope_of(calibrated, truth) == pytest.approx(1.0, abs=0.08)
    assert slope_of(calibrated * 5, truth) == pytest.approx(0.2, abs=0.02)
    assert slope_of(-calibrated, truth) == 0.0
    assert 0 < slope_of(np.array([[9.0, 0.0], [0.0, 9.0]]), np.array([0, 1])) < 1
    assert slope_of(np.array([[1e-9, 0.0], [0.0, 1e-9]]), np.array([0, 1])) == STEEPEST


def test_calibrating_gives_a_copy_that_is_as_sure_as_labels_bear_out() -> None:
    rows = np.array([[6.0, 0.0]] * 50 + [[0.0, 6.0]] * 50)
    labels = (["text"] * 40 + ["image"] * 10) * 1 + (["image"] * 40 + ["text"] * 10)
    prior = Told(rows, strength=1.0)
    made = prior.calibrated(asked(*"a" * 100), labels)
    assert prior.slope == 1.0
    np.testing.assert_allclose(made.probabilities(asked(*"a" * 100))[0], [0.79, 0.21], atol=0.02)
    assert Told(-rows).calibrated(asked(*"a" * 100), labels).slope == 0.0
    assert not Told(-rows, strength=1.0).calibrated(asked(*"a" * 100), labels).offsets(asked(*"a" * 100))["text"].any()
    with pytest.raises(InvalidInputError, match="100 questions come with 1 labels"):
        prior.calibrated(asked(*"a" * 100), ["text"])
    with pytest.raises(InvalidInputError, match=r"labels name 'audio', which are none of the modalities"):
        prior.calibrated(asked("a"), ["audio"])


@given(evidences)
def test_log_softmax_gives_probabilities(rows: np.ndarray) -> None:
    np.testing.assert_allclose(np.exp(log_softmax(rows)).sum(axis=1), 1)


def test_a_function_gives_probabilities_log_odds_or_nothing() -> None:
    said: dict[str, Any] = {"p": 0.8, "map": {"image": 3, "text": 1}, "none": None, "sure": np.float32(0)}
    prior = FunctionPrior(said.get, limit=50)
    rows = prior.evidence(asked(*said))
    np.testing.assert_allclose(rows[:, 0] - rows[:, 1], [np.log(4), -np.log(3), 0, -np.inf])
    odds = FunctionPrior(lambda text: len(text) - 1, gives="log-odds").evidence(asked("ab", "a"))
    np.testing.assert_allclose(odds, [[1, 0], [0, 0]])
    three = FunctionPrior(lambda _: {"a": 0, "b": 1, "c": 2}, tuple("abc"), gives="log-odds").evidence(asked("?"))
    np.testing.assert_allclose(three, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("said", "needed"),
    [
        ("many", "numbers"),
        (float("nan"), "numbers"),
        (1.5, "at least 0, not all 0, a single one at most 1"),
        ({"text": 0, "image": 0}, "not all 0"),
        ({"text": 1}, r"a number for each of \('text', 'image'\)"),
    ],
)
def test_a_function_that_says_something_else_is_named_with_its_question(said: Any, needed: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"for question 'why'; it must give .*{needed}"):
        FunctionPrior(lambda _: said).evidence(asked("why"))


def test_functions_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="must be callable"):
        FunctionPrior("text")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"gives must be .* got 'odds'"):
        FunctionPrior(len, gives="odds")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="a mapping, since there are 3 modalities"):
        FunctionPrior(lambda _: 0.5, tuple("abc")).evidence(asked("?"))


async def test_a_coroutine_function_is_awaited() -> None:
    async def slow(text: str) -> float:
        await asyncio.sleep(0)
        return 0.9 if text == "a" else 0.5

    prior = FunctionPrior(slow, strength=1.0)
    offsets = await prior.aoffsets(asked("a", "b"))
    np.testing.assert_allclose(offsets["text"], [np.log(9) / 2, 0], atol=1e-12)
    in_a_thread = await asyncio.to_thread(prior.offsets, asked("a", "b"))
    np.testing.assert_allclose(in_a_thread["text"], offsets["text"])
    with pytest.raises(InvalidInputError, match="a synchronous search inside a running event loop cannot await it"):
        prior.offsets(asked("a"))


def test_a_linear_prior_takes_the_questions_vectors_of_any_norm() -> None:
    prior = LinearPrior(("text", "image"), [[2.0, 0.0], [0.0, 0.0]], [0.0, 1.0], strength=1.0, fingerprint="clip")
    question = Question("a", np.array([3.0, 4.0], dtype=np.float32))
    np.testing.assert_allclose(prior.evidence([question]), [[1.2, 1.0]], rtol=1e-6)
    assert not prior.flat
    prior.check("clip")
    prior.check(None)
    with pytest.raises(EncoderMismatchError, match="of encoder 'clip', not of 'other'"):
        prior.check("other")
    with pytest.raises(InvalidInputError, match="question 'b' has no vector of its own"):
        prior.offsets(asked("b"))
    with pytest.raises(InvalidInputError, match="of dimension 2, got 3"):
        prior.offsets([Question("a", np.ones(3, dtype=np.float32))])
    with pytest.raises(InvalidInputError, match="vectors differ in shape"):
        prior.offsets([question, Question("a", np.ones(3, dtype=np.float32))])
    with pytest.raises(InvalidInputError, match=r"need weights of shape \(2, d\)"):
        LinearPrior(("text", "image"), np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(InvalidInputError, match="must be finite"):
        LinearPrior(("text", "image"), np.full((2, 2), np.nan), np.zeros(2))


def test_an_encoder_of_its_own_embeds_the_texts() -> None:
    weights = np.zeros((2, 26))
    weights[0, 0] = 1.0
    prior = LinearPrior(("text", "image"), weights, np.zeros(2), strength=1.0, encoder=Letters())
    offsets = prior.offsets(asked("aaa", "bbb"))["text"]
    np.testing.assert_allclose(offsets, [0.5, 0], atol=0.01)
    prior.check("another encoder of the search")
    with pytest.raises(InvalidInputError, match="1 of 2 questions have no text, the first is number 1"):
        prior.offsets(asked("a", " "))
    with pytest.raises(InvalidInputError, match="str is no encoder: it lacks encode_questions, fingerprint"):
        LinearPrior(("text", "image"), weights, np.zeros(2), encoder="clip")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="fingerprint is 'x', but that of the encoder is 'letters'"):
        LinearPrior(("text", "image"), weights, np.zeros(2), encoder=Letters(), fingerprint="x")


def test_a_zero_shot_prior_compares_with_example_questions() -> None:
    prompts = {"text": ["aa", "ab"], "image": ["zz", "zy"]}
    bank = [Question(t, v) for t, v in zip("abyz", Letters().encode_questions([*"abyz"]), strict=True)]
    prior = ZeroShotPrior.fit(bank, Letters(), prompts, strength=1.0)
    rows = prior.evidence(bank)
    differences = rows[:, 0] - rows[:, 1]
    assert differences[0] > differences[1] > 0 > differences[2] > differences[3]
    assert differences.mean() == pytest.approx(0, abs=1e-6)
    assert differences.std() == pytest.approx(1)
    own = ZeroShotPrior.fit(asked(*"abyz"), Letters(), prompts, own_vectors=False, strength=1.0)
    np.testing.assert_allclose(own.evidence(asked(*"abyz")), rows, atol=1e-6)


def test_a_zero_shot_prior_says_what_it_lacks() -> None:
    bank = [Question(vector=np.ones(26, dtype=np.float32))] * 2
    with pytest.raises(InvalidInputError, match="prompts must give a list of questions for each of two"):
        ZeroShotPrior.fit(bank, Letters(), {"text": "who?", "image": ["what?"]})
    with pytest.raises(InvalidInputError, match="at least 2, got 1"):
        ZeroShotPrior.fit(bank[:1], Letters())
    with pytest.raises(InvalidInputError, match="do not differ"):
        ZeroShotPrior.fit(bank, Letters())
    with pytest.raises(InvalidInputError, match="have dimension 3, the encoder's 26"):
        ZeroShotPrior.fit([Question(vector=np.ones(3, dtype=np.float32))] * 2, Letters())
    with pytest.raises(InvalidInputError, match=r"spread must be .* got 0"):
        ZeroShotPrior.fit(bank, Letters(), spread=0)


def test_a_file_brings_the_same_prior_back(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    weights = np.random.default_rng(0).standard_normal((3, 5))
    prior = LinearPrior(
        tuple("abc"), weights, [0.1, 0.2, 1 / 3], strength=0.7, limit=3.0, fingerprint="x", facts={"n": 2}
    )
    prior.slope = 0.5
    prior.save(path)
    again = load_prior(path, fingerprint="x")
    assert isinstance(again, LinearPrior)
    np.testing.assert_array_equal(again.weights, weights)
    kept = ("modalities", "strength", "limit", "slope", "encoder_fingerprint", "facts")
    assert [getattr(again, name) for name in kept] == [getattr(prior, name) for name in kept]
    with pytest.raises(EncoderMismatchError, match="of encoder 'x', not of 'letters'"):
        load_prior(path, encoder=Letters())
    with pytest.raises(FileNotFoundError):
        load_prior(tmp_path / "none.json")


def test_a_prior_with_an_encoder_of_its_own_wants_it_back(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    prompts = {"text": ["a"], "image": ["z"]}
    prior = ZeroShotPrior.fit(asked(*"abyz"), Letters(), prompts, own_vectors=False, strength=1.0)
    prior.save(path)
    with pytest.raises(InvalidInputError, match=r"with encoder 'letters'; give load_prior\(encoder=...\)"):
        load_prior(path)
    again = load_prior(path, encoder=Letters())
    assert isinstance(again, ZeroShotPrior)
    np.testing.assert_array_equal(again.evidence(asked("ab")), prior.evidence(asked("ab")))


def test_a_function_prior_wants_its_function_back(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    FunctionPrior(len, gives="log-odds", strength=0.5).save(path)
    with pytest.raises(InvalidInputError, match=r"give load_prior\(function=...\)"):
        load_prior(path)
    again = load_prior(path, function=len)
    assert again.offsets(asked("ab"))["text"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, 'lacks "format": "commonscale.prior"'),
        ({"schema_version": 3}, "has schema version 3, this commonscale reads versions 1 and 2"),
        ({"schema_version": True}, "has schema version True"),
        ({"method": 1}, "field 'method' is 1"),
        ({"kind": "oracle"}, "kind 'oracle' is not known"),
        ({"surprise": 1}, r"unknown fields \['surprise'\]"),
        ({"weights": [[1.0]]}, "need weights of shape"),
        ({"weights": [["a"], ["b"]]}, "could not convert"),
        ({"strength": True}, "field 'strength' is True"),
        ({"slope": -1.0}, "field 'slope' is -1.0"),
        ({"limit": None}, "field 'limit' is None"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "prior.json"
    LinearPrior(("text", "image"), np.eye(2), np.zeros(2)).save(path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), encoding="utf-8")
    with pytest.raises(FileFormatError, match=rf"prior.json: .*{message}"):
        load_prior(path)


def test_a_file_that_is_cut_short_or_lacks_a_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    LinearPrior(("text", "image"), np.eye(2), np.zeros(2)).save(path)
    whole = json.loads(path.read_text("utf-8"))
    del whole["intercept"]
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(FileFormatError, match="field 'intercept' is missing"):
        load_prior(path)
    path.write_text('{"format": "comm', encoding="utf-8")
    with pytest.raises(FileFormatError, match="no valid JSON"):
        load_prior(path)


@pytest.fixture
def search() -> JointSearch:
    rng = np.random.default_rng(0)
    sources = {m: ArraySource([f"{m}{i}" for i in range(9)], unit_rows(rng, 9, 6), m) for m in ("text", "image")}
    scale = {m: ModalityCalibration(ModalityStatistics(0.5, 0.1, 50)) for m in sources}
    return JointSearch(sources, Calibration(scale))


def test_a_search_adds_the_offsets_to_the_scores(search: JointSearch) -> None:
    questions = [Question(text, v) for text, v in zip("abc", unit_rows(np.random.default_rng(1), 3, 6), strict=True)]
    odds = {"a": 0.0, "b": 8.0, "c": -8.0}
    plain = search.search_batch(questions, 18)
    search.prior = FunctionPrior(odds.__getitem__, gives="log-odds", strength=100.0, limit=8.0)
    for question, before, after in zip(questions, plain, search.search_batch(questions, 18), strict=True):
        half = 50.0 * odds[question.text]
        old = {hit.id: (hit.cosine, hit.score) for hit in before}
        for hit in after:
            cosine, score = old[hit.id]
            assert hit.cosine == cosine
            assert hit.score == pytest.approx(score + (half if hit.modality == "text" else -half))
    assert [hit.modality for hit in search.search(questions[1], 9)] == ["text"] * 9
    assert [hit.modality for hit in search.search(questions[2], 9)] == ["image"] * 9
    assert search.search(questions[0], 18).ids == plain[0].ids
    assert search.search(questions[1], 18, raw=True).ids[:1] != []


async def test_an_asynchronous_search_adds_them_too(search: JointSearch) -> None:
    question = Question("b", unit_rows(np.random.default_rng(1), 1, 6)[0])
    search.prior = FunctionPrior(lambda _: 0.99, strength=100.0)
    assert (await search.asearch(question, 9)).ids == search.search(question, 9).ids
    assert {hit.modality for hit in await search.asearch(question, 9)} == {"text"}


def test_best_scores_are_those_without_a_prior(search: JointSearch) -> None:
    questions = [Question("q", vector) for vector in unit_rows(np.random.default_rng(2), 7, 6)]
    plain = best_scores(search, questions)
    for modality, source in search.sources.items():
        cosines = [found.cosines[0] for found in source.search(questions, 1)]
        np.testing.assert_allclose(plain[modality], (np.array(cosines) - 0.5) / 0.1)
    search.prior = FunctionPrior(lambda _: 0.9, strength=3.0)
    for modality, scores in best_scores(search, questions).items():
        np.testing.assert_allclose(scores, plain[modality])
    search.sources["image"] = ArraySource([], np.empty((0, 6)), "image")
    assert np.isnan(best_scores(search, questions)["image"]).all()
    with pytest.raises(InvalidInputError, match="need unlabeled questions, got none"):
        best_scores(search, [])


def test_best_scores_say_where_search_and_questions_come_from(search: JointSearch) -> None:
    with pytest.raises(InvalidInputError, match=r"got 'who\?'; give retriever.embed_questions\(texts\)"):
        best_scores(search, ["who?"])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match=r"give retriever\.joint_search"):
        best_scores("retriever", asked("who?"))  # type: ignore[arg-type]


def scale(method: str, *, std: float = 0.1, fingerprint: str | None = None, labels: str = "text image") -> Calibration:
    entry = ModalityCalibration(ModalityStatistics(0.5, std, 50), Provenance(fingerprint), Background(0.1, std**2, 50))
    return Calibration(dict.fromkeys(labels.split(), entry), method)


LINEAR = LinearPrior(("text", "image"), np.eye(2, 6), np.zeros(2), strength=1.0, fingerprint="clip")
REFUSED = [
    ("prior.json", InvalidInputError, r"offsets\(questions\).*got 'prior.json'.*load_prior\(path\)"),
    (FunctionPrior, InvalidInputError, "got <class"),
    (Told([[0, 0]], ("text", "picture"), strength=1), InvalidInputError, r"\['text', 'picture'\].*\['image', 'text'\]"),
    (Told([[0, 0]]), NotCalibratedError, r"prior.scaled_to\(retriever.calibration\)"),
    (LINEAR, EncoderMismatchError, "encoder 'clip', not of 'siglip'"),
]


@pytest.mark.parametrize(("prior", "error", "message"), REFUSED)
def test_a_prior_that_does_not_fit_is_refused_when_it_is_assigned(
    search: JointSearch, prior: Any, error: type[Exception], message: str
) -> None:
    search.provenance["text"] = Provenance("siglip")
    search.prior = kept = FunctionPrior(lambda _: 0.5, strength=1.0)
    with pytest.raises(error, match=message):
        search.prior = prior
    assert search.prior is kept
    with pytest.raises(error, match=message):
        JointSearch(search.sources, search.calibration, provenance=search.provenance, prior=prior)


def test_a_prior_fits_where_encoders_are_not_known_or_differ_and_in_some_of_the_modalities(search: JointSearch) -> None:
    search.prior = LINEAR
    assert search.only("text").prior is LINEAR
    search.provenance = {"text": Provenance("clip"), "image": Provenance("siglip")}
    search.prior = None
    search.prior = LINEAR
    own = LinearPrior(("text", "image"), np.eye(2, 26), np.zeros(2), strength=1.0, encoder=Letters())
    search.provenance = {"text": Provenance("clip")}
    search.prior = own
    assert search.prior is own
    alone = JointSearch({"text": search.sources["text"]}, search.calibration, prior=LINEAR)
    assert alone.prior is LINEAR  # the calibration knows both


def test_a_prior_is_scaled_only_to_a_scale_of_its_own_modalities_and_encoder() -> None:
    for given_ in (None, "calibration.json"):
        with pytest.raises(InvalidInputError, match=rf"got {given_!r}; give retriever.calibration"):
            LINEAR.scaled_to(given_)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"\['text', 'image'\] apart, but those in use are \['table', 'text'\]"):
        LINEAR.scaled_to(scale("chance", labels="text table"))
    with pytest.raises(InvalidInputError, match=r"those in use are \['table', 'text'\]"):
        LINEAR.scaled_to({"text": np.arange(3.0), "table": np.zeros(3)})
    with pytest.raises(EncoderMismatchError, match="'clip', not of 'siglip'"):
        LINEAR.scaled_to(scale("chance", fingerprint="siglip"))
    assert LINEAR.scaled_to(scale("chance", fingerprint="clip")).method == "chance"
    assert LINEAR.scaled_to(scale("chance")).scaled(1.0).method is None
    assert LINEAR.scaled_to({"text": np.arange(3.0), "image": np.zeros(3)}).method is None


def test_a_scale_of_another_method_or_width_is_warned_of(search: JointSearch) -> None:
    prior = LINEAR.scaled_to(scale("chance"))
    search.prior = LINEAR
    search.calibration = scale("chance")
    search.prior = prior
    search.calibration = scale("chance", std=0.15)
    search.calibration = None
    with pytest.warns(PriorWarning, match=r"method 'chance' \(strength .*by method 'standardized' \(strength"):
        search.calibration = scale("standardized")
    with pytest.warns(PriorWarning, match=r"assign prior.scaled_to\(calibration\)"):
        search.prior = prior
    search.prior = None
    wider = scale("chance")
    entry = ModalityCalibration(ModalityStatistics(0.5, 0.5, 50), background=Background(0.1, 0.01, 50))
    wider = Calibration(dict.fromkeys(wider.modalities, entry), "chance")
    search.calibration = wider
    with pytest.warns(PriorWarning, match="by method 'chance'"):
        search.prior = prior
    search.prior = prior.scaled_to(wider)


def test_the_method_that_a_prior_was_scaled_to_is_kept_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "prior.json"
    LINEAR.scaled_to(scale("chance")).save(path)
    assert load_prior(path).method == "chance"
    old = json.loads(path.read_text("utf-8")) | {"schema_version": 1}
    del old["method"]
    path.write_text(json.dumps(old), encoding="utf-8")
    again = load_prior(path)
    assert again.method is None
    assert again.strength == old["strength"]


def test_strings_are_refused_with_what_embeds_them_and_taken_where_there_is_an_encoder() -> None:
    prior = Told([[0.0, 0.0]], strength=1.0)
    told = r"got 'who\?'; give retriever.embed_questions\(texts\), or Question\(text, vector\)"
    words: Any = ["who?"]
    for use in (prior.offsets, prior.probabilities, lambda given_: prior.calibrated(given_, ["text"])):
        with pytest.raises(InvalidInputError, match=told):
            use(words)
    with pytest.raises(InvalidInputError, match=told):
        prior.offsets("who?")  # type: ignore[arg-type]
    prompts = {"text": ["aa"], "image": ["zz"]}
    for own in (True, False):
        embedded = [Question(text, row) for text, row in zip("abyz", Letters().encode_questions("abyz"), strict=True)]
        taught = ZeroShotPrior.fit(list("abyz"), Letters(), prompts, own_vectors=own)
        from_questions = ZeroShotPrior.fit(embedded, Letters(), prompts, own_vectors=own)
        np.testing.assert_allclose(taught.weights, from_questions.weights)
        np.testing.assert_allclose(taught.intercept, from_questions.intercept)
    with pytest.raises(InvalidInputError, match="got 'abyz'"):
        ZeroShotPrior.fit("abyz", Letters(), prompts)
