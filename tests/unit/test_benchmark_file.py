"""Benchmark files: what is accepted, and what is refused with a reason."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from commonscale.core.errors import FileFormatError
from commonscale.evaluation import METHODS, Benchmark
from sources import unit_rows


def arrays(**changes):
    """Two questions, three passages and two pictures; None leaves an array out."""
    rng = np.random.default_rng(7)
    parts = {
        "questions": unit_rows(rng, 2, 4),
        "calibration_questions": unit_rows(rng, 3, 4),
        "texts": unit_rows(rng, 3, 4),
        "images": unit_rows(rng, 2, 4),
        "relevant_question": np.array([0, 0, 1]),
        "relevant_modality": np.array(["text", "text", "image"]),
        "relevant_index": np.array([0, 2, 1]),
    }
    parts.update(changes)
    return {key: value for key, value in parts.items() if value is not None}


LABELS = {
    "calibration_relevant_question": np.array([0, 2]),
    "calibration_relevant_modality": np.array(["text", "image"]),
    "calibration_relevant_index": np.array([2, 0]),
}


def saved(tmp_path, **changes):
    path = tmp_path / "benchmark.npz"
    np.savez(path, **arrays(**changes))
    return path


def test_a_saved_benchmark_comes_back_whole(tmp_path):
    path = saved(tmp_path, **LABELS)
    benchmark = Benchmark.load(path)
    assert benchmark.name == str(path)
    np.testing.assert_allclose(benchmark.questions, arrays()["questions"], atol=1e-7)
    np.testing.assert_allclose(benchmark.documents["image"], arrays()["images"], atol=1e-7)
    assert benchmark.relevant.questions.tolist() == [0, 0, 1]
    assert benchmark.relevant.modalities.tolist() == ["text", "text", "image"]
    assert benchmark.relevant.documents.tolist() == [0, 2, 1]
    assert benchmark.calibration_relevant is not None
    assert benchmark.calibration_relevant.documents.tolist() == [2, 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_of_any_norm_and_precision_are_scaled_to_norm_one(dtype):
    benchmark = Benchmark.from_arrays(arrays(texts=np.array([[3, 4, 0, 0], [0, 0, 0, 0.5], [0, 9, 0, 0]], dtype=dtype)))
    np.testing.assert_allclose(benchmark.documents["text"], [[0.6, 0.8, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]], atol=1e-7)
    assert benchmark.documents["text"].dtype == np.float32


def test_the_given_arrays_are_not_changed():
    given = arrays(texts=np.full((3, 4), 2.0))
    Benchmark.from_arrays(given)
    np.testing.assert_array_equal(given["texts"], np.full((3, 4), 2.0))


def test_one_modality_may_be_empty_and_other_arrays_are_ignored():
    only_texts = arrays(
        images=np.empty((0, 4)), relevant_modality=np.array(["text"] * 3), titles=np.array(["a", "b", "c"])
    )
    assert Benchmark.from_arrays(only_texts).documents["image"].shape == (0, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": None, "relevant_index": None}, "lacks texts, relevant_index; it holds"),
        ({"questions": np.ones(4)}, r"questions must be floating point of shape \(n, d\), got float64 of shape \(4,\)"),
        ({"images": np.ones((2, 4), dtype=int)}, "images must be floating point .* got int64"),
        ({"images": np.ones((2, 5))}, "the same dimension of at least 1, got {.*'images': 5"),
        ({key: np.ones((2, 0)) for key in ("questions", "calibration_questions", "texts", "images")}, "at least 1"),
        ({"questions": np.empty((0, 4))}, "questions has no rows"),
        ({"texts": np.empty((0, 4)), "images": np.empty((0, 4))}, "texts and images have no rows"),
        (
            {"texts": np.array([[1.0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])},
            "1 of 3 vectors in texts are null .* row 1",
        ),
        ({"images": np.array([[1.0, 0, 0, 0], [0, np.nan, 0, 0]])}, "1 of 2 vectors in images .* not finite.* row 1"),
        ({"images": np.array([[np.inf, 0, 0, 0], [0, 1.0, 0, 0]])}, "1 of 2 vectors in images .* not finite.* row 0"),
        ({"relevant_index": np.array([0, 1])}, r"must all have shape \(R,\) for the same R"),
        ({"relevant_index": np.array([0, 3, 1])}, r"relevant_index\[1\] is 3, but there are 3 such rows"),
        ({"relevant_index": np.array([0, 2, 2])}, r"relevant_index\[2\] is 2, but there are 2 such rows"),
        ({"relevant_index": np.array([-1, 2, 1])}, r"relevant_index\[0\] is -1"),
        ({"relevant_index": np.array([0.0, 2.0, 1.0])}, "relevant_index must hold integers, got float64"),
        ({"relevant_question": np.array([0, 2, 1])}, r"relevant_question\[1\] is 2, but there are 2 such rows"),
        ({"relevant_modality": np.array(["text", "video", "image"])}, r"relevant_modality holds \['video'\]; only"),
        ({"relevant_modality": np.array([0, 0, 1])}, "relevant_modality must hold the strings .* got int64"),
        ({"relevant_modality": np.array([b"text", b"text", b"image"])}, "must hold the strings"),
        ({"relevant_question": np.array([0, 0, 0])}, "1 of 2 questions have no relevant document, the first is row 1"),
        ({"calibration_relevant_index": np.array([0])}, "has calibration_relevant_index only; give all of"),
        ({**LABELS, "calibration_relevant_question": np.array([0, 3])}, "but there are 3 such rows"),
    ],
)
def test_arrays_that_are_not_the_formats_are_refused(tmp_path, changes, message):
    with pytest.raises(FileFormatError, match=message) as caught:
        Benchmark.load(saved(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        Benchmark.load(tmp_path / "absent.npz")


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04 but nothing more"])
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "foreign.npz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"not an \.npz file, or cut short"):
        Benchmark.load(path)


def test_a_single_array_is_not_a_benchmark(tmp_path):
    path = tmp_path / "array.npz"
    with path.open("wb") as file:
        np.save(file, np.ones((3, 4)))
    with pytest.raises(FileFormatError, match=r"not an \.npz file"):
        Benchmark.load(path)


def test_every_truncation_is_refused(tmp_path):
    whole = saved(tmp_path).read_bytes()
    path = tmp_path / "cut.npz"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            Benchmark.load(path)


def test_a_flipped_byte_in_the_data_is_noticed(tmp_path):
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(arrays()["texts"].tobytes()) + 5] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="cannot be read"):
        Benchmark.load(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_whatever_byte_is_wrong_there_is_one_kind_of_error(tmp_path, save):
    path = tmp_path / "benchmark.npz"
    save(path, **arrays())
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 5):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x01]) + whole[position + 1 :])
        try:
            Benchmark.load(path)
        except FileFormatError:
            refused += 1
    # The rest are bytes that carry nothing, such as the date of a member.
    assert refused > len(whole) / 5 / 2


def test_pickled_objects_are_never_loaded(tmp_path):
    path = saved(tmp_path, relevant_modality=np.array(["text", "text", "image"], dtype=object))
    with pytest.raises(FileFormatError, match=r"cannot be read.*pickle"):
        Benchmark.load(path)


def test_a_member_that_is_no_array_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays(texts=None))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("texts.npy", b"not an array")
    path = tmp_path / "odd.npz"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(FileFormatError, match="lacks texts"):
        Benchmark.load(path)


def test_a_member_without_the_array_suffix_is_refused(tmp_path):
    path = saved(tmp_path, texts=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("texts", b"not an array")
    with pytest.raises(FileFormatError, match="lacks texts"):
        Benchmark.load(path)


def test_methods_apply_only_where_their_input_is_given():
    def applying(**changes):
        benchmark = Benchmark.from_arrays(arrays(**changes))
        return [name for name, method in METHODS.items() if method.applies(benchmark)]

    def lacking(names):
        return set(METHODS) - set(names)

    assert lacking(applying()) == {"labeled"}
    assert lacking(applying(**LABELS)) == set()
    one_sided = {**LABELS, "calibration_relevant_modality": np.array(["text", "text"])}
    assert lacking(applying(**one_sided)) == {"labeled"}
    without_questions = applying(calibration_questions=np.empty((0, 4)))
    fusions, closed = ["rrf", "minmax", "dbsf"], ["background", "gumbel"]
    assert without_questions == ["cosine", *closed, *fusions, "text-only", "image-only"]
