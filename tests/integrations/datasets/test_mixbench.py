from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commonscale.core.errors import FileFormatError, ImageError, InvalidInputError, MissingDataError
from commonscale.datasets import MixBench, MixedDocument
from dataset_files import write_jsonl, write_mixbench

QUESTIONS = {"1": "A dog?", "2": "A cat?"}
DOCUMENTS: list[dict[str, Any]] = [
    {"id": "10", "text": "A dog.", "image": None},
    {"id": "11", "text": None, "image": "dog.jpg"},
    {"id": "12", "text": "A cat.", "image": "cat.jpg"},
]
RELEVANT = [("1", "10"), ("1", "11"), ("2", "12")]
PICTURES = {"dog.jpg": b"dog", "cat.jpg": b"cat"}


@pytest.mark.parametrize("older", [False, True])
def test_reads_json_lines_of_both_cards(tmp_path: Path, older: bool) -> None:
    write_mixbench(tmp_path / "OVEN", QUESTIONS, DOCUMENTS, RELEVANT, PICTURES, older=older)
    subset = MixBench(tmp_path).subset("OVEN")
    assert dict(subset.questions()) == QUESTIONS
    documents = list(subset.documents())
    assert [(d.id, d.modality, d.text) for d in documents] == [
        ("10", "text", "A dog."),
        ("11", "image", None),
        ("12", "mixed", "A cat."),
    ]
    opened = [subset.open(d.image) for d in documents if isinstance(d.image, str)]
    assert [Path(str(place)).read_bytes() for place in opened] == [b"dog", b"cat"]
    assert subset.relevant() == {"1": ["10", "11"], "2": ["12"]}


def test_reads_parquet_in_parts_with_pictures_inside(tmp_path: Path) -> None:
    folder = tmp_path / "MSCOCO"
    folder.mkdir()
    pq.write_table(
        pa.table({"id": ["1"], "text": ["A dog?"], "image": pa.nulls(1)}), folder / "queries-00000-of-00001.parquet"
    )
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows: list[tuple[str, str | None, Any]] = [("1", None, {"bytes": b"dog", "path": "dog.jpg"}), ("2", "A cat.", None)]
    for number, (key, text, image) in enumerate(rows):
        columns = {"id": [key], "text": pa.array([text], pa.string()), "image": pa.array([image], struct)}
        pq.write_table(pa.table(columns), folder / f"mixed_corpus-0000{number}-of-00002.parquet")
    subset = MixBench(tmp_path).subset("MSCOCO")
    assert list(subset.questions()) == [("1", "A dog?")]
    assert list(subset.documents()) == [MixedDocument("1", None, b"dog"), MixedDocument("2", "A cat.", None)]
    assert not subset.has_judgments
    assert subset.relevant() == {"1": ["1"]}, "in MSCOCO, equal ids belong together"


def test_a_folder_may_stand_for_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "OVEN" / "query"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"query_id": ["1"], "text": ["A dog?"]}), folder / "0000.parquet")
    assert list(MixBench(tmp_path).subset("OVEN").questions()) == [("1", "A dog?")]


@pytest.mark.parametrize("name", ["qrels.csv", "qrels.tsv", "qrels.txt"])
def test_relevance_as_text_with_a_header(tmp_path: Path, name: str) -> None:
    sign = {"csv": ",", "tsv": "\t", "txt": " "}[name[-3:]]
    write_mixbench(tmp_path / "OVEN", QUESTIONS, DOCUMENTS, [], PICTURES, older=True)
    (tmp_path / "OVEN" / "qrels.tsv").unlink()
    path = tmp_path / "OVEN" / name
    path.write_text("\n".join(sign.join(row) for row in [("qid", "cid", "score"), ("1", "10", "2"), ("2", "11", "0")]))
    assert MixBench(tmp_path).subset("OVEN").relevant() == {"1": ["10"]}
    path.write_text(path.read_text() + f"\n1{sign}2")
    with pytest.raises(FileFormatError, match=rf"{name}, line 4: 2 columns where the header has 3 \(qid, cid, score\)"):
        MixBench(tmp_path).subset("OVEN").relevant()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"corpus_id": "1"}, "line 1: the document '1' has neither words nor a picture"),
        ({"text": "x"}, "line 1: has none of the columns corpus_id, cid, id, _id; it has text"),
        ({"id": "1", "text": 5}, "line 1: 'text' must be words, got a int"),
        ({"id": "1", "image": 5}, "line 1: 'image' must be a path or a picture's bytes, got a int"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    write_jsonl(tmp_path / "OVEN" / "mixed_corpus.jsonl", [row])
    with pytest.raises(FileFormatError, match=rf"mixed_corpus\.jsonl, {message}"):
        list(MixBench(tmp_path).subset("OVEN").documents())


def test_damaged_tables_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "OVEN"
    write_jsonl(folder / "qrel.jsonl", [{"query_id": "1", "corpus_id": "2", "score": "high"}])
    with pytest.raises(FileFormatError, match=r"qrel\.jsonl, line 1: 'score' must be a whole number, got 'high'"):
        MixBench(tmp_path).subset("OVEN").relevant()
    (folder / "query.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(FileFormatError, match=r"query\.parquet, after row 0: damaged"):
        list(MixBench(tmp_path).subset("OVEN").questions())


def test_missing_parts_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"huggingface\.co/datasets/mixed-modality-search"):
        _ = MixBench(tmp_path).subsets
    with pytest.raises(MissingDataError, match="holds no VisualNews"):
        MixBench(tmp_path).subset("VisualNews")
    with pytest.raises(InvalidInputError, match="no subset 'COCO'"):
        MixBench(tmp_path).subset("COCO")
    (tmp_path / "OVEN").mkdir()
    subset = MixBench(tmp_path).subset("OVEN")
    assert MixBench(tmp_path).subsets == ("OVEN",)
    (tmp_path / "MSCOCO").mkdir()
    with pytest.raises(MissingDataError, match="5 files of MixBench are not there") as caught:
        MixBench(tmp_path).check_files()
    for table in ("OVEN/query", "OVEN/mixed_corpus", "OVEN/qrel", "MSCOCO/query", "MSCOCO/mixed_corpus"):
        assert f"{table}.parquet or {table}.jsonl" in str(caught.value)
    (tmp_path / "MSCOCO").rmdir()
    for read in (subset.relevant, lambda: next(subset.questions()), lambda: next(subset.documents())):
        with pytest.raises(MissingDataError, match=r"holds no (qrel|query|mixed_corpus)\.parquet or .*git lfs"):
            read()
    with pytest.raises(ImageError, match=r"holds no picture 'a\.jpg'"):
        subset.open("a.jpg")
