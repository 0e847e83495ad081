from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from commonscale.core.errors import FileFormatError, ImageError, InvalidInputError, MissingDataError
from commonscale.datasets import DatasetQuestion, MultiModalQA, Passage, Picture
from dataset_files import mmqa_question, write_mmqa

SHARED = Path(__file__).parents[4] / "shared" / "data" / "mmqa"
QUESTIONS = [
    mmqa_question("q0", " Who? ", "TextQ", [("text", "t1"), ("text", "t0"), ("text", "t1")], text_doc_ids=["t0", "t1"]),
    mmqa_question("q1", "What colour?", "ImageQ", [("image", "i0")], image_doc_ids=["i0", "i1"]),
    mmqa_question("q2", "Both?", "Compose(TextQ,ImageQ)", [("text", "t0"), ("image", "i1"), ("table", "x")]),
    mmqa_question("q3", "How many rows?", "TableQ", [("table", "x")]),
]
TEXTS = {"t0": "One.", "t1": "Two.\n"}
PICTURES = {"i0.jpg": b"first", "i1.PNG": b"second"}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl"])
def test_reads_what_was_written(tmp_path: Path, zipped: bool, ending: str) -> None:
    data = MultiModalQA(write_mmqa(tmp_path, {"dev": QUESTIONS}, TEXTS, PICTURES, zipped=zipped, ending=ending))
    assert list(data.questions("dev")) == [
        DatasetQuestion(
            "q0", "Who?", "TextQ", "text", (("text", "t1"), ("text", "t0")), (("text", "t0"), ("text", "t1"))
        ),
        DatasetQuestion(
            "q1", "What colour?", "ImageQ", "image", (("image", "i0"),), (("image", "i0"), ("image", "i1"))
        ),
        DatasetQuestion("q2", "Both?", "Compose(TextQ,ImageQ)", None, (("text", "t0"), ("image", "i1"))),
        DatasetQuestion("q3", "How many rows?", "TableQ", None),
    ]
    assert list(data.passages()) == [Passage("t0", "One.", "t0"), Passage("t1", "Two.", "t1")]
    assert list(data.pictures()) == [Picture("i0", "i0.jpg", "i0.jpg"), Picture("i1", "i1.PNG", "i1.PNG")]
    opened = [data.store.open(name) for name in PICTURES]
    assert [found if isinstance(found, bytes) else Path(str(found)).read_bytes() for found in opened] == [
        b"first",
        b"second",
    ]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_picture_is_found_by_its_last_part_and_by_another_extension(tmp_path: Path, zipped: bool) -> None:
    store = MultiModalQA(write_mmqa(tmp_path, {}, {}, PICTURES, zipped=zipped)).store
    assert store.open("elsewhere/i0.jpg") == store.open("i0.jpg")
    assert store.open("i1.gif") == store.open("i1.PNG")
    with pytest.raises(ImageError, match=r"holds no picture 'i9\.jpg'"):
        store.open("i9.jpg")


def test_files_may_lie_one_level_below_as_in_the_repository(tmp_path: Path) -> None:
    write_mmqa(tmp_path / "dataset", {"dev": QUESTIONS[:1]}, TEXTS, PICTURES)
    data = MultiModalQA(tmp_path)
    assert [question.id for question in data.questions("dev")] == ["q0"]
    assert data.store.open("i0.jpg") == tmp_path / "dataset" / "final_dataset_images" / "i0.jpg"


def test_the_official_test_split_has_no_answers(tmp_path: Path) -> None:
    bare = {key: QUESTIONS[0][key] for key in ("qid", "question", "metadata")}
    (question,) = MultiModalQA(write_mmqa(tmp_path, {"test": [bare]}, {}, {})).questions("test")
    assert (question.relevant, question.modality, len(question.context)) == ((), None, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "no valid JSON"),
        ("[1]", "a JSON object is needed, got list"),
        ('{"question": "x"}', "'qid' must be a str, got nothing"),
        ('{"qid": 7, "question": "x"}', "'qid' must be a str, got a int"),
        (
            '{"qid": "7", "question": "x", "supporting_context": ["t"]}',
            "'supporting_context' must hold objects",
        ),
        ('{"qid": "7", "question": "x", "metadata": []}', "'metadata' must be a dict, got a list"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "MMQA_dev.jsonl"
    path.write_text(json.dumps(QUESTIONS[0]) + "\n" + line + "\n", "utf-8", "surrogateescape")
    with pytest.raises(FileFormatError, match=rf"MMQA_dev\.jsonl, line 2: {message}.*get it again"):
        list(MultiModalQA(tmp_path).questions("dev"))


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeff" + json.dumps(QUESTIONS[0]) + "\r\n\n" + json.dumps(QUESTIONS[1])
    (tmp_path / "MMQA_dev.jsonl").write_text(text, "utf-8", newline="")
    assert [question.id for question in MultiModalQA(tmp_path).questions("dev")] == ["q0", "q1"]


@pytest.mark.parametrize("damage", ["cut", "no gzip"])
def test_a_damaged_archive_is_named(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(json.dumps(QUESTIONS).encode() * 100)
    (tmp_path / "MMQA_dev.jsonl.gz").write_bytes(whole[:-20] if damage == "cut" else b"{}")
    with pytest.raises(FileFormatError, match=r"MMQA_dev\.jsonl\.gz.*(not a whole gzip file|no valid JSON)"):
        list(MultiModalQA(tmp_path).questions("dev"))


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    data = MultiModalQA(tmp_path)
    with pytest.raises(MissingDataError, match=r"no MMQA_train\.jsonl\.gz .*train questions.*github\.com/allenai"):
        next(data.questions("train"))
    with pytest.raises(FileNotFoundError, match=r"no final_dataset_images\.zip .*pictures.*github\.com/allenai"):
        _ = data.store
    with pytest.raises(MissingDataError, match="no such folder"):
        next(MultiModalQA(tmp_path / "nowhere").passages())
    with pytest.raises(InvalidInputError, match="no split 'val'; there are train, dev, test"):
        next(data.questions("val"))


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="5 files of MultiModalQA are not there") as caught:
        MultiModalQA(tmp_path).check_files(("dev", "train"))
    message = str(caught.value)
    for part in ("dev", "train", "texts", "images"):
        assert f"MMQA_{part}.jsonl.gz or MMQA_{part}.jsonl (" in message
    assert "final_dataset_images.zip or images or final_dataset_images (the pictures)" in message
    assert message.count("github.com/allenai") == 1
    with pytest.raises(
        MissingDataError, match=r"nowhere: no such folder, so 5 files .*elsewhere\.zip \(the pictures\)"
    ):
        MultiModalQA(tmp_path / "nowhere", tmp_path / "elsewhere.zip").check_files(("dev", "train"))
    for part in ("dev", "train", "texts"):
        (tmp_path / f"MMQA_{part}.jsonl").touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "images").mkdir()
    with pytest.raises(MissingDataError, match=r"holds no MMQA_images\.jsonl\.gz \(nor MMQA_images\.jsonl\)"):
        MultiModalQA(tmp_path).check_files(("dev", "train"))
    (tmp_path / "MMQA_images.jsonl").touch()
    MultiModalQA(tmp_path).check_files(("dev", "train"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the official files of MultiModalQA are not in ../shared")
def test_the_official_files() -> None:
    data = MultiModalQA(SHARED)
    questions = list(data.questions("dev"))
    assert len(questions) == 2441
    assert Counter(question.modality for question in questions) == {None: 1490, "text": 721, "image": 230}
    kinds = Counter(question.kind for question in questions)
    assert (kinds["TextQ"], kinds["TableQ"], kinds["ImageQ"], kinds["ImageListQ"]) == (721, 369, 230, 141)
    golds = Counter(len(question.relevant) for question in questions if question.kind == "TextQ")
    assert golds == {1: 386, 2: 335}, "each named once, where the file repeats some"
    context = {document for question in questions for document in question.context}
    assert Counter(modality for modality, _ in context) == {"text": 22278, "image": 11867}
    assert sum(1 for _ in data.questions("test")) == 3660
    endings = Counter(picture.name.rpartition(".")[2].lower() for picture in data.pictures())
    assert endings == {"jpg": 47255, "png": 8997, "jpeg": 785, "gif": 18, "tiff": 2, "tif": 1}
    assert sum(endings.values()) == 57058
