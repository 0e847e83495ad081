from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.core.correction import DocumentTable
from commonscale.core.living_table import LivingTable

KEYS = [f"d{i}" for i in range(8)]
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.sampled_from(KEYS), max_size=5, unique=True)),
        st.tuples(st.just("drop"), st.lists(st.sampled_from(KEYS), max_size=5, unique=True)),
        st.tuples(st.just("snapshot"), st.just([])),
    ),
    max_size=25,
)


def content(table: DocumentTable) -> dict[str, tuple[float, float, float]]:
    rows = table.rows(list(table.ids))
    assert rows.tolist() == list(range(len(table)))
    numbers = zip(table.along.tolist(), table.norms.tolist(), table.hubs.tolist(), strict=True)
    return dict(zip(table.ids, numbers, strict=True))


@given(CHANGES)
def test_snapshots_keep_what_they_were_taken_of(changes: list[tuple[str, list[str]]]) -> None:
    table, model, clock = LivingTable(), dict[str, tuple[float, float, float]](), 0.0
    taken = []
    for kind, keys in changes:
        if kind == "put":
            values = {key: (clock, clock + 1, clock + 2 + i) for i, key in enumerate(keys)}
            rows = [(*numbers, -1.0) for numbers in values.values()]
            clock += 10
            table.put(keys, np.array(rows).reshape(-1, 4))
            model |= values
        elif kind == "drop":
            gone = [key for key in keys if key in table]
            table.drop(gone)
            for key in gone:
                del model[key]
        else:
            taken.append((table.snapshot(), dict(model)))
    taken.append((table.snapshot(), dict(model)))
    for snapshot, expected in taken:
        assert content(snapshot) == expected
        others = [key for key in KEYS if key not in expected]
        assert (snapshot.rows(others) == -1).all()


def test_it_grows_beyond_its_first_room_under_a_snapshot() -> None:
    table = LivingTable()
    ids = [str(i) for i in range(500)]
    early = None
    for key in ids:
        table.put([key], np.array([[float(key), 1.0, 2.0, 3.0]]))
        early = early or table.snapshot()
    assert early is not None
    assert content(early) == {"0": (0.0, 1.0, 2.0)}
    assert table.snapshot().along.tolist() == [float(key) for key in ids]
    assert table.values(["7", "3"]).tolist() == [[7.0, 1.0, 2.0, 3.0], [3.0, 1.0, 2.0, 3.0]]


def test_ids_of_a_snapshot_are_a_sequence() -> None:
    table = LivingTable()
    table.put(["a", "b", "c"], np.ones((3, 4)))
    ids = table.snapshot().ids
    table.put(["d"], np.ones((1, 4)))
    assert list(ids) == ["a", "b", "c"]
    assert (ids[-1], ids[1:]) == ("c", ["b", "c"])
    with pytest.raises(IndexError):
        ids[3]
