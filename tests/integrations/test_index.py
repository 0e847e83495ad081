"""The embedded index: what goes in comes out, exactly, in memory and from disk."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faiss")

from commonscale import JointSearch, Question
from commonscale.core.errors import EncoderMismatchError, InvalidInputError
from commonscale.core.types import Source
from commonscale.index import Document, FaissIndex, MemoryIndex, shard
from sources import unit_rows

DIMENSION = 8


def documents(*ids: str, modality: str = "text") -> list[Document]:
    return [Document(key, modality, text=f"text of {key}") for key in ids]


def filled(folder: Path, rng: np.random.Generator, texts: int = 20, images: int = 10) -> FaissIndex:
    index = FaissIndex.create(folder, DIMENSION, encoder_fingerprint="encoder-a")
    index.add(documents(*(f"t{i}" for i in range(texts))), unit_rows(rng, texts, DIMENSION))
    index.add(documents(*(f"i{i}" for i in range(images)), modality="image"), unit_rows(rng, images, DIMENSION))
    return index


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_search_gives_true_cosines_and_documents_best_first(tmp_path: Path, rng: np.random.Generator) -> None:
    index = FaissIndex.create(tmp_path, 2)
    index.add(documents("east", "north", "northeast"), [[2.0, 0.0], [0.0, 0.5], [3.0, 3.0]])
    (found,) = index.source("text").search([Question(vector=np.array([10.0, 0.0], dtype=np.float32))], 3)
    assert found.ids == ["east", "northeast", "north"]
    np.testing.assert_allclose(found.cosines, [1.0, np.sqrt(0.5), 0.0], atol=1e-7)
    assert found.cosines.dtype == np.float64
    assert found.payloads == [index.get("east"), index.get("northeast"), index.get("north")]


def test_sources_fit_joint_search(tmp_path: Path, rng: np.random.Generator) -> None:
    index = filled(tmp_path, rng)
    assert all(isinstance(source, Source) for source in index.sources().values())
    search = JointSearch(index.sources(), provenance=index.provenance())
    questions = [Question(vector=row) for row in unit_rows(rng, 40, DIMENSION)]
    calibration = search.calibrate(questions, method="standardized")
    assert calibration.modalities["image"].provenance.encoder_fingerprint == "encoder-a"
    assert calibration.modalities["text"].provenance.dimension == DIMENSION
    assert len(search.search(questions[0], 30)) == 30


def test_one_question_and_a_batch_give_the_same_bits(tmp_path: Path, rng: np.random.Generator) -> None:
    index = MemoryIndex(64)
    index.add(documents(*(f"t{i}" for i in range(3000))), unit_rows(rng, 3000, 64))
    questions = [Question(vector=row) for row in unit_rows(rng, 50, 64)]
    batch = index.search(questions, "text", 20)
    for question, expected in zip(questions, batch, strict=True):
        (single,) = index.search([question], "text", 20)
        assert single.ids == expected.ids
        assert single.cosines.tolist() == expected.cosines.tolist()


@pytest.mark.parametrize("count", [1, 30])
def test_ties_go_to_the_first_added_also_at_the_cut(count: int, rng: np.random.Generator) -> None:
    index = MemoryIndex(DIMENSION)
    twin, far = unit_rows(rng, 2, DIMENSION)
    rows = np.vstack([far, *[twin] * 200])
    index.add(documents("far", *(f"twin{i}" for i in range(200))), rows)
    for found in index.search([Question(vector=twin)] * count, "text", 5):
        assert found.ids == [f"twin{i}" for i in range(5)]
        assert len(set(found.cosines.tolist())) == 1


@pytest.mark.parametrize("count", [1, 30])
def test_whatever_nearly_ties_beyond_what_is_fetched_is_compared_exactly(count: int) -> None:
    """Nearer to each other than FAISS can be trusted, and more of them than a fixed depth would reach."""
    index = MemoryIndex(2)
    angles = np.concatenate([np.full(300, 7e-4), [0.0], np.full(300, 7e-4), [0.0]])
    index.add(documents(*(str(i) for i in range(602))), np.stack([np.cos(angles), np.sin(angles)], axis=1))
    question = Question(vector=np.array([1, 0], dtype=np.float32))
    for found in index.search([question] * count, "text", 3):
        assert found.ids == ["300", "601", "0"]


def test_equal_vectors_need_no_more_memory_for_more_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """All questions tie with all documents: what is held at once is bounded by _CHUNK numbers, not by questions."""
    monkeypatch.setattr(shard, "_CHUNK", 4096)
    index = MemoryIndex(DIMENSION)
    index.add(documents(*(str(i) for i in range(2000))), np.eye(1, DIMENSION).repeat(2000, axis=0))
    questions = [Question(vector=row) for row in unit_rows(np.random.default_rng(5), 400, DIMENSION)]
    index.search(questions[:1], "text", 1)
    tracemalloc.start()
    found = index.search(questions, "text", 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [candidates.ids for candidates in found] == [["0"]] * 400
    assert peak < 400 * 2000 * 4 / 4


def test_the_source_may_be_searched_beside_others() -> None:
    assert MemoryIndex(DIMENSION).source("text").concurrent is True


def test_fewer_documents_than_k_and_none_at_all(tmp_path: Path, rng: np.random.Generator) -> None:
    index = filled(tmp_path, rng, texts=3)
    question = Question(vector=unit_rows(rng, 1, DIMENSION)[0])
    assert len(index.search([question], "text", 50)[0].ids) == 3
    (none,) = index.source("audio").search([question], 5)
    assert (list(none.ids), none.cosines.shape) == ([], (0,))
    assert index.search([], "text", 5) == []
    empty = FaissIndex.create(tmp_path / "empty", DIMENSION)
    assert (len(empty), empty.modalities, empty.sources()) == (0, [], {})
    empty.save()
    assert len(FaissIndex.open(tmp_path / "empty")) == 0


def test_adding_an_id_again_replaces_it_in_place(tmp_path: Path, rng: np.random.Generator) -> None:
    index = filled(tmp_path, rng)
    vector = unit_rows(rng, 1, DIMENSION)
    index.add([Document("t3", "text", text="new")], vector)
    assert len(index) == 30
    assert [d.id for d in index.documents("text")] == [f"t{i}" for i in range(20)]
    assert index.get("t3") == Document("t3", "text", text="new")
    (found,) = index.search([Question(vector=vector[0])], "text", 1)
    assert (found.ids, found.cosines[0]) == (["t3"], pytest.approx(1.0))


def test_adding_an_id_with_another_modality_moves_it(tmp_path: Path, rng: np.random.Generator) -> None:
    index = filled(tmp_path, rng)
    vector = unit_rows(rng, 1, DIMENSION)
    index.add([Document("t3", "image")], vector)
    assert [d.id for d in index.documents("text")] == [f"t{i}" for i in range(20) if i != 3]
    assert index.documents("image")[-1].id == "t3"
    np.testing.assert_array_equal(index.vectors(["t3"]), vector)
    index.save()
    assert FaissIndex.open(tmp_path).documents() == index.documents()


def test_delete_keeps_the_order_of_the_others(tmp_path: Path, rng: np.random.Generator) -> None:
    index = filled(tmp_path, rng)
    before = index.vectors(["t5", "i1"])
    assert index.delete(["t0", "t4", "i0", "unknown", "t0"]) == 3
    assert [d.id for d in index.documents("text")] == [f"t{i}" for i in range(20) if i not in (0, 4)]
    assert index.get("t4") is None
    assert "t4" not in index
    np.testing.assert_array_equal(index.vectors(["t5", "i1"]), before)
    assert index.delete(d.id for d in index.documents("image")) == 9
    assert index.modalities == ["text"]


def test_the_same_id_twice_in_one_add_is_refused_and_changes_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    index = filled(tmp_path, rng)
    with pytest.raises(InvalidInputError, match="'x' comes twice"):
        index.add(documents("new", "x", "x"), unit_rows(rng, 3, DIMENSION))
    assert len(index) == 30
    assert "new" not in index


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[0.0] * 8, [1.0] * 8], r"'a' \(row 0\) is null"),
        ([[1.0] * 8, [np.nan] + [1.0] * 7], r"'b' \(row 1\) is not finite"),
        ([[1.0] * 8, [np.inf] + [1.0] * 7], "not finite"),
        (np.ones((2, 7)), r"shape \(2, 7\); this index holds vectors of dimension 8"),
        (np.ones(8), r"shape \(8,\)"),
        (np.ones((3, 8)), "2 documents come with 3 vectors"),
        ([["x"] * 8] * 2, "array of numbers"),
    ],
    ids=["null", "nan", "infinite", "dimension", "flat", "count", "text"],
)
def test_unusable_vectors_are_refused_whole(tmp_path: Path, vectors: object, message: str) -> None:
    index = FaissIndex.create(tmp_path, DIMENSION)
    with pytest.raises(InvalidInputError, match=message):
        index.add(documents("a", "b"), vectors)
    assert len(index) == 0


def test_vectors_are_normalized_and_the_callers_stay_as_they_are(tmp_path: Path) -> None:
    index = FaissIndex.create(tmp_path, 2)
    given = np.array([[3e200, 4e200], [3e-200, 4e-200], [3.0, 4.0]])
    before = given.copy()
    index.add(documents("huge", "tiny", "plain"), given)
    np.testing.assert_array_equal(given, before)
    np.testing.assert_allclose(index.vectors(["huge", "tiny", "plain"]), [[0.6, 0.8]] * 3, rtol=1e-7)
    stored = index.vectors(["plain"])
    index.add(documents("again"), stored)
    np.testing.assert_array_equal(index.vectors(["again"]), stored)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, list])
def test_vectors_of_every_type_are_normalized_and_stored_again_bit_for_bit(kind: Any, rng: np.random.Generator) -> None:
    rows = 3 * rng.standard_normal((500, 96))
    given = rows.tolist() if kind is list else rows.astype(kind)
    index = MemoryIndex(96)
    ids = [str(row) for row in range(500)]
    index.add(documents(*ids), given)
    stored = index.vectors(ids)
    exact = np.asarray(given, dtype=np.float64)
    np.testing.assert_allclose(stored, exact / np.linalg.norm(exact, axis=1, keepdims=True), rtol=0, atol=1e-7)
    index.add(documents(*ids), stored)
    np.testing.assert_array_equal(index.vectors(ids), stored)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Document("", "text"), "not empty"),
        (Document("a", ""), "not empty"),
        (Document("a", "text", metadata={"x": object()}), "cannot be written as JSON"),
        (Document("a", "text", metadata={"x": float("nan")}), "cannot be written as JSON"),
        (Document("a", "text", metadata=["x"]), "must be a mapping"),  # type: ignore[arg-type]
        (Document(3, "text"), "must be text, got 3"),  # type: ignore[arg-type]
        ("a", "stores Document objects"),
    ],
    ids=["no id", "no modality", "object", "nan", "list", "number id", "no document"],
)
def test_unusable_documents_are_refused(tmp_path: Path, bad: Document, message: str) -> None:
    index = FaissIndex.create(tmp_path, DIMENSION)
    with pytest.raises(InvalidInputError, match=message):
        index.add([*documents("fine"), bad], np.eye(2, DIMENSION))
    assert len(index) == 0


def test_metadata_is_copied_as_it_will_be_read_back(tmp_path: Path) -> None:
    metadata = {"tags": ["a"], "pair": (1, 2)}
    index = FaissIndex.create(tmp_path, DIMENSION)
    index.add([Document("a", "text", metadata=metadata)], np.eye(1, DIMENSION))
    metadata["tags"].append("b")
    stored = index.get("a")
    assert stored is not None
    assert stored.metadata == {"tags": ["a"], "pair": [1, 2]}
    index.save()
    assert FaissIndex.open(tmp_path).get("a") == stored


CHANGES: list[Callable[[Any], object]] = [
    lambda metadata: metadata.update(x=1),
    lambda metadata: metadata.pop("tags"),
    lambda metadata: metadata.__setitem__("x", 1),
    lambda metadata: metadata.__delitem__("tags"),
    lambda metadata: metadata.__ior__({"x": 1}),
    lambda metadata: metadata.setdefault("x", 1),
    lambda metadata: metadata.clear(),
    lambda metadata: metadata["tags"].append("b"),
    lambda metadata: metadata["tags"].sort(),
    lambda metadata: metadata["tags"].__iadd__(["b"]),
    lambda metadata: metadata["deep"][0].update(x=1),
    lambda metadata: metadata["deep"][0].popitem(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_nobody_can_change_a_stored_document(tmp_path: Path, change: Callable[[Any], object]) -> None:
    given = {"tags": ["b", "a"], "deep": [{"y": [1]}]}
    index = FaissIndex.create(tmp_path, DIMENSION)
    index.add([Document("a", "text", metadata=given), Document("bare", "text")], np.eye(2, DIMENSION))
    index.save()
    question = Question(vector=np.eye(1, DIMENSION, dtype=np.float32)[0])
    for kept in (index, FaissIndex.open(tmp_path)):
        (found,) = kept.search([question], "text", 1)
        assert found.payloads is not None
        for document in (kept.get("a"), kept.documents()[0], found.payloads[0]):
            with pytest.raises(InvalidInputError, match="read-only"):
                change(document.metadata)
        assert [document.metadata for document in kept.documents()] == [given, {}]
        with pytest.raises(InvalidInputError, match="read-only"):
            kept.documents()[1].metadata["x"] = 1


def test_stored_documents_can_be_copied_written_and_sent(tmp_path: Path) -> None:
    given = {"tags": ["b", "a"], "deep": [{"y": [1]}]}
    index = MemoryIndex(DIMENSION)
    index.add([Document("a", "text", metadata=given)], np.eye(1, DIMENSION))
    stored = index.get("a")
    assert stored is not None
    assert json.dumps(stored.metadata) == json.dumps(given)
    assert pickle.loads(pickle.dumps(stored)) == stored
    assert asdict(stored)["metadata"] == given
    copied = copy.deepcopy(stored.metadata)
    assert (type(copied), type(copied["tags"]), type(copied["deep"][0])) == (dict, list, dict)
    copied["deep"][0]["y"].append(2)
    copied["tags"].append("c")
    assert stored.metadata == given


def stored_with(metadata: dict[str, Any]) -> Document:
    index = MemoryIndex(DIMENSION)
    index.add([Document("a", "image", path="a.png", metadata=metadata)], np.eye(1, DIMENSION))
    return index.documents()[0]


def test_llama_index_nodes_get_plain_metadata_of_their_own() -> None:
    pytest.importorskip("llama_index.core")
    from commonscale.llama_index.sources import node_from_document

    document = stored_with({"tags": ["a"]})
    node = node_from_document(document)
    node.metadata["tags"].append("b")
    assert type(node.metadata) is dict
    assert document.metadata == {"tags": ["a"]}


def test_langchain_documents_get_plain_metadata_of_their_own() -> None:
    pytest.importorskip("langchain_core")
    from commonscale.langchain.documents import as_document

    document = stored_with({"tags": ["a"]})
    made = as_document(document, "a", "image")
    made.metadata["tags"].append("b")
    assert type(made.metadata) is dict
    assert document.metadata == {"tags": ["a"]}


def test_notes_are_copies(tmp_path: Path) -> None:
    index = FaissIndex.create(tmp_path, DIMENSION)
    index.set_note("model", {"layers": [1]})
    index.notes["model"]["layers"].append(2)
    assert index.notes == {"model": {"layers": [1]}}


def test_unusable_questions_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    source = filled(tmp_path, rng).source("text")
    good = unit_rows(rng, 1, DIMENSION)[0]
    with pytest.raises(InvalidInputError, match=r"question 'why' has a vector of shape \(7,\)"):
        source.search([Question("why", vector=good[:7])], 1)
    with pytest.raises(InvalidInputError, match=r"question vector 0 \(null\)"):
        source.search([Question("why", vector=good * 0)], 1)
    for k in (0, -1, True, 2.5):
        with pytest.raises(InvalidInputError, match="k must be an integer >= 1"):
            source.search([Question(vector=good)], k)  # type: ignore[arg-type]


def test_another_encoder_is_refused_naming_both(tmp_path: Path, rng: np.random.Generator) -> None:
    index = filled(tmp_path, rng)
    with pytest.raises(EncoderMismatchError, match=r"'encoder-a'.*'encoder-b'"):
        index.add(documents("new"), unit_rows(rng, 1, DIMENSION), encoder_fingerprint="encoder-b")
    assert "new" not in index
    index.save()
    reopened = FaissIndex.open(tmp_path)
    with pytest.raises(EncoderMismatchError, match=r"'encoder-a'.*'encoder-b'"):
        reopened.add(documents("new"), unit_rows(rng, 1, DIMENSION), encoder_fingerprint="encoder-b")
    assert reopened.provenance() == index.provenance()


def test_an_empty_index_takes_the_encoder_of_its_first_vectors(tmp_path: Path, rng: np.random.Generator) -> None:
    index = FaissIndex.create(tmp_path, DIMENSION)
    index.add(documents("a"), unit_rows(rng, 1, DIMENSION), encoder_fingerprint="encoder-a")
    index.save()
    assert FaissIndex.open(tmp_path).encoder_fingerprint == "encoder-a"


def test_unknown_ids_have_no_vectors(tmp_path: Path, rng: np.random.Generator) -> None:
    index = filled(tmp_path, rng)
    with pytest.raises(InvalidInputError, match="no document has the id 'nobody'"):
        index.vectors(["t1", "nobody"])
    assert index.vectors([]).shape == (0, DIMENSION)
    with pytest.raises(InvalidInputError, match="list of ids"):
        index.delete("t1")


@pytest.mark.parametrize("dimension", [0, -1, 2.0, True, "8"])
def test_unusable_dimensions_are_refused(tmp_path: Path, dimension: int) -> None:
    with pytest.raises(InvalidInputError, match="dimension must be an integer >= 1"):
        FaissIndex.create(tmp_path, dimension)


def test_searches_while_documents_come_and_go(rng: np.random.Generator) -> None:
    """Every search sees a state between two changes: all of the fixed documents, and a batch whole or not at all."""
    index = MemoryIndex(DIMENSION)
    fixed = [f"fixed{i}" for i in range(50)]
    index.add(documents(*fixed), unit_rows(rng, 50, DIMENSION))
    batches = [documents(*(f"{batch}-{i}" for i in range(20))) for batch in range(30)]
    vectors = unit_rows(rng, 20, DIMENSION)
    question = Question(vector=unit_rows(rng, 1, DIMENSION)[0])
    failures: list[str] = []
    finished = threading.Event()

    def ask() -> None:
        while not finished.is_set():
            (found,) = index.search([question], "text", 10_000)
            ids = set(found.ids)
            if not ids.issuperset(fixed) or (len(ids) - 50) % 20:
                failures.append(f"{len(ids)} hits")
            if [document.id for document in found.payloads or ()] != list(found.ids):
                failures.append("payloads of other documents")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for batch in batches:
            index.add(batch, vectors)
            if batch[0].id.endswith("5-0"):
                index.delete([document.id for document in batch])
    finally:
        finished.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(index) == 50 + 27 * 20
