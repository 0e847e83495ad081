"""What putting items in means in both frameworks: ids, labels, batches, pictures that cannot be read."""

from __future__ import annotations

import base64
import io
import pickle
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import ImageError, IngestError, InvalidInputError, SkippedImageWarning
from commonscale.stores.ingest import Embedded, Entry, Plan, as_list, check_count, labeled, put
from commonscale.stores.ingest_ids import check_uuids, distinct, given_ids, id_of
from commonscale.stores.ingest_pictures import PictureReader, pictures_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def entries(count: int) -> list[Entry]:
    return [Entry(f"id{n}", n, f"payload{n}", f"texts[{n}]") for n in range(count)]


def plan(dimension: int | None = None, batch_size: int = 3, shown: bool = False) -> Plan:
    return Plan("Store", dimension, batch_size, shown, "text")


def embed(contents: list[Any]) -> Embedded:
    return Embedded(range(len(contents)), [[n + 1.0, 0.0] for n in contents])


class Store:
    def __init__(self, fail_at: int | None = None) -> None:
        self.held: dict[str, np.ndarray] = {}
        self.sizes: list[int] = []
        self.fail_at = fail_at

    def write(self, batch: list[Entry], rows: np.ndarray) -> None:
        if self.fail_at == len(self.sizes):
            raise ConnectionError("gone")
        self.sizes.append(len(batch))
        self.held.update(zip((entry.id for entry in batch), rows, strict=True))


def test_everything_goes_in_in_batches_of_unit_vectors() -> None:
    store = Store()
    assert put(entries(7), embed, store.write, plan()) == [f"id{n}" for n in range(7)]
    assert store.sizes == [3, 3, 1]
    assert all(row.dtype == np.float32 and row.tolist() == [1.0, 0.0] for row in store.held.values())
    assert put([], embed, store.write, plan()) == []


def test_a_failure_half_way_says_what_is_in_and_putting_all_in_again_is_safe() -> None:
    store = Store(fail_at=2)
    with pytest.raises(
        IngestError, match=r"ConnectionError at texts\[6\] to texts\[7\]: gone\. 6 of 8 texts are in"
    ) as caught:
        put(entries(8), embed, store.write, plan())
    assert caught.value.stored == tuple(f"id{n}" for n in range(6))
    assert isinstance(caught.value.__cause__, ConnectionError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.stored) == (str(caught.value), caught.value.stored)
    store.fail_at = None
    put(entries(8), embed, store.write, plan())
    assert sorted(store.held) == sorted(f"id{n}" for n in range(8))


def test_what_does_not_fit_is_refused_before_it_is_written() -> None:
    store = Store()
    with pytest.raises(InvalidInputError, match="vectors of length 2, but the Store holds vectors of length 5"):
        put(entries(2), embed, store.write, plan(dimension=5))
    with pytest.raises(InvalidInputError, match=r"vector for texts\[1\] that is null or not finite"):
        put(entries(2), lambda c: Embedded((0, 1), [[1.0, 0.0], [0.0, 0.0]]), store.write, plan())
    with pytest.raises(InvalidInputError, match=r"vector for texts\[0\] that is null or not finite"):
        put(entries(2), lambda c: Embedded((0, 1), [[np.nan, 0.0], [0.0, 1.0]]), store.write, plan())
    with pytest.raises(InvalidInputError, match="gave 1 vectors for 2 texts"):
        put(entries(2), lambda c: Embedded((0, 1), [[1.0]]), store.write, plan())
    with pytest.raises(InvalidInputError, match=r"cannot be used: .*do not form a matrix"):
        put(entries(2), lambda c: Embedded((0, 1), [[1.0], [1.0, 2.0]]), store.write, plan())
    assert store.held == {}


def test_vectors_that_change_length_half_way_stop_it() -> None:
    store = Store()
    with pytest.raises(IngestError, match=r"length 3, but the Store holds vectors of length 2.*3 of 4 texts are in"):
        put(
            entries(4),
            lambda c: Embedded(range(len(c)), np.ones((len(c), 2 if len(c) == 3 else 3))),
            store.write,
            plan(),
        )


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_batch_sizes_that_cannot_be(size: Any) -> None:
    with pytest.raises(InvalidInputError, match="batch_size must be an integer of at least 1, got"):
        plan(batch_size=size)


def test_the_progress_bar_reaches_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    put(entries(7), embed, Store().write, plan(shown=True))
    assert "7/7" in capsys.readouterr().err
    put(entries(7), embed, Store().write, plan())
    assert capsys.readouterr().err == ""


def test_ids_are_the_same_every_time_and_tell_modalities_and_places_apart() -> None:
    # Fixed for good: another id would leave a second copy of everything that users have put in.
    assert id_of("text", "a cat") == "158ddf40-f975-5484-bb6d-2739c548a73e"
    assert uuid.UUID(id_of("text", "a cat")).version == 5
    others = {id_of("image", "a cat"), id_of("text", "a cat", "collection"), id_of("text", "a hat")}
    assert len(others | {id_of("text", "a cat")}) == 4
    assert uuid.UUID(id_of("image", "odd\udcff.png")).version == 5


def test_ids_that_are_given_are_checked() -> None:
    assert given_ids(None, 3) is None
    assert given_ids(("a", "b"), 2) == ["a", "b"]
    with pytest.raises(InvalidInputError, match="ids has 1 entries for 2 items"):
        given_ids(["a"], 2)
    with pytest.raises(InvalidInputError, match=r"ids\[1\] must be a text that is not empty, got ''"):
        given_ids(["a", ""], 2)
    with pytest.raises(InvalidInputError, match=r"ids\[0\] must be a text that is not empty, got 7"):
        given_ids([7], 1)
    check_uuids([id_of("text", "x")], "QdrantVectorStore")
    with pytest.raises(InvalidInputError, match="a QdrantVectorStore takes only UUIDs as ids, got 'seven'"):
        check_uuids(["seven"], "QdrantVectorStore")


def test_an_item_that_comes_twice_goes_in_once_unless_the_two_differ() -> None:
    pair = [Entry("a", 0, "x", "texts[0]"), Entry("a", 0, "x", "texts[1]"), Entry("b", 0, "x", "texts[2]")]
    assert distinct(pair, lambda one, other: one == other, given=False) == [pair[0], pair[2]]
    with pytest.raises(InvalidInputError, match=r"the id 'a' comes twice, for texts\[0\] and texts\[1\]"):
        distinct(pair, lambda one, other: one == other, given=True)
    with pytest.raises(InvalidInputError, match=r"texts\[0\] and texts\[1\] have the same id 'a'"):
        distinct(pair, lambda one, other: False, given=False)


def test_metadata_are_copied_and_labeled() -> None:
    mine = {"tags": ["a"]}
    (made,) = labeled([mine], 1, "image", "kind")
    assert made == {"tags": ["a"], "kind": "image"}
    made["tags"].append("b")
    assert mine == {"tags": ["a"]}
    assert labeled(None, 2, "text", None) == [{}, {}]
    with pytest.raises(InvalidInputError, match="metadatas has 1 entries for 2 items"):
        labeled([mine], 2, "text", "modality")
    with pytest.raises(InvalidInputError, match=r"metadatas\[0\] must be a mapping, got 3"):
        labeled([3], 1, "text", "modality")  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="says modality='image', but these items are put in as 'text'"):
        labeled([{"modality": "image"}], 1, "text", "modality")
    with pytest.raises(InvalidInputError, match="modality must be a name such as 'text', got ''"):
        labeled([{}], 1, "", "modality")


def test_single_items_are_not_taken_for_lists() -> None:
    assert as_list(("a",), "text") == ["a"]
    for single in ("a cat", b"...", {"a": 1}, 3, io.BytesIO(PNG)):
        with pytest.raises(InvalidInputError, match="a list of texts is needed, got one"):
            as_list(single, "text")
    with pytest.raises(InvalidInputError, match="captions has 2 entries for 1 items; give one for each"):
        check_count("captions", ["a", "b"], 1)


def test_what_pictures_are() -> None:
    text = base64.b64encode(PNG).decode()
    path, url, odd = pictures_of(["a/../b.png", "https://x/y.png", Path(text.rstrip("="))], False)
    assert (path.path, path.url, path.identity, path.readable) == ("a/../b.png", None, "b.png", "a/../b.png")
    assert (url.path, url.url, url.identity, url.readable) == (
        None,
        "https://x/y.png",
        "https://x/y.png",
        "https://x/y.png",
    )
    assert odd.readable == Path(text.rstrip("="))
    kept = pictures_of([PNG, bytearray(PNG), text, f"data:image/png;base64,{text}"], True)
    assert [picture.content for picture in kept] == [PNG] * 4
    assert len({picture.identity for picture in kept}) == 1
    assert kept[0].identity.startswith("sha256:")
    assert kept[0].base64 == text
    assert kept[0].readable.read() == PNG


@pytest.mark.parametrize(
    ("image", "allowed", "message"),
    [
        (PNG, False, r"images\[0\], <48 bytes>, has neither path nor URL.*store_base64=True"),
        (7, True, r"images\[0\] must be a path, a URL"),
        ("", True, r"images\[0\] must be a path, a URL"),
        ("data:image/png;base64", True, r"images\[0\].*cannot be decoded: .*needs a comma"),
    ],
)
def test_pictures_that_are_refused(image: Any, allowed: bool, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        pictures_of([image], allowed)


def broken(names: set[str], error: Exception) -> Any:
    def model(paths: list[str]) -> list[list[float]]:
        if names & set(paths):
            raise error
        return [[float(len(path)), 1.0] for path in paths]

    return model


@pytest.mark.parametrize(
    "error", [ImageError("damaged"), FileNotFoundError(2, "No such file"), OSError("image file is truncated")]
)
def test_pictures_that_cannot_be_read_are_left_out_and_named(error: Exception) -> None:
    names = [f"p{n}.png" for n in range(10)]
    reader = PictureReader(broken({"p3.png", "p9.png"}, error))
    kept, vectors = reader(pictures_of(names, False))
    assert list(kept) == [0, 1, 2, 4, 5, 6, 7, 8]
    assert len(vectors) == 8  # type: ignore[arg-type]
    with pytest.warns(
        SkippedImageWarning, match=r"2 pictures could not be read and were left out: 'p3.png' \(.*'p9.png' \("
    ):
        reader.warn()


def test_a_warning_names_five_and_counts_the_rest() -> None:
    names = [f"p{n}.png" for n in range(8)]
    reader = PictureReader(broken(set(names), ImageError("damaged")))
    store = Store()
    wanted = [Entry(name, picture, None, name) for name, picture in zip(names, pictures_of(names, False), strict=True)]
    assert put(wanted, reader, store.write, plan()) == []
    assert store.sizes == []
    with pytest.warns(SkippedImageWarning, match=r"8 pictures .*'p4.png' \(damaged\); and 3 more$"):
        reader.warn()


@pytest.mark.parametrize(
    "error", [ConnectionError("lost"), TimeoutError("late"), OSError(24, "Too many open files"), RuntimeError("no")]
)
def test_a_model_that_fails_is_no_unreadable_picture(error: Exception) -> None:
    with pytest.raises(type(error)):
        PictureReader(broken({"a.png"}, error))(pictures_of(["a.png", "b.png"], False))


def test_a_model_that_gives_too_few_vectors_is_noticed() -> None:
    with pytest.raises(InvalidInputError, match="gave 1 vectors for 2 pictures"):
        PictureReader(lambda paths: [[1.0]])(pictures_of(["a.png", "b.png"], False))
