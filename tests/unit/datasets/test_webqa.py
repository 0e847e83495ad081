from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from commonscale.core.errors import FileFormatError, ImageError, InvalidInputError, MissingDataError
from commonscale.datasets import DatasetQuestion, Passage, Picture, UniVLDR, WebQA
from dataset_files import image_fact, text_fact, univl_question, webqa_question, write_univl_dr, write_webqa

FIRST, SECOND = 30_000_000, 30_000_001
PICTURES = {FIRST: b"\xff\xd8first", SECOND: b"second" * 50_000}
TRAIN_VAL = {
    "d5a": webqa_question(
        "train",
        "d5a",
        "Is it red?",
        "color",
        img_posFacts=[image_fact(FIRST, "A house")],
        img_negFacts=[image_fact(SECOND, "A tree")],
        txt_negFacts=[text_fact("d5a_1", "One.")],
    ),
    "d5b": webqa_question("val", "d5b", "Who?", "text", txt_posFacts=[text_fact("d5b_2", "Two."), text_fact("x", "")]),
    "d5c": webqa_question("train", "d5c", "When?", "text", txt_posFacts=[text_fact("d5a_1", "One.")]),
}
TEST = {"d5d": {"Q": '"Q?"', "Guid": "d5d", "img_Facts": [image_fact(SECOND, "A tree")], "txt_Facts": []}}


def test_reads_what_was_written(tmp_path: Path) -> None:
    data = WebQA(write_webqa(tmp_path, TRAIN_VAL, TEST, PICTURES), development=0)
    assert list(data.questions("train")) == [
        DatasetQuestion(
            "d5a",
            "Is it red?",
            "color",
            "image",
            (("image", str(FIRST)),),
            (("image", str(FIRST)), ("text", "d5a_1"), ("image", str(SECOND))),
        ),
        DatasetQuestion("d5c", "When?", "text", "text", (("text", "d5a_1"),), (("text", "d5a_1"),)),
    ]
    (test,) = data.questions("test")
    assert (test.id, test.text, test.relevant) == ("d5b", "Who?", (("text", "d5b_2"), ("text", "x")))
    assert list(data.passages()) == [
        Passage("d5a_1", "One.", "A page"),
        Passage("d5b_2", "Two.", "A page"),
        Passage("x", "", "A page"),
    ]
    assert list(data.pictures()) == [
        Picture(str(FIRST), str(FIRST), "A page", "A house"),
        Picture(str(SECOND), str(SECOND), "A page", "A tree"),
    ]
    assert [data.store.open(str(key)) for key in (SECOND, FIRST)] == [PICTURES[SECOND], PICTURES[FIRST]]


def test_the_development_split_is_that_of_univl_dr(tmp_path: Path) -> None:
    names = [f"q{number}" for number in range(12)]
    entries = {name: webqa_question("train", name, name, "text") for name in names}
    data = WebQA(write_webqa(tmp_path, entries, {}, {}), development=5)
    found = {split: [question.id for question in data.questions(split)] for split in ("train", "dev", "test")}
    # What numpy.random.seed(1234) and numpy.random.shuffle make of list(range(12)).
    assert found["dev"] == [f"q{number}" for number in sorted(SHUFFLED[:5])]
    assert sorted(found["train"] + found["dev"]) == sorted(names)
    assert found["test"] == []


SHUFFLED = [7, 8, 11, 2, 9, 10, 1, 0, 4, 5, 6, 3]


def test_a_huge_object_is_read_in_pieces(tmp_path: Path) -> None:
    words = "long " * 500_000  # longer than the piece that is read at once
    entries = {f"q{n}": webqa_question("val", f"q{n}", words if n == 1 else "?", "text") for n in range(3)}
    (tmp_path / "WebQA_train_val.json").write_text(json.dumps(entries, indent=1), "utf-8")
    assert [len(question.text) for question in WebQA(tmp_path).questions("test")] == [1, len(words) - 1, 1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    words = "word " * 2000
    entries = {
        f"q{n}": webqa_question("val", f"q{n}", "?", "text", txt_posFacts=[text_fact(f"q{n}_1", words)])
        for n in range(3000)
    }
    data = WebQA(write_webqa(tmp_path, entries, {}, {}))
    assert (tmp_path / "WebQA_train_val.json").stat().st_size > 30e6
    del entries
    tracemalloc.start()
    assert sum(1 for _ in data.questions("test")) == 3000
    assert sum(1 for _ in data.passages()) == 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6, "a piece of the file, one entry, and the ids"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "at its beginning: '{' is needed, got 'the end of the file'"),
        ("[]", "at its beginning: '{' is needed, got '\\['"),
        ('{"a": {"split": "val"', "entry 'a': cut short"),
        ('{"a": [1]}', "entry 'a': dict needed, got list"),
        ('{"a": {"split": "val", "Q": "q"} "b"', "entry 'a': ',' or '}' must follow"),
        ('{"a": {"split": "new", "Q": "q"}}', "entry 'a': 'split' must be 'train' or 'val', got 'new'"),
        ('{"a": {"split": "val"}}', "entry 'a': 'Q' must be a str, got nothing"),
        (
            '{"a": {"split": "val", "Q": "q", "img_posFacts": [{"image_id": "3"}]}}',
            "'image_id' must be a int",
        ),
        ('{"a" {}}', "entry 'a': ':' is needed"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_a_malformed_object_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "WebQA_train_val.json").write_text(content, "utf-8", "surrogateescape")
    with pytest.raises(FileFormatError, match=rf"WebQA_train_val\.json, .*{message}"):
        list(WebQA(tmp_path).questions("test"))


def test_pictures_that_are_not_there(tmp_path: Path) -> None:
    folder = write_webqa(tmp_path, {}, {}, PICTURES)
    store = WebQA(folder).store
    with pytest.raises(ImageError, match="no line for picture '30000007', it has 2 lines"):
        store.open("30000007")
    with pytest.raises(FileFormatError, match="do not belong together"):
        store.open("40000001")
    lines = (folder / "imgs.tsv").read_bytes().splitlines(keepends=True)
    (folder / "imgs.tsv").write_bytes(lines[0].replace(b"/9hma", b"*****", 1) + lines[1])
    with pytest.raises(ImageError, match="picture 30000000 is no base64"):
        WebQA(folder).store.open(str(FIRST))
    (folder / "imgs.lineidx").write_text("0\nseven\n", "ascii")
    with pytest.raises(FileFormatError, match=r"imgs\.lineidx, line 2: a byte offset is needed, got 'seven'"):
        WebQA(folder).store.open(str(FIRST))


def test_missing_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    for read in (lambda: next(WebQA(tmp_path).questions("test")), lambda: WebQA(tmp_path).store):
        with pytest.raises(MissingDataError, match=r"(WebQA_train_val\.json|imgs\.tsv).*github\.com/WebQnA/WebQA"):
            read()
    write_webqa(tmp_path, TRAIN_VAL, {}, {})
    (tmp_path / "WebQA_test.json").unlink()
    with pytest.raises(MissingDataError, match=r"no WebQA_test\.json .*part of the corpus"):
        list(WebQA(tmp_path).passages())
    with pytest.raises(InvalidInputError, match="no split 'val'"):
        next(WebQA(tmp_path).questions("val"))


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="4 files of WebQA are not there") as caught:
        WebQA(tmp_path).check_files(("test", "train"))
    for name in ("WebQA_train_val.json or", "WebQA_test.json or", "imgs.tsv (", "imgs.lineidx ("):
        assert name in str(caught.value)
    (tmp_path / "imgs.tsv").touch()
    (tmp_path / "all_docs.json").touch()
    with pytest.raises(MissingDataError, match="4 files of WebQA as UniVL-DR prepared it are not there") as caught:
        UniVLDR(tmp_path).check_files(("test", "train"))
    for name in ("test.json (", "train.json (", "all_imgs.json (", "imgs.lineidx.new or imgs.lineidx ("):
        assert name in str(caught.value)
    for name in ("test.json", "train.json", "all_imgs.json", "imgs.lineidx"):
        (tmp_path / name).touch()
    UniVLDR(tmp_path).check_files(("test", "train"))


UNIVL = {
    "train": [univl_question("a", "Red?", img_posFacts=[str(FIRST)], txt_negFacts=["s_1"])],
    "test": [
        univl_question("b", "Who?", txt_posFacts=["s_1", "s_2"]),
        univl_question("c", "Where?", img_posFacts=[str(SECOND)]),
    ],
}


def univl(tmp_path: Path, **changed: Any) -> Path:
    captions = {FIRST: "A house", SECOND: "A tree"}
    return write_univl_dr(tmp_path, {**UNIVL, **changed}, {"s_1": "One.", "s_2": "Two."}, captions, PICTURES)


def test_the_retrieval_setting(tmp_path: Path) -> None:
    data = UniVLDR(univl(tmp_path))
    assert UniVLDR.is_in(tmp_path)
    (train,) = data.questions("train")
    assert (train.modality, train.relevant) == ("image", (("image", str(FIRST)),))
    assert train.context == (("image", str(FIRST)), ("text", "s_1"))
    assert [(question.modality, question.relevant) for question in data.questions("test")] == [
        ("text", (("text", "s_1"), ("text", "s_2"))),
        ("image", (("image", str(SECOND)),)),
    ]
    assert [passage.text for passage in data.passages()] == ["One.", "Two."]
    assert [(picture.id, picture.caption) for picture in data.pictures()] == [
        (str(FIRST), "A house"),
        (str(SECOND), "A tree"),
    ]
    assert data.store.open(str(SECOND)) == PICTURES[SECOND]
    with pytest.raises(ImageError, match="has no picture '5'"):
        data.store.open("5")


def test_the_relevance_file_decides(tmp_path: Path) -> None:
    folder = univl(tmp_path)
    (folder / "test_qrels.txt").write_text(f"b\ts_2\t1\nb\ts_1\t0\nc\t0\t{FIRST}\t1\n", "utf-8")
    found = [question.relevant for question in UniVLDR(folder).questions("test")]
    assert found == [(("text", "s_2"),), (("image", str(FIRST)),)]
    (folder / "test_qrels.txt").write_text("b s_2 1\n", "utf-8")
    with pytest.raises(FileFormatError, match=r"test_qrels\.txt, line 1: .*tabs between them, got 'b s_2 1'"):
        next(UniVLDR(folder).questions("test"))


def test_the_retrieval_setting_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no all_docs\.json.*github\.com/OpenMatch/UniVL-DR"):
        next(UniVLDR(tmp_path).passages())
    assert not UniVLDR.is_in(tmp_path)
