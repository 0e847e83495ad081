"""Shards that were written from elsewhere, and exact search over shards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")

from commonscale import Question
from commonscale.core.errors import InvalidInputError
from commonscale.core.questions import QuestionBank
from commonscale.core.search import JointSearch
from commonscale.embedding import ShardBatch, Shards, ShardSource, open_shards, write_shards
from commonscale.index.memory import MemoryIndex

DIMENSION = 6


def batch(name: str, modality: str, vectors: Any) -> ShardBatch:
    count = len(vectors)
    ids = [f"{name}-{n}" for n in range(count)]
    texts = [f"words of {key}" if modality == "text" else "" for key in ids]
    return ShardBatch(ids, [modality] * count, vectors, texts, [None] * count, [{"n": n} for n in range(count)])


@pytest.fixture
def vectors() -> dict[str, Any]:
    random = np.random.default_rng(3)
    found = {name: random.normal(size=(40, DIMENSION)).astype(np.float32) for name in ("t1", "i1", "t2", "i2")}
    found["t2"][5:10] = found["t1"][:5]  # equal cosines in different parts
    return found


@pytest.fixture
def shards(tmp_path: Path, vectors: dict[str, Any]) -> Shards:
    batches = [batch(name, "text" if name[0] == "t" else "image", rows) for name, rows in vectors.items()]
    return write_shards(tmp_path / "shards", batches, encoder_fingerprint="elsewhere-1", encoder_name="some/model")


def questions(count: int = 50) -> list[Question]:
    rows = np.random.default_rng(4).normal(size=(count, DIMENSION)).astype(np.float32)
    return [Question(str(n), row / np.linalg.norm(row)) for n, row in enumerate(rows)]


def test_vectors_from_elsewhere_become_shards(shards: Shards, vectors: dict[str, Any]) -> None:
    assert (shards.fingerprint, shards.encoder_name, shards.dimension) == ("elsewhere-1", "some/model", DIMENSION)
    assert (shards.counts, len(shards), shards.failures) == ({"text": 80, "image": 80}, 160, ())
    first = next(shards.batches(size=7))
    assert first.ids == [f"t1-{n}" for n in range(7)]
    assert (first.texts[1], first.paths[1], first.metadata[1]) == ("words of t1-1", None, {"n": 1})
    unit = vectors["t1"] / np.linalg.norm(vectors["t1"], axis=1, keepdims=True)
    assert np.abs(first.vectors - unit[:7]).max() < 1e-7
    first.vectors[0] = 0  # the caller's own


@pytest.mark.parametrize("k", [1, 7, 200])
def test_exact_search_agrees_with_an_index(shards: Shards, k: int) -> None:
    index = MemoryIndex(DIMENSION)
    from commonscale.index import Document

    pytest.importorskip("faiss")
    for part in shards.batches():
        index.add([Document(key, m) for key, m in zip(part.ids, part.modalities, strict=True)], part.vectors)
    for modality, source in ShardSource.all_of(shards).items():
        for mine, theirs in zip(source.search(questions(), k), index.search(questions(), modality, k), strict=True):
            assert list(mine.ids) == list(theirs.ids)
            assert np.abs(mine.cosines - theirs.cosines).max() < 1e-6
            assert [payload.id for payload in mine.payloads or ()] == list(mine.ids)


def test_calibration_and_ranking_without_an_index(shards: Shards) -> None:
    sources = ShardSource.all_of(shards)
    bank = QuestionBank.fit(questions(), sources)
    assert set(bank.statistics()) == {"text", "image"}
    search = JointSearch(sources, provenance=ShardSource.provenance(shards))
    calibration = search.calibrate(questions(), method="standardized")
    assert calibration.modalities["text"].provenance.encoder_fingerprint == "elsewhere-1"
    assert len(search.search(questions(1)[0], 10)) == 10
    assert search.verify(questions(1)).ok


def test_search_checks_its_arguments(shards: Shards) -> None:
    source = ShardSource(shards, "text")
    assert source.search([], 3) == []
    with pytest.raises(InvalidInputError, match="k must be"):
        source.search(questions(1), 0)
    with pytest.raises(InvalidInputError, match="shape"):
        source.search([Question("x", np.ones(3, np.float32))], 1)
    assert [len(found.ids) for found in ShardSource(shards, "sound").search(questions(2), 3)] == [0, 0]


def test_what_cannot_be_written_is_refused(tmp_path: Path, shards: Shards) -> None:
    rows = np.ones((2, DIMENSION), np.float32)
    with pytest.raises(InvalidInputError, match="holds shards already"):
        write_shards(shards.folder, [batch("a", "text", rows)], encoder_fingerprint="x")
    with pytest.raises(InvalidInputError, match="'a-0' comes twice"):
        write_shards(tmp_path / "1", [batch("a", "text", rows), batch("a", "text", rows)], encoder_fingerprint="x")
    with pytest.raises(InvalidInputError, match="length 3, the first has 6"):
        write_shards(
            tmp_path / "2", [batch("a", "text", rows), batch("b", "text", rows[:, :3])], encoder_fingerprint="x"
        )
    with pytest.raises(InvalidInputError, match="no direction"):
        write_shards(tmp_path / "3", [batch("a", "text", 0 * rows)], encoder_fingerprint="x")
    with pytest.raises(InvalidInputError, match="no batches"):
        write_shards(tmp_path / "4", [], encoder_fingerprint="x")
    with pytest.raises(InvalidInputError, match="no shards here"):
        open_shards(tmp_path / "3")
    with pytest.raises(InvalidInputError, match="one length"):
        ShardBatch(["a"], [], rows, [], [], [])


def test_importing_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "pyarrow", "ray", "faiss", "PIL", "typer"]
    code = f"import sys, commonscale.embedding; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
