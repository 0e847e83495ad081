"""The methods that are compared, against loops written from their definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import stats

from benchmark_world import unrelated
from commonscale.evaluation import METHODS
from commonscale.evaluation.methods.background import DocumentMoments, surprise
from commonscale.evaluation.methods.hubness import QueryBankNormalization
from commonscale.evaluation.methods.quantile import QuantileScale

MODALITIES = ("text", "image")


def dot(a, b):
    return float(np.dot(a.astype(np.float64), b.astype(np.float64)))


def ranked(scores):
    """Ids and scores by question, from ``scores[question][modality][row]``."""
    return [
        sorted(((s, f"{m}:{row}") for m in MODALITIES for row, s in enumerate(by[m])), key=lambda hit: -hit[0])
        for by in scores
    ]


def check(method, benchmark, scores, depth=70):
    """Compare a method's ids and scores with those of the loops."""
    rankings = METHODS[method].rank(benchmark, depth)
    assert len(rankings) == len(scores)
    for ranking, expected in zip(rankings, ranked(scores), strict=True):
        assert ranking.ids == [name for _, name in expected[:depth]]
        np.testing.assert_allclose([h.score for h in ranking], [s for s, _ in expected[:depth]], rtol=2e-5, atol=2e-5)


def check_cosines(method, benchmark):
    """The raw cosine of every hit is that of its document, whatever it is ranked by."""
    for question, ranking in zip(benchmark.questions, METHODS[method].rank(benchmark, 20), strict=True):
        for hit in ranking:
            vector = benchmark.documents[hit.modality][int(hit.id.split(":")[1])]
            assert hit.cosine == pytest.approx(dot(question, vector), abs=1e-6)


def background_z(benchmark, question):
    """Each document's z among the cosines of all documents of its modality."""
    z = {}
    for modality, vectors in benchmark.documents.items():
        cosines = [dot(question, vector) for vector in vectors]
        mean = sum(cosines) / len(cosines)
        std = math.sqrt(sum((s - mean) ** 2 for s in cosines) / len(cosines))
        z[modality] = [(s - mean) / std for s in cosines]
    return z


@pytest.mark.parametrize("seed", range(3))
def test_background_is_z_over_all_documents_in_closed_form(seed):
    benchmark = unrelated(seed)
    check("background", benchmark, [background_z(benchmark, question) for question in benchmark.questions])


@pytest.mark.parametrize("seed", range(3))
def test_gumbel_ranks_by_the_chance_that_the_best_of_all_scores_as_high(seed):
    benchmark = unrelated(seed)
    scores = []
    for question in benchmark.questions:
        z = background_z(benchmark, question)
        scores.append(
            {m: [-math.log(len(values) * stats.norm.sf(value)) for value in values] for m, values in z.items()}
        )
    check("gumbel", benchmark, scores)


def test_gumbels_score_orders_as_the_probability_that_it_stands_for():
    z = np.linspace(-1, 5, 200)
    scores = np.concatenate([surprise(z, 40), surprise(z, 4000)])
    probability = np.concatenate([-np.expm1(-count * stats.norm.sf(z)) for count in (40, 4000)])
    # 1 - F(z)^N, of which it is the limit, differs in order only where the two chances differ by less than that.
    exact = np.concatenate([-np.expm1(count * stats.norm.logcdf(z)) for count in (40, 4000)])
    order = np.argsort(scores)
    assert (np.diff(probability[order]) <= 0).all()
    np.testing.assert_allclose(probability[scores > 3], exact[scores > 3], rtol=0.02)


def test_gumbel_does_not_saturate_where_the_probability_does():
    z = np.array([-60.0, -5.0, 0.0, 8.0, 38.0, 60.0])
    scores = surprise(z, 10**6)
    assert (np.diff(scores) > 0).all()
    assert np.isfinite(scores).all()
    assert -np.expm1(-(10**6) * stats.norm.sf(z[1])) == -np.expm1(-(10**6) * stats.norm.sf(z[2])) == 1.0
    assert stats.norm.sf(z[4]) == stats.norm.sf(z[5]) == 0.0


def test_the_moments_do_not_depend_on_blocks_and_bound_the_memory(monkeypatch):
    benchmark = unrelated(1)
    vectors = benchmark.documents["text"]
    whole = DocumentMoments.fit(vectors)
    np.testing.assert_allclose(whole.covariance, np.cov(vectors.T.astype(np.float64), ddof=0), atol=1e-12)
    monkeypatch.setattr("commonscale.evaluation.methods.background.BLOCK", 5 * vectors.shape[1])
    parts = DocumentMoments.fit(vectors)
    np.testing.assert_allclose(parts.covariance, whole.covariance, atol=1e-14)


def test_a_modality_of_one_document_has_no_spread_to_divide_by():
    benchmark = unrelated(0, images=1)
    for ranking in METHODS["background"].rank(benchmark, 100):
        (picture,) = ranking.of("image")
        assert picture.score == pytest.approx(0.0, abs=1e-6)


def quantile_of(values, share):
    """The quantile by linear interpolation between the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def quantile_score(value, sample):
    points = [(quantile_of(sample, k / 100), k / 100) for k in range(10, 91)]
    low, high = points[0][0], points[-1][0]
    if value < low:
        b = np.mean([low - x for x in sample if x < low])
        share = 0.1 * math.exp(-(low - value) / b)
    elif value > high:
        b = np.mean([x - high for x in sample if x > high])
        return -(math.log(0.1) - (value - high) / b - math.log1p(-0.1 * math.exp(-(value - high) / b)))
    else:
        for (x0, f0), (x1, f1) in itertools.pairwise(points):
            if x0 <= value <= x1:
                share = f0 + (f1 - f0) * (value - x0) / (x1 - x0)
    return math.log(share / (1 - share))


@pytest.mark.parametrize("seed", range(3))
def test_quantile_matches_the_banks_best_cosines(seed):
    benchmark = unrelated(seed)
    samples = {
        m: [max(dot(q, d) for d in vectors) for q in benchmark.calibration_questions]
        for m, vectors in benchmark.documents.items()
    }
    scores = [
        {m: [quantile_score(dot(q, d), samples[m]) for d in vectors] for m, vectors in benchmark.documents.items()}
        for q in benchmark.questions
    ]
    check("quantile", benchmark, scores)


def test_quantile_is_the_share_of_the_sample_inside_and_never_saturates_outside():
    sample = np.random.default_rng(0).normal(0.3, 0.02, 4000)
    scale = QuantileScale.fit(sample)
    share = 1 / (1 + np.exp(-scale.logit(sample)))
    np.testing.assert_allclose(share, (sample[:, None] >= sample).mean(axis=1), atol=0.02)
    line = np.linspace(-1, 1, 4001)
    scores = scale.logit(line)
    assert (np.diff(scores) > 0).all()
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("sample", [[0.3], [0.3] * 50, [0.1, 0.1, 0.1, 0.5], [0.2, 0.4]])
def test_quantile_keeps_the_order_whatever_the_sample(sample):
    line = np.linspace(-1, 1, 500)
    scores = QuantileScale.fit(np.array(sample)).logit(line)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) >= 0).all()
    assert scores[0] < scores[100] < scores[400] < scores[-1]


def best_mean(values, count=10):
    return float(np.mean(sorted(values, reverse=True)[:count]))


def standardized(scores, bank):
    """Standardize documents' scores by the best scores of the banked questions, apart for each modality."""
    statistics = {m: (np.mean([max(by[m]) for by in bank]), np.std([max(by[m]) for by in bank])) for m in MODALITIES}
    return [{m: [(s - statistics[m][0]) / statistics[m][1] for s in by[m]] for m in MODALITIES} for by in scores]


@pytest.mark.parametrize(("seed", "sizes"), [(0, {}), (1, {}), (2, {"bank": 6, "images": 7})])
def test_csls_then_standardized(seed, sizes):
    benchmark = unrelated(seed, **sizes)
    density = {
        m: [best_mean([dot(c, d) for c in benchmark.calibration_questions]) for d in vectors]
        for m, vectors in benchmark.documents.items()
    }

    def csls(question):
        scores = {}
        for m, vectors in benchmark.documents.items():
            cosines = [dot(question, d) for d in vectors]
            own = best_mean(cosines)
            scores[m] = [2 * s - own - r for s, r in zip(cosines, density[m], strict=True)]
        return scores

    bank = [csls(c) for c in benchmark.calibration_questions]
    check("csls+standardized", benchmark, standardized([csls(q) for q in benchmark.questions], bank))


@pytest.mark.parametrize("seed", range(3))
def test_qbnorm_then_standardized_each_branch_by_its_own_statistics(seed):
    benchmark = unrelated(seed, questions=60)
    questions, bank = benchmark.questions, benchmark.calibration_questions
    scores = [{} for _ in questions]
    switched = {}
    for m, vectors in benchmark.documents.items():
        hubs = {max(range(len(vectors)), key=lambda row: dot(c, vectors[row])) for c in bank}
        total = [sum(math.exp(20 * dot(c, d)) for c in bank) for d in vectors]

        def inverted(q, vectors=vectors, total=total):
            return [math.log(math.exp(20 * dot(q, d)) / t) / 20 for d, t in zip(vectors, total, strict=True)]

        plain = [max(dot(c, d) for d in vectors) for c in bank]
        normalized = [max(inverted(c)) for c in bank]
        for number, q in enumerate(questions):
            cosines = [dot(q, d) for d in vectors]
            switched[m, number] = int(np.argmax(cosines)) in hubs
            values, sample = (inverted(q), normalized) if switched[m, number] else (cosines, plain)
            scores[number][m] = [(value - np.mean(sample)) / np.std(sample) for value in values]
    # The case that the two scales are for: a switch thrown in one modality and not in the other.
    assert any(switched["text", n] != switched["image", n] for n in range(len(questions)))
    check("qbnorm+standardized", benchmark, scores)


def test_the_best_document_of_a_banked_question_is_a_hub_by_definition():
    benchmark = unrelated(4)
    for vectors in benchmark.documents.values():
        bank = benchmark.calibration_questions
        correction = QueryBankNormalization.fit(bank, vectors)
        _, scales = correction.scores((bank @ vectors.T).astype(np.float64))
        assert (scales == 1).all()


@pytest.mark.parametrize("method", ["background", "gumbel", "quantile", "csls+standardized", "qbnorm+standardized"])
def test_hits_carry_their_raw_cosine(method):
    check_cosines(method, unrelated(5, questions=5))


@pytest.mark.parametrize("method", ["csls+standardized", "qbnorm+standardized"])
def test_blocks_do_not_change_anything(method, monkeypatch):
    benchmark = unrelated(6)
    whole = METHODS[method].rank(benchmark, 30)
    for block in (1, 100):
        monkeypatch.setattr("commonscale.evaluation.methods.hubness.BLOCK", block)
        parts = METHODS[method].rank(benchmark, 30)
        assert [r.ids for r in parts] == [r.ids for r in whole]
        np.testing.assert_allclose([h.score for r in parts for h in r], [h.score for r in whole for h in r], atol=1e-5)


def centered(vectors, mean):
    moved = vectors.astype(np.float64) - mean
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


@pytest.mark.parametrize("method", ["centered", "centered+standardized", "chance"])
def test_the_librarys_methods_are_what_they_are_documented_to_be(method):
    benchmark = unrelated(7)
    bank = benchmark.calibration_questions
    question_mean = bank.astype(np.float64).mean(axis=0)
    asked, banked = centered(benchmark.questions, question_mean), centered(bank, question_mean)
    scores = [{} for _ in asked]
    for m, vectors in benchmark.documents.items():
        documents = centered(vectors, vectors.astype(np.float64).mean(axis=0))
        hubs = [best_mean([dot(c, d) for c in banked]) for d in documents]
        weight = 0.5 if method == "chance" else 0.0
        known = np.array([[dot(c, d) - weight * h for d, h in zip(documents, hubs, strict=True)] for c in banked])
        if method == "centered":
            location, scale = 0.0, 1.0
        elif method == "centered+standardized":
            location, scale = known.max(axis=1).mean(), known.max(axis=1).std()
        else:
            spread = known.std(axis=1).mean()
            location = known.mean() + spread * stats.norm.ppf(1 - 1e-5 / len(documents))
            scale = math.sqrt(spread)
        for number, q in enumerate(asked):
            scores[number][m] = [
                (dot(q, d) - weight * h - location) / scale for d, h in zip(documents, hubs, strict=True)
            ]
    check(method, benchmark, scores)
