"""The numbers of a diagnosis against SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

from scipy import stats
from sklearn.decomposition import TruncatedSVD
from sklearn.neighbors import NearestNeighbors

from commonscale.diagnostics.clouds import plane
from commonscale.diagnostics.histogram import Histogram
from commonscale.diagnostics.intervals import mean_interval
from commonscale.diagnostics.shape import measure_shape
from sources import unit_rows

EDGES = np.linspace(-1, 1, 401)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("documents", [11, 300])
def test_skewness_is_scipys(seed, documents):
    rng = np.random.default_rng(seed)
    asked, found = unit_rows(rng, 40, 12), unit_rows(rng, documents, 12)
    shape = measure_shape(asked, found, EDGES)
    scores = (asked @ found.T).astype(np.float64)
    assert shape.skewness == pytest.approx(stats.skew(scores, axis=1, bias=True).mean(), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_hubness_is_that_of_a_neighbor_search_and_scipys_skewness(seed):
    rng = np.random.default_rng(seed)
    asked, found = unit_rows(rng, 200, 10), unit_rows(rng, 150, 10)
    neighbors = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(found)
    occurrences = np.bincount(neighbors.kneighbors(asked, return_distance=False).ravel(), minlength=150)
    shape = measure_shape(asked, found, EDGES)
    np.testing.assert_array_equal(shape.occurrences, occurrences)
    assert shape.hubness == pytest.approx(stats.skew(occurrences))


def test_the_plane_is_scikit_learns_uncentred_decomposition():
    rng = np.random.default_rng(0)
    clouds = {name: unit_rows(rng, count, 9) + shift for name, count, shift in (("text", 60, 0.5), ("image", 40, -0.2))}
    stacked = np.concatenate([rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in clouds.values()])
    theirs = TruncatedSVD(n_components=2, algorithm="arpack").fit_transform(stacked.astype(np.float64))
    ours = np.concatenate(list(plane(clouds).values()))
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours, theirs * signs, atol=1e-6)


def test_intervals_are_those_of_scipys_bootstrap():
    differences = np.random.default_rng(2).normal(0.1, 0.4, size=300)
    ours = mean_interval(differences)
    theirs = stats.bootstrap((differences,), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.004)
    assert ours.high == pytest.approx(theirs.high, abs=0.004)


def test_histograms_are_numpys():
    values = np.random.default_rng(0).normal(size=(50, 40))
    counts, edges = np.histogram(values, bins=25)
    found = Histogram.of(values, 25)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(found.edges, edges)
    np.testing.assert_allclose(found.density, np.histogram(values, bins=25, density=True)[0])
