"""Every store that can be read gives exactly its documents, with the vectors that it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import SourceError, UnreadableVectorsError
from commonscale.core.scanning import scan, vectors_of
from store_suite.corpus import Corpus, even
from store_suite.kind import BEHAVIOURS, Kind
from store_suite.ours import Ours
from store_suite.registry import KINDS

over_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
over_layouts = pytest.mark.parametrize("layout", ["two", "mixed"])

LOSSY = {"sq8": 0.1, "fp16": 1e-3, "halfvec": 1e-3}
"""How far decoded vectors may be from those that were put in, by a part of the kind's name."""


def read(source: Any, modality: str, size: int) -> dict[str, np.ndarray]:
    """Read a source as a whole; no page is larger than asked for, and no id comes twice."""
    found: dict[str, np.ndarray] = {}
    for ids, vectors in source.scan(size):
        assert 0 < len(ids) <= size
        assert vectors.shape[0] == len(ids)
        assert not found.keys() & set(ids)
        found.update(zip(ids, vectors, strict=True))
    checked = [one for ids, _ in scan(source, modality) for one in ids]
    assert sorted(checked) == sorted(found)
    return found


def tolerance(kind: Kind) -> float:
    return next((far for part, far in LOSSY.items() if part in kind.name), 1e-5)


def agrees(found: dict[str, np.ndarray], corpus: Corpus, modality: str, kind: Kind, where: Any = None) -> None:
    """Compare what was read with what was put in, up to norms."""
    expected = [item for item in corpus.of(modality) if where is None or where(item)]
    assert sorted(found) == sorted(item.id for item in expected)
    for item in expected:
        stored, given = found[item.id], np.array(item.vector)
        difference = stored / np.linalg.norm(stored) - given / np.linalg.norm(given)
        assert np.abs(difference).max() <= tolerance(kind)


@over_layouts
@over_kinds
def test_a_scan_gives_the_documents_of_the_modality_with_their_vectors(kind: Kind, layout: str, open_kind: Any) -> None:
    ours: Ours = open_kind(kind, layout, behaviour="scan")
    for modality, source in ours.sources().items():
        found = read(source, modality, 7)
        agrees(found, ours.corpus, modality, kind)
        some = [item.id for item in ours.corpus.of(modality)][3:9]
        asked = [*some, some[0]]
        rows = vectors_of(source, asked, modality)
        for one, row in zip(asked, rows, strict=True):
            np.testing.assert_allclose(row, found[one] / np.linalg.norm(found[one]), atol=1e-6)
        assert len(source.vectors_of([])) == 0
        with pytest.raises((SourceError, ValueError), match="unknown"):
            source.vectors_of([*some, "00000000-0000-4000-8000-000000000000"])


@over_kinds
def test_a_scan_heeds_the_users_filter(kind: Kind, open_kind: Any) -> None:
    if kind.even is None:
        pytest.skip(f"{kind.id}: no filters")
    ours: Ours = open_kind(kind, "mixed", behaviour="filters")
    for modality, source in ours.sources(even=True).items():
        agrees(read(source, modality, 10), ours.corpus, modality, kind, even)


@over_kinds
def test_a_scan_sees_what_is_added_and_not_what_is_deleted(kind: Kind, open_kind: Any) -> None:
    corpus = Corpus(norm=kind.norm)
    late = [item.id for item in corpus.of("image")[:2]]
    ours: Ours = open_kind(kind, "mixed", corpus.without(late), behaviour="scan")
    if kind.nodes is not None:
        added = [corpus[one] for one in late]
        ours.corpus.items = [*ours.corpus.items, *added]
    source = ours.sources()["image"]
    before = read(source, "image", 100)
    assert not set(before) & set(late)
    kind.add(ours.stores["store"], [corpus[one] for one in late])
    agrees(read(source, "image", 100), corpus, "image", kind)
    if kind.delete is not None and "delete" not in kind.skips:
        gone = list(before)[:3]
        kind.delete(ours.stores["store"], gone)
        agrees(read(source, "image", 100), corpus.without(gone), "image", kind)


@over_kinds
def test_an_empty_store_has_nothing_to_scan(kind: Kind, open_kind: Any) -> None:
    full = Corpus(norm=kind.norm)
    ours: Ours = open_kind(kind, "two", full.without([item.id for item in full.of("image")]), behaviour="empty")
    source = ours.sources()["image"]
    assert list(source.scan(5)) == []
    assert len(source.vectors_of([])) == 0


def test_scan_is_a_behavior_that_kinds_may_skip() -> None:
    assert "scan" in BEHAVIOURS


def test_errors_are_those_of_unreadable_vectors() -> None:
    with pytest.raises(UnreadableVectorsError, match="does not give back"):
        next(scan(object(), "text"))
