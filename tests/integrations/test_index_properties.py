"""Random adds, deletes, saves and reloads, against brute force over a dictionary."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("faiss")

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from commonscale import Question
from commonscale.index import Document, FaissIndex

DIMENSION = 3
MODALITIES = ("text", "image")
# Few different vectors, so that equal ones are common; no two of them tie with any third.
POOL = np.random.default_rng(11).standard_normal((6, DIMENSION))
VECTOR = st.sampled_from(POOL.tolist())
IDS = st.sampled_from([f"d{i}" for i in range(12)] + ["é", "写", "a b"])


class IndexMachine(RuleBasedStateMachine):
    """The model is a dictionary from id to (modality, vector), in the order in which ties are broken."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.index = FaissIndex.create(self.folder.name, DIMENSION)
        self.index.save()
        self.model: dict[str, tuple[str, np.ndarray]] = {}
        self.on_disk: dict[str, tuple[str, np.ndarray]] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(entries=st.dictionaries(IDS, st.tuples(st.sampled_from(MODALITIES), VECTOR), max_size=8))
    def add(self, entries: dict[str, tuple[str, list[float]]]) -> None:
        documents = [Document(key, modality) for key, (modality, _) in entries.items()]
        self.index.add(documents, np.array([vector for _, vector in entries.values()]).reshape(-1, DIMENSION))
        for key, (modality, vector) in entries.items():
            if key in self.model and self.model[key][0] != modality:
                del self.model[key]
            self.model[key] = (modality, np.array(vector) / np.linalg.norm(vector))

    @rule(ids=st.lists(IDS, max_size=6))
    def delete(self, ids: list[str]) -> None:
        expected = len(set(ids) & set(self.model))
        assert self.index.delete(ids) == expected
        for key in ids:
            self.model.pop(key, None)

    @rule()
    def save(self) -> None:
        self.index.save()
        self.on_disk = dict(self.model)

    @rule()
    def reload(self) -> None:
        self.index = FaissIndex.open(self.folder.name)
        self.model = dict(self.on_disk)

    @rule(vectors=st.lists(VECTOR, min_size=1, max_size=25), k=st.integers(1, 20), modality=st.sampled_from(MODALITIES))
    def search(self, vectors: list[list[float]], k: int, modality: str) -> None:
        questions = [Question(vector=np.array(vector, dtype=np.float32)) for vector in vectors]
        rows = [(key, row) for key, (label, row) in self.model.items() if label == modality]
        for vector, found in zip(vectors, self.index.search(questions, modality, k), strict=True):
            unit = np.array(vector) / np.linalg.norm(vector)
            cosines = np.array([float(row @ unit) for _, row in rows])
            expected = np.argsort(-cosines, kind="stable")[:k]
            assert list(found.ids) == [rows[at][0] for at in expected]
            np.testing.assert_allclose(found.cosines, cosines[expected], atol=2e-7)

    @invariant()
    def same_documents(self) -> None:
        assert len(self.index) == len(self.model)
        for modality in MODALITIES:
            expected = [key for key, (label, _) in self.model.items() if label == modality]
            assert [document.id for document in self.index.documents(modality)] == expected

    @invariant()
    def no_orphans(self) -> None:
        vectors = [path for path in Path(self.folder.name).iterdir() if path.suffix == ".faiss"]
        assert len(vectors) == len({label for label, _ in self.on_disk.values()})


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
