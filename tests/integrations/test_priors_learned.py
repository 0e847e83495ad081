"""Priors learnt by scikit-learn: from labels, and from the modality that wins."""

from __future__ import annotations

import gzip
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from commonscale import JointSearch, Question
from commonscale.core.errors import FewQuestionsWarning, InvalidInputError, MissingExtraError
from commonscale.evaluation.benchmark import Benchmark
from commonscale.priors import LabeledPrior, SelfTaughtPrior, best_scores, load_prior
from commonscale.priors.fitting import fit_regression, groups_of
from sources import unit_rows

learnt = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def world(
    seed: int, count: int, signal: float, modalities: int = 2, dimension: int = 12
) -> tuple[list[Question], np.ndarray]:
    """Questions whose vectors lean towards their modality by ``signal``, and the modality of each."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, modalities, count)
    rows = rng.standard_normal((count, dimension)) + 2.0
    rows += signal * np.eye(dimension)[codes]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [Question(vector=row) for row in rows.astype(np.float32)], codes


def names(codes: np.ndarray) -> list[str]:
    return [("text", "image", "table")[code] for code in codes]


def test_labels_teach_what_a_question_wants_and_how_sure_to_be() -> None:
    questions, codes = world(0, 1200, 2.0)
    prior = LabeledPrior.fit(questions[:400], names(codes[:400]), modalities=("text", "image"))
    shares = prior.probabilities(questions[400:])[:, 1]
    truth = codes[400:]
    assert roc_auc_score(truth, shares) > 0.9
    own = LogisticRegression(C=1e3, max_iter=1000).fit([q.vector for q in questions[:400]], codes[:400])
    reference = own.predict_proba([q.vector for q in questions[400:]])[:, 1]
    assert log_loss(truth, shares) < 1.05 * log_loss(truth, reference)
    assert prior.facts["labels"] == 400
    assert prior.facts["gain"] > 10 * prior.facts["gain_error"] > 0


def test_the_base_rate_of_the_labels_does_not_matter() -> None:
    questions, codes = world(1, 2000, 2.0)
    rare = np.flatnonzero((codes == 0) | (np.random.default_rng(0).random(2000) < 0.15))[:800]
    prior = LabeledPrior.fit([questions[k] for k in rare], names(codes[rare]), modalities=("text", "image"))
    even = LabeledPrior.fit(questions[:800], names(codes[:800]), modalities=("text", "image"))
    here, there = (p.evidence(questions[1500:])[:, 0] - p.evidence(questions[1500:])[:, 1] for p in (prior, even))
    assert np.mean(codes[rare]) < 0.25
    assert abs(np.mean(here) - np.mean(there)) < 0.5
    assert np.corrcoef(here, there)[0, 1] > 0.9


def test_three_modalities_are_told_apart() -> None:
    questions, codes = world(2, 900, 3.0, modalities=3)
    prior = LabeledPrior.fit(questions[:600], names(codes[:600]), strength=1.0)
    assert set(prior.modalities) == {"text", "image", "table"}
    order = [("text", "image", "table").index(label) for label in prior.modalities]
    right = np.array(order)[prior.evidence(questions[600:]).argmax(axis=1)] == codes[600:]
    assert right.mean() > 0.75
    np.testing.assert_allclose(sum(prior.offsets(questions[600:]).values()), 0, atol=1e-9)


def test_a_modality_without_labels_gets_the_average() -> None:
    questions, codes = world(3, 200, 3.0)
    prior = LabeledPrior.fit(questions, names(codes), modalities=("text", "image", "table"))
    rows = prior.evidence(questions)
    np.testing.assert_allclose(rows[:, 2], (rows[:, 0] + rows[:, 1]) / 2, atol=1e-9)


def test_few_labels_serve_with_a_warning() -> None:
    questions, codes = world(4, 300, 4.0)
    codes[:4] = [0, 1, 0, 1]
    with pytest.warns(FewQuestionsWarning, match="a prior from 4 labeled questions is a guess; label at least 20"):
        prior = LabeledPrior.fit(questions[:4], names(codes[:4]))
    assert "gain" not in prior.facts
    assert np.isfinite(prior.evidence(questions)).all()


def test_labels_that_do_not_fit_are_refused() -> None:
    questions, _ = world(5, 30, 1.0)
    with pytest.raises(InvalidInputError, match=r"at least two modalities, got \['text'\] for 30 questions"):
        LabeledPrior.fit(questions, ["text"] * 30, modalities=("text", "image"))
    with pytest.raises(InvalidInputError, match="30 questions come with 2 labels"):
        LabeledPrior.fit(questions, ["text", "image"])
    with pytest.raises(InvalidInputError, match="labels name 'table'"):
        LabeledPrior.fit(questions, ["table"] * 30, modalities=("text", "image"))


def test_repeated_questions_stay_in_one_fold() -> None:
    # Random labels of thirty questions asked ten times each: learnt by heart they would look predictable.
    questions, _ = world(6, 30, 0.0)
    rows = np.repeat(np.stack([q.vector for q in questions]), 10, axis=0).astype(np.float64)
    codes = np.repeat(np.random.default_rng(0).permutation([0, 1] * 15), 10)
    assert len(np.unique(groups_of(rows))) == 30
    fit = fit_regression(rows, codes, 2)
    assert fit.gain is not None
    assert fit.gain < 2 * fit.gain_error + 1e-12  # type: ignore[operator]


def test_fitting_is_repeatable_and_changes_nothing_given() -> None:
    questions, codes = world(7, 150, 2.0)
    before = [question.vector.copy() for question in questions]  # type: ignore[union-attr]
    one, two = (LabeledPrior.fit(questions, names(codes)) for _ in range(2))
    np.testing.assert_array_equal(one.weights, two.weights)
    for question, vector in zip(questions, before, strict=True):
        np.testing.assert_array_equal(question.vector, vector)


def won(codes: np.ndarray, seed: int, shift: float) -> dict[str, np.ndarray]:
    """Best scores of a scale that knows the modality with a shift of so many standard deviations; noise is 1."""
    rng = np.random.default_rng(seed)
    sides = np.where(codes == 0, shift / 2, -shift / 2)
    noise = rng.standard_normal((2, len(codes))) * np.sqrt(0.5)
    return {"text": sides / 2 + noise[0], "image": -sides / 2 + noise[1]}


@learnt
@given(st.integers(0, 10_000), st.sampled_from([100, 250]), st.sampled_from([6, 24]), st.floats(-1, 1))
def test_without_signal_in_the_wording_the_self_taught_prior_is_flat(
    seed: int, count: int, dimension: int, lead: float
) -> None:
    questions, _ = world(seed, count, 0.0, dimension=dimension)
    best = won(np.random.default_rng(seed + 1).integers(0, 2, count), seed + 2, 1.5)
    best["text"] += lead
    prior = SelfTaughtPrior.fit(questions, best)
    assert prior.flat
    offsets = prior.offsets(questions)
    assert not offsets["text"].any()
    assert not offsets["image"].any()


@learnt
@given(st.integers(0, 10_000))
def test_with_signal_the_self_taught_prior_learns_the_modality_from_noisy_winners(seed: int) -> None:
    questions, codes = world(seed, 600, 4.0)
    best = {modality: scores[:400] for modality, scores in won(codes, seed + 1, 1.5).items()}
    prior = SelfTaughtPrior.fit(questions[:400], best)
    assert not prior.flat
    held = prior.offsets(questions[400:])["image"]
    scale = won(codes, seed + 1, 1.5)
    by_scores = (scale["image"] - scale["text"])[400:]
    assert roc_auc_score(codes[400:], held) > 0.85
    assert roc_auc_score(codes[400:], by_scores + 2 * held) > roc_auc_score(codes[400:], by_scores)


def test_learning_again_from_corrected_winners_makes_it_as_sure_as_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    questions, codes = world(12, 900, 4.0)
    best = {modality: scores[:500] for modality, scores in won(codes, 13, 1.5).items()}
    again = SelfTaughtPrior.fit(questions[:500], best)
    monkeypatch.setattr("commonscale.priors.self_taught.ROUNDS", 0)
    once = SelfTaughtPrior.fit(questions[:500], best)
    assert {name: again.facts[name] for name in ("gain", "gain_error", "gain_share")} == {
        name: once.facts[name] for name in ("gain", "gain_error", "gain_share")
    }
    worst, better = (log_loss(codes[500:], prior.probabilities(questions[500:])[:, 1]) for prior in (once, again))
    assert better < 0.9 * worst


def test_too_few_questions_and_one_sided_winners_give_a_flat_prior() -> None:
    questions, codes = world(8, 99, 4.0)
    with pytest.warns(FewQuestionsWarning, match="99 different questions are too few"):
        assert SelfTaughtPrior.fit(questions, won(codes, 0, 2.0)).flat
    questions, codes = world(8, 120, 4.0)
    best = won(codes, 0, 2.0)
    best["text"] = best["text"] + 100.0
    assert SelfTaughtPrior.fit(questions, best).flat
    with pytest.raises(InvalidInputError, match="2 questions come with 120 best scores"):
        SelfTaughtPrior.fit(questions[:2], best)


def test_questions_that_found_nothing_in_a_modality_teach_nothing() -> None:
    questions, codes = world(9, 300, 4.0)
    best = won(codes, 0, 2.0)
    whole = SelfTaughtPrior.fit(questions, best)
    more = {modality: np.append(scores, [np.nan, 5.0]) for modality, scores in best.items()}
    more["image"][-1] = np.nan
    extra = [Question(vector=row) for row in unit_rows(np.random.default_rng(0), 2, 12)]
    same = SelfTaughtPrior.fit([*questions, *extra], more)
    assert same.facts["questions"] == 300
    np.testing.assert_allclose(same.weights, whole.weights)


@pytest.mark.parametrize("kind", ["labeled", "self-taught"])
def test_a_file_brings_a_learnt_prior_back(tmp_path: Path, kind: str) -> None:
    questions, codes = world(10, 300, 4.0)
    prior = (
        LabeledPrior.fit(questions, names(codes), strength=0.3, fingerprint="clip")
        if kind == "labeled"
        else SelfTaughtPrior.fit(questions, won(codes, 0, 2.0), fingerprint="clip")
    )
    prior.save(tmp_path / "prior.json")
    again = load_prior(tmp_path / "prior.json", fingerprint="clip")
    assert type(again) is type(prior)
    for modality, offsets in prior.offsets(questions).items():
        np.testing.assert_array_equal(again.offsets(questions)[modality], offsets)


def test_without_scikit_learn_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    questions, codes = world(11, 60, 2.0)
    for module in [name for name in sys.modules if name == "sklearn" or name.startswith("sklearn.")]:
        monkeypatch.delitem(sys.modules, module)

    class Absent:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.partition(".")[0] == "sklearn":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"pip install 'commonscale\[priors\]'"):
        LabeledPrior.fit(questions, names(codes))


def test_captions_of_two_kinds_have_the_same_wording_so_the_prior_is_flat(shared: Path) -> None:
    benchmark = Benchmark.load(shared / "data" / "photo-encoder-0.npz")
    search = JointSearch(benchmark.sources)
    search.calibrate(benchmark.bank, method="chance")
    prior = SelfTaughtPrior.fit(benchmark.bank, best_scores(search, benchmark.bank))
    assert prior.flat
    plain = search.search_batch(benchmark.asked[:50], 20)
    search.prior = prior
    assert [ranking.ids for ranking in search.search_batch(benchmark.asked[:50], 20)] == [r.ids for r in plain]


def test_words_of_real_questions_tell_passages_from_pictures(shared: Path) -> None:
    with gzip.open(shared / "data/mmqa/MMQA_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    real = [(e["question"], e["metadata"]["type"]) for e in entries if e["metadata"]["type"] in ("TextQ", "ImageQ")]
    order = np.random.default_rng(0).permutation(len(real))
    rows = _hashed([real[k][0] for k in order])
    labels = ["text" if real[k][1] == "TextQ" else "image" for k in order]
    questions = [Question(vector=row) for row in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prior = LabeledPrior.fit(questions[:500], labels[:500], modalities=("text", "image"))
    shares = prior.probabilities(questions[500:])[:, 0]
    assert roc_auc_score([label == "text" for label in labels[500:]], shares) > 0.95


def _hashed(texts: list[str]) -> np.ndarray:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=512, alternate_sign=False).transform(texts).toarray().astype(np.float32)


class Letters:
    """A fake encoder: counts letters. Equal texts have equal vectors."""

    dimension = 26
    fingerprint = "letters"

    def encode_questions(self, questions: Sequence[str]) -> np.ndarray:
        rows = np.array([[q.count(chr(97 + k)) + 0.01 for k in range(26)] for q in questions])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_texts_will_do_where_there_is_an_encoder() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 2, 200)
    texts = ["".join(rng.choice(list(("abcd", "wxyz")[code]), 6)) for code in codes]
    best = {"text": 2.0 - codes, "image": 1.0 + codes}
    with pytest.raises(InvalidInputError, match=r"give retriever.embed_questions\(texts\)"):
        LabeledPrior.fit(texts, names(codes))
    with pytest.raises(InvalidInputError, match=r"give retriever.embed_questions\(texts\)"):
        SelfTaughtPrior.fit(texts, best)
    with pytest.raises(InvalidInputError, match=r"give best_scores\(retriever.joint_search, questions\)"):
        SelfTaughtPrior.fit(texts, None, encoder=Letters())  # type: ignore[arg-type]
    asked = [Question(text) for text in texts]
    for taught, same in (
        (LabeledPrior.fit(t, names(codes), modalities=("text", "image"), encoder=Letters()) for t in (texts, asked)),
        (SelfTaughtPrior.fit(t, best, encoder=Letters()) for t in (texts, asked)),
    ):
        assert not taught.flat
        np.testing.assert_array_equal(taught.weights, same.weights)
        assert roc_auc_score(codes, taught.probabilities(asked)[:, 1]) > 0.95
