"""The numbers of a diagnosis against loops and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonscale import Hit, Ranking
from commonscale.core.errors import InvalidInputError
from commonscale.diagnostics.clouds import gaps, plane, spread
from commonscale.diagnostics.draws import generator
from commonscale.diagnostics.histogram import Histogram
from commonscale.diagnostics.intervals import mean_interval, mean_intervals
from commonscale.diagnostics.learning import LIMIT, Drawn, build_curve, draw_standardized, merged_counts
from commonscale.diagnostics.shape import measure_shape, skewness
from commonscale.diagnostics.shares import changed_hits, count_hits, measure_shares
from sources import unit_rows

EDGES = np.linspace(-1, 1, 201)


def rows(count: int, dimension: int = 6, seed: int = 0):
    return unit_rows(np.random.default_rng(seed), count, dimension)


def ranking(*hits: tuple[str, str]) -> Ranking:
    return Ranking(tuple(Hit(name, modality, 0.5, 0.5) for name, modality in hits))


def test_gaps_are_distances_of_means_of_unit_vectors():
    texts, images, questions = (rows(20, seed=seed) for seed in range(3))
    found = {
        (gap.one, gap.other): gap.distance for gap in gaps({"questions": questions, "text": 3 * texts, "image": images})
    }
    assert list(found) == [("questions", "text"), ("questions", "image"), ("text", "image")]
    for pair, (one, other) in zip(found, [(questions, texts), (questions, images), (texts, images)], strict=True):
        assert found[pair] == pytest.approx(np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)), abs=1e-6)


def test_gaps_leave_out_what_shares_no_space_and_what_is_empty():
    clouds = {"text": rows(3), "image": rows(3, dimension=4), "audio": rows(2, seed=5), "video": np.empty((0, 6), "f4")}
    assert [(gap.one, gap.other) for gap in gaps(clouds)] == [("text", "audio")]


def test_spread_is_what_the_mean_leaves_of_a_unit_vector():
    found = rows(50)
    assert spread(found) == pytest.approx(np.sqrt(1 - np.linalg.norm(found.mean(axis=0)) ** 2), abs=1e-6)
    assert spread(found[:1]) == 0


def test_the_plane_is_not_centred():
    clouds = {"text": rows(8), "image": rows(5, seed=1)}
    found = plane(clouds)
    stacked = np.concatenate(list(clouds.values())).astype(float)
    # Inner products within the plane are those of the best approximation of rank two: no mean was taken away.
    values, vectors = np.linalg.eigh(stacked @ stacked.T)
    best = vectors[:, -2:] * values[-2:] @ vectors[:, -2:].T
    together = np.concatenate([found["text"], found["image"]])
    np.testing.assert_allclose(together @ together.T, best, atol=1e-5)
    assert (found["text"].mean(axis=0) >= 0).all()


def test_the_plane_draws_no_more_points_than_wanted():
    found = plane({"text": rows(50), "image": np.empty((0, 6), np.float32)}, points=7)
    assert found["text"].shape == (7, 2)
    assert found["image"].shape == (0, 2)
    np.testing.assert_array_equal(found["text"], plane({"text": rows(50)}, points=7)["text"])
    assert plane({"text": rows(1, dimension=1)})["text"].tolist() == [[1.0, 0.0]]


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_the_shape_of_scores_is_that_of_loops(seed, questions, documents):
    asked, found = rows(questions, seed=seed), rows(documents, seed=seed + 1)
    shape = measure_shape(asked, found, EDGES)
    scores = (asked @ found.T).astype(float)
    assert shape.mean == pytest.approx(scores.mean(), abs=1e-6)
    assert shape.std == pytest.approx(np.mean([line.std() for line in scores]), abs=1e-6)
    np.testing.assert_allclose(shape.best, scores.max(axis=1))
    assert shape.histogram.total == scores.size
    expected = np.zeros(documents, dtype=int)
    for line in scores:
        for place in sorted(range(documents), key=lambda at: -line[at])[:10]:
            expected[place] += 1
    np.testing.assert_array_equal(shape.occurrences, expected)
    assert shape.never == np.mean(expected == 0)


def test_scores_that_do_not_vary_have_no_shape():
    one = measure_shape(rows(4), rows(1), EDGES)
    assert one.skewness is None
    assert one.hubness is None
    same = measure_shape(rows(4), np.repeat(rows(1), 30, axis=0), EDGES)
    assert same.skewness is None


def test_what_is_subtracted_moves_every_document_by_its_own_number():
    asked, found, hubs = rows(5), rows(7, seed=1), np.linspace(0, 0.3, 7)
    shape = measure_shape(asked, found, EDGES, hubs)
    np.testing.assert_allclose(shape.best, (asked @ found.T - hubs).max(axis=1), atol=1e-6)


def test_blocks_do_not_change_the_shape(monkeypatch):
    whole = measure_shape(rows(23), rows(11, seed=1), EDGES)
    monkeypatch.setattr("commonscale.diagnostics.shape.CELLS", 30)
    parts = measure_shape(rows(23), rows(11, seed=1), EDGES)
    np.testing.assert_array_equal(whole.histogram.counts, parts.histogram.counts)
    np.testing.assert_array_equal(whole.occurrences, parts.occurrences)
    assert (whole.mean, whole.skewness) == (pytest.approx(parts.mean), pytest.approx(parts.skewness))


def test_a_mapped_shape_keeps_order_and_skewness():
    shape = measure_shape(rows(6), rows(9, seed=1), EDGES)
    mapped = shape.mapped(0.2, 0.5)
    assert mapped.mean == pytest.approx((shape.mean - 0.2) / 0.5)
    assert mapped.std == pytest.approx(shape.std / 0.5)
    assert (mapped.skewness, mapped.hubness) == (shape.skewness, shape.hubness)
    np.testing.assert_allclose(mapped.histogram.edges, (EDGES - 0.2) / 0.5)


def test_skewness_of_a_known_distribution():
    # A share p of ones has the skewness (1 - 2 p) / sqrt(p (1 - p)).
    values = np.r_[np.ones(20), np.zeros(80)][None]
    assert skewness(values)[0] == pytest.approx(0.6 / 0.4)
    assert np.isnan(skewness(np.ones((1, 5)))[0])


def test_histograms_count_what_numpy_counts():
    values = np.random.default_rng(0).normal(size=1000) / 4
    gathered = Histogram.gather(np.split(values, 10), np.linspace(-2, 2, 81))
    assert gathered.total == 1000
    # A value on a border may fall to either side of it by rounding, so the sums up to each border are compared.
    expected = np.histogram(values, np.linspace(-2, 2, 81))[0]
    assert np.abs(np.cumsum(gathered.counts) - np.cumsum(expected)).max() <= 1
    assert (gathered.density * np.diff(gathered.edges)).sum() == pytest.approx(1)


def test_histograms_are_trimmed_for_a_picture():
    histogram = Histogram.gather([np.array([0.101, 0.102, 0.3])], np.linspace(-1, 1, 2001))
    trimmed = histogram.trimmed(20)
    assert trimmed.total == 3
    assert len(trimmed.counts) <= 20
    assert trimmed.edges[0] == pytest.approx(0.101, abs=1e-3)
    assert trimmed.edges[-1] >= 0.3
    empty = Histogram.gather([], np.linspace(0, 1, 5))
    assert empty.trimmed() is empty
    assert empty.density.tolist() == [0, 0, 0, 0]


def test_histograms_of_equal_values_and_of_none():
    assert Histogram.of([0.5] * 4, 10).total == 4
    assert Histogram.of([]).total == 0
    with pytest.raises(InvalidInputError, match="1 of 2 values are not finite"):
        Histogram.of([1.0, np.nan])
    with pytest.raises(InvalidInputError, match="ascending edges"):
        Histogram(np.array([1.0, 0.0]), np.array([1]))


def test_shares_of_the_first_hits():
    rankings = [
        ranking(("a", "text"), ("b", "image"), ("c", "image")),
        ranking(("d", "text"), ("e", "text"), ("f", "image")),
    ]
    shares = measure_shares(rankings, ["text", "image", "audio"], 2)
    assert shares.hits == {"text": 0.75, "image": 0.25, "audio": 0.0}
    assert shares.any == {"text": 1.0, "image": 0.5, "audio": 0.0}
    assert shares.first == {"text": 1.0, "image": 0.0, "audio": 0.0}
    assert count_hits(rankings, ["text", "image"], 3).tolist() == [[1, 2], [2, 1]]


def test_changed_hits_are_told_by_modality_and_id():
    one, other = ranking(("a", "text"), ("b", "text")), ranking(("a", "image"), ("b", "text"))
    assert changed_hits([one], [one], 2) == 0
    assert changed_hits([one], [other], 2) == 0.5
    assert changed_hits([ranking(("b", "text"), ("a", "text"))], [one], 2) == 0


def test_intervals_hold_the_mean_and_few_questions_decide_nothing():
    values = np.random.default_rng(0).normal(0.3, 1, size=400)
    found = mean_interval(values)
    assert found.low < values.mean() < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.1)
    assert found.sure
    few = mean_interval(np.ones(19))
    assert few.few
    assert not few.sure
    assert [one.value for one in mean_intervals(np.stack([values, 2 * values], axis=1))] == [
        pytest.approx(values.mean()),
        pytest.approx(2 * values.mean()),
    ]


@given(st.integers(0, 1000), st.integers(1, 12), st.lists(st.integers(0, 6), min_size=2, max_size=3))
@settings(max_examples=60, deadline=None)
def test_merged_counts_are_those_of_a_merged_list(seed, k, depths):
    random = np.random.default_rng(seed)
    hits = np.full((1, len(depths), 6), -np.inf)
    for at, depth in enumerate(depths):
        hits[0, at, :depth] = -np.sort(-random.random(depth))
    locations, scales = random.random(len(depths)), 0.1 + random.random(len(depths))
    scores = [((hits[0, m, at] - locations[m]) / scales[m], m) for m, depth in enumerate(depths) for at in range(depth)]
    first = [modality for _, modality in sorted(scores, key=lambda pair: -pair[0])[:k]]
    assert merged_counts(hits, locations, scales, k)[0].tolist() == [first.count(m) for m in range(len(depths))]


def test_standard_errors_of_the_curve_are_those_of_theory():
    best = np.random.default_rng(0).normal([0.8, 0.3], [0.08, 0.02], size=(2000, 2))
    near = np.random.default_rng(1).normal([[0.7], [0.28]], [[0.08], [0.02]], size=(20, 2, 10))
    hits = -np.sort(-near, axis=2)
    curve = build_curve(["text", "image"], [100, 400], draw_standardized(best, hits, 10, seed=3))
    for modality, std in (("text", 0.08), ("image", 0.02)):
        for wobble, size in zip(curve.wobble[modality], curve.sizes, strict=True):
            assert wobble.location == pytest.approx(std / np.sqrt(size), rel=0.2)
            assert wobble.scale == pytest.approx(std / np.sqrt(2 * size), rel=0.2)
            assert wobble.score == pytest.approx(1 / np.sqrt(size), rel=0.2)
    assert curve.between[0] == pytest.approx(np.sqrt(2) / 10, rel=0.2)
    assert curve.moved == curve.changed
    assert curve.moved[1] < curve.moved[0]


def drawn_with(moved):
    return lambda size: Drawn(np.zeros((4, 1)), np.ones((4, 1)), np.zeros((4, 1)), moved[size], moved[size])


@pytest.mark.parametrize(
    ("moved", "levels_off", "enough"),
    [
        ({10: 0.2, 20: LIMIT, 30: 0.01}, False, 20),
        ({10: 0.04, 20: 0.06, 30: 0.01}, False, 30),
        ({10: 0.2, 20: 0.1}, False, None),
        ({50: 0.11, 100: 0.10, 200: 0.10}, True, 50),
        ({50: 0.30, 100: 0.20, 200: 0.10}, True, None),
        ({10: 0.11, 20: 0.10, 50: 0.10}, True, None),
    ],
)
def test_enough_is_where_little_moves_or_more_questions_change_nothing(moved, levels_off, enough):
    curve = build_curve(["text"], moved, drawn_with(moved), levels_off=levels_off)
    assert curve.enough == enough
    assert curve.level == (enough is not None and moved[enough] > LIMIT)
    assert curve.between == (0.0,) * len(moved)


def test_draws_depend_on_seed_and_purpose_and_are_nobody_elses():
    first = generator(0, "halves").permutation(50).tolist()
    assert generator(0, "halves").permutation(50).tolist() == first
    others = [generator(0, "documents"), generator(1, "halves"), generator(0, "halves", 3), np.random.default_rng(0)]
    assert all(other.permutation(50).tolist() != first for other in others)
