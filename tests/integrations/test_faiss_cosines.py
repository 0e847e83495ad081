"""True cosines from FAISS indexes of every kind that can be met."""

from __future__ import annotations

import numpy as np
import pytest

faiss = pytest.importorskip("faiss")

from commonscale.core.dense import nearest, unit_rows  # noqa: E402
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError  # noqa: E402
from commonscale.core.faiss_cosines import FaissCosines  # noqa: E402
from commonscale.core.faiss_search import looks_at_a_part  # noqa: E402

DIMENSION = 8
COUNT = 200
K = 15


def vectors(norms: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    rows = unit_rows(rng.standard_normal((COUNT, DIMENSION)))
    return rows if norms == "unit" else (rows * rng.uniform(0.2, 5.0, (COUNT, 1))).astype(np.float32)


def questions(count: int = 30) -> np.ndarray:
    return unit_rows(np.random.default_rng(4).standard_normal((count, DIMENSION)))


def flat(metric: int):
    return faiss.IndexFlat(DIMENSION, metric)


def inverted(rows: np.ndarray):
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(DIMENSION), DIMENSION, 4, faiss.METRIC_L2)
    index.train(rows)
    index.nprobe = 4
    return index


def graph():
    index = faiss.IndexHNSWFlat(DIMENSION, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = COUNT
    index.hnsw.efConstruction = COUNT
    return index


MAKERS = {
    "l2": lambda rows: flat(faiss.METRIC_L2),
    "inner-product": lambda rows: flat(faiss.METRIC_INNER_PRODUCT),
    "l1": lambda rows: flat(faiss.METRIC_L1),
    "inverted-lists": inverted,
    "graph": lambda rows: graph(),
    "factory": lambda rows: faiss.index_factory(DIMENSION, "L2norm,Flat"),
}


@pytest.mark.parametrize("subset", [None, "scattered", "block"])
@pytest.mark.parametrize("norms", ["unit", "any-norm"])
@pytest.mark.parametrize("kind", MAKERS)
def test_hits_and_cosines_are_those_of_brute_force(kind, norms, subset):
    stored = vectors(norms)
    index = MAKERS[kind](stored)
    index.add(stored)
    own = {None: np.arange(COUNT), "scattered": np.arange(1, COUNT, 3), "block": np.arange(40, 90)}[subset]
    search = FaissCosines(index, None if subset is None else own)
    rows, cosines = nearest(unit_rows(stored[own]), questions(), K)
    for found, expected_rows, expected in zip(search.top(questions(), K), rows, cosines, strict=True):
        assert found[0].tolist() == own[expected_rows].tolist()
        assert found[1] == pytest.approx(expected, abs=1e-5)
    everything = search.top(questions(1), 10 * COUNT)[0]
    assert sorted(everything[0].tolist()) == own.tolist()


def test_equal_cosines_come_in_the_order_of_rows():
    for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
        index = flat(metric)
        index.add(np.repeat(vectors("unit")[:1], 9, axis=0))
        assert FaissCosines(index).top(questions(1), 9)[0][0].tolist() == list(range(9))


@pytest.mark.parametrize("subset", [False, True])
def test_growth_is_followed_without_another_look(subset):
    index = flat(faiss.METRIC_L2)
    index.add(vectors("unit")[:100])
    search = FaissCosines(index, np.arange(0, 100, 2) if subset else None)
    index.add(vectors("unit")[100:])
    own = np.arange(0, COUNT, 2) if subset else np.arange(COUNT)
    grown = search.grown(own if subset else None)
    assert grown is not None
    rows, _ = nearest(vectors("unit")[own], questions(), K)
    assert [found.tolist() for found, _ in grown.top(questions(), K)] == own[rows].tolist()


def test_growth_by_other_norms_needs_another_look():
    index = flat(faiss.METRIC_L2)
    index.add(vectors("unit"))
    search = FaissCosines(index)
    index.add(vectors("any-norm"))
    assert search.grown(None) is None
    assert FaissCosines(index).grown(None) is None


def test_nearly_unit_vectors_are_not_taken_for_unit():
    """Half precision is off by up to 5e-4, which a distance would pass on to the cosine."""
    index = flat(faiss.METRIC_L2)
    index.add(vectors("unit").astype(np.float16).astype(np.float32))
    rows, cosines = nearest(unit_rows(vectors("unit").astype(np.float16)), questions(), K)
    for (found, values), expected_rows, expected in zip(
        FaissCosines(index).top(questions(), K), rows, cosines, strict=True
    ):
        assert found.tolist() == expected_rows.tolist()
        assert values == pytest.approx(expected, abs=1e-6)


def test_index_without_vectors_needs_a_named_kind():
    index = faiss.IndexIDMap(flat(faiss.METRIC_L2))
    index.add_with_ids(vectors("unit"), np.arange(COUNT))
    with pytest.raises(
        UnknownScoreKindError, match=r"IndexIDMap cannot give its vectors back .*score_kind='squared_l2'"
    ):
        FaissCosines(index)
    search = FaissCosines(index, score_kind="squared_l2")
    rows, cosines = nearest(vectors("unit"), questions(), K)
    found = search.top(questions(), K)
    assert [hit[0].tolist() for hit in found] == rows.tolist()
    assert found[0][1] == pytest.approx(cosines[0], abs=1e-5)
    index.add_with_ids(vectors("unit")[:1], np.array([COUNT]))
    assert len(search.grown(None).top(questions(1), 300)[0][0]) == COUNT + 1


def test_nothing_and_null():
    index = flat(faiss.METRIC_L2)
    rows, cosines = FaissCosines(index).top(questions(1), 3)[0]
    assert (rows.tolist(), cosines.tolist()) == ([], [])
    index.add(np.zeros((1, DIMENSION), np.float32))
    assert FaissCosines(index, np.empty(0, np.int64)).top(questions(1), 3)[0][0].tolist() == []
    with pytest.raises(InvalidInputError, match=r"stored vector 0 \(null\)"):
        FaissCosines(index)


def far_side(count: int) -> np.ndarray:
    """Rows on the side of the space that is away from ``questions``' half below."""
    rows = np.abs(np.random.default_rng(5).standard_normal((count, DIMENSION)))
    return unit_rows(-rows)


@pytest.mark.parametrize("maker", [inverted, lambda rows: graph()])
def test_a_part_of_the_rows_is_never_starved(maker, monkeypatch):
    """One cell, one candidate, and what is asked for is far away: a plain search finds next to nothing."""
    near = unit_rows(np.abs(np.random.default_rng(6).standard_normal((2000, DIMENSION))))
    far = far_side(20)
    rows = np.concatenate([near, far])
    asked = unit_rows(np.abs(np.random.default_rng(7).standard_normal((10, DIMENSION))))
    index = maker(rows)
    index.add(rows)
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = 1
    else:
        index.hnsw.efSearch = 1
    chosen = np.arange(2000, 2020)
    expected = nearest(far, asked, K)[0] + 2000
    for few in (10_000, 0):  # Compared one by one, and searched by the index itself.
        monkeypatch.setattr("commonscale.core.faiss_cosines.FEW_ROWS", few)
        found = FaissCosines(index, chosen).top(asked, K)
        assert [len(best) for best, _ in found] == [K] * 10
        if few:
            assert [best.tolist() for best, _ in found] == expected.tolist()
    assert (index.nprobe if isinstance(index, faiss.IndexIVF) else index.hnsw.efSearch) == 1


def test_an_unrestricted_search_finds_as_many_as_there_are():
    rows = vectors("unit")
    index = inverted(rows)
    index.add(rows)
    index.nprobe = 1
    assert [len(best) for best, _ in FaissCosines(index).top(questions(), COUNT)] == [COUNT] * 30


def test_hits_of_a_lossy_code_are_decoded(monkeypatch):
    rows = vectors("unit")
    index = faiss.IndexScalarQuantizer(DIMENSION, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    decoded = unit_rows(index.reconstruct_n(0, COUNT))
    monkeypatch.setattr("commonscale.core.faiss_cosines.FEW_ROWS", 0)
    search = FaissCosines(index)
    assert search._copy is None
    for question, (best, cosines) in zip(questions(), search.top(questions(), K), strict=True):
        assert cosines == pytest.approx(decoded[best] @ question, abs=1e-6)
        assert (np.diff(cosines) <= 0).all()
        exact = nearest(rows, question[None], K)[0][0]
        assert len(set(exact) & set(best)) >= 0.6 * K


WRAPPED = {
    "IVF16,PQ4x4,RFlat": True,
    "IVF16,PQ4x4fs,Refine(SQ8)": True,
    "PCAR8,HNSW8": True,
    "OPQ4,IVF16,PQ4x4": True,
    "PCAR8,IVF16,PQ4x4,RFlat": True,
    "IDMap,IVF16,Flat": True,
    "IDMap2,HNSW8": True,
    "PCAR8,Flat": False,
}
"""Factory strings, and whether their indexes look at a part of the rows."""


def wrapped(factory: str, rows: np.ndarray):
    index = faiss.index_factory(DIMENSION, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    if factory.startswith("IDMap"):
        index.add_with_ids(rows, np.arange(len(rows)))
    else:
        index.add(rows)
    return index


@pytest.mark.parametrize("factory", WRAPPED)
def test_what_looks_at_a_part_is_recognized_behind_other_layers(factory):
    rows = unit_rows(np.random.default_rng(6).standard_normal((1000, DIMENSION)))
    index = wrapped(factory, rows)
    assert looks_at_a_part(index) == WRAPPED[factory]
    # A kind is named for those that give no vectors of norm 1 back; all find as many as there are.
    search = FaissCosines(index, score_kind=lambda scores: np.clip(scores, -1, 1))
    wanted = 600
    assert [len(set(best.tolist())) for best, _ in search.top(questions(5), wanted)] == [wanted] * 5
    if WRAPPED[factory]:
        assert (index.search(questions(5), wanted)[1] < 0).any()


@pytest.mark.parametrize("factory", [name for name in WRAPPED if not name.startswith("IDMap")])
@pytest.mark.parametrize("few", [10_000, 0])
def test_few_rows_behind_other_layers_are_not_starved(factory, few, monkeypatch):
    monkeypatch.setattr("commonscale.core.faiss_cosines.FEW_ROWS", few)
    rows = unit_rows(np.random.default_rng(6).standard_normal((1000, DIMENSION)))
    chosen = np.arange(3, 1000, 40)
    for best, cosines in FaissCosines(wrapped(factory, rows), chosen).top(questions(5), 100):
        assert sorted(best.tolist()) == chosen.tolist()
        assert (np.abs(cosines) <= 1).all()


def test_a_refined_index_keeps_its_own_factor_and_finds_by_exact_cosines():
    rows = vectors("unit")
    index = wrapped("IVF4,PQ4x4,RFlat", rows)
    index.k_factor = 14.0  # Nearly all rows are compared exactly.
    faiss.downcast_index(index.base_index).nprobe = 4
    expected, _ = nearest(rows, questions(), K)
    assert [best.tolist() for best, _ in FaissCosines(index).top(questions(), K)] == expected.tolist()


@pytest.mark.parametrize("maker", [inverted, lambda rows: graph()])
def test_growth_from_none_of_the_rows_takes_another_look(maker):
    rows = vectors("unit")
    index = maker(rows)
    index.add(rows[:150])
    search = FaissCosines(index, np.empty(0, np.int64))
    index.add(rows[150:])
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = 1
    else:
        index.hnsw.efSearch = 1
    assert search.grown(np.arange(150, COUNT)) is None
    kept = FaissCosines(index, np.arange(150, COUNT))
    expected, _ = nearest(rows[150:], questions(), K)
    assert [best.tolist() for best, _ in kept.top(questions(), K)] == (expected + 150).tolist()


KEEPERS = {**MAKERS, "packed": lambda rows: packed(rows), "cells-packed": lambda rows: packed(rows, "IVF4,PQ4x4fs")}


def packed(rows: np.ndarray, factory: str = "PQ4x4fs"):
    index = faiss.index_factory(DIMENSION, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    return index


@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize("kind", KEEPERS)
def test_vectors_put_in_place_of_others_are_noticed(kind, subset):
    rows = vectors("unit")
    index = KEEPERS[kind](rows)
    assert FaissCosines(index).holds(index)
    index.add(rows[:COUNT])
    search = FaissCosines(index, np.arange(0, COUNT, 2) if subset else None)
    assert search.holds(index)
    assert not search.holds(faiss.IndexFlatL2(DIMENSION))
    index.add(rows[:20])
    assert search.holds(index)  # It has grown, which is not for this to say.
    index.reset()
    index.add(rows[:50])
    assert not search.holds(index)
    index.add(rows[:150][::-1].copy())
    assert not search.holds(index)
    assert search.grown(search.rows) is None
