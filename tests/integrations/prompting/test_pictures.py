"""Pictures from every source, kept and prepared once, from any number of threads."""

from __future__ import annotations

import base64
import copy
import io
import os
import pickle
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from commonscale.core.errors import ImageError, InvalidInputError, MissingExtraError, SkippedImageWarning
from commonscale.encoders.images import ImageOptions
from commonscale.prompting import Budget, Pictures, PreparedPicture, PromptBuilder, PromptItem, Reason, pictures

Image = pytest.importorskip("PIL.Image")


def encoded(color: object = (10, 200, 30), size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, kind)
    return stream.getvalue()


PNG = encoded()


@pytest.fixture
def png_file(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    return path


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[bytes]]:
    """How often each picture file was really shrunk and encoded, by its content."""
    done: Counter[bytes] = Counter()
    encode_file: Callable[..., PreparedPicture] = pictures.encode_file

    def counted(stream: io.BufferedIOBase, options: ImageOptions, max_side: int) -> PreparedPicture:
        done[stream.read()] += 1
        stream.seek(0)
        return encode_file(stream, options, max_side)

    monkeypatch.setattr(pictures, "encode_file", counted)
    return done


def color_of(prepared: PreparedPicture) -> tuple[int, ...]:
    with Image.open(io.BytesIO(prepared.content)) as image:
        return image.convert("RGB").getpixel((0, 0))


# --- sources


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(PNG, id="bytes"),
        pytest.param(bytearray(PNG), id="bytearray"),
        pytest.param(memoryview(PNG), id="memoryview"),
        pytest.param(io.BytesIO(PNG), id="open-file"),
        pytest.param(Image.open(io.BytesIO(PNG)), id="PIL"),
        pytest.param(base64.b64encode(PNG).decode(), id="base64"),
        pytest.param("data:image/png;base64," + base64.b64encode(PNG).decode(), id="data-URI"),
        pytest.param("data:image/png," + "".join(f"%{byte:02x}" for byte in PNG), id="data-URI-percent"),
    ],
)
def test_a_picture_that_was_given_itself_needs_no_permission(picture: object) -> None:
    prepared = Pictures().prepare(picture)
    assert color_of(prepared) == (10, 200, 30)
    assert (prepared.width, prepared.height, prepared.mime_type, prepared.url) == (40, 30, "image/png", None)


@pytest.mark.parametrize("kind", [str, Path])
def test_files_are_read_from_the_folders_named(png_file: Path, kind: type) -> None:
    allowed = Pictures([png_file.parent])
    assert color_of(allowed.prepare(kind(png_file))) == (10, 200, 30)
    assert color_of(allowed.prepare(kind("picture.png"))) == (10, 200, 30)


@pytest.mark.parametrize("kind", [str, Path])
def test_other_files_are_refused_with_their_name_and_the_way_to_allow_them(
    png_file: Path, kind: type, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("allowed")
    with pytest.raises(ImageError, match=rf"^'{png_file}': lies outside .*'{folder}'\); .*folders="):
        Pictures([folder]).prepare(kind(png_file))
    with pytest.raises(ImageError, match=rf"^'{png_file}': no file may be read.*folders="):
        Pictures().prepare(kind(png_file))


def test_a_file_named_like_a_picture_that_is_none_does_not_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "passwords.png").write_text("user:secret", "utf-8")
    with pytest.raises(ImageError, match="not a picture") as caught:
        Pictures([tmp_path]).prepare("passwords.png")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [5, None, ["a.png"], object(), {"path": "a.png"}])
def test_what_stands_for_no_picture_is_told(value: object) -> None:
    with pytest.raises(ImageError, match=f"not a picture: .* got {type(value).__name__}"):
        Pictures().prepare(value)


def test_contents_larger_than_any_picture_of_the_pixels_allowed_are_refused(tmp_path: Path) -> None:
    few = Pictures([tmp_path], options=ImageOptions(max_pixels=1200))
    assert few.prepare(PNG).width == 40
    large = PNG + bytes(100_000)
    (tmp_path / "large.png").write_bytes(large)
    for picture in (large, "large.png", io.BytesIO(large), base64.b64encode(large).decode(), "x" * 1_000_000):
        with pytest.raises(ImageError, match=r"bytes, more than a picture of max_pixels=1200 needs; raise the limit"):
            few.prepare(picture)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"urls": "allow"}, "urls must be one of 'refuse', 'pass', 'download', got 'allow'"),
        ({"max_side": 0}, "max_side must be an integer >= 1, got 0"),
        ({"max_side": 10.5}, "max_side must be an integer"),
        ({"max_side": True}, "max_side must be an integer"),
        ({"cached": -1}, "cached must be an integer >= 0, got -1"),
        ({"folders": ["no such folder"]}, "folders that exist, got 'no such folder'"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Pictures(**settings)


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path.read_bytes(), lambda _: Image.new("L", (3, 3))])
def test_without_pillow_the_extra_is_named(png_file: Path, make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = make(png_file)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'commonscale\[qa\]'"):
        Pictures([png_file.parent]).prepare(picture)


# --- what is kept


def test_the_same_file_is_prepared_once(png_file: Path, work: Counter[bytes]) -> None:
    prepares = Pictures([png_file.parent])
    first = prepares.prepare(png_file)
    assert prepares.prepare(png_file) is first
    assert work == {PNG: 1}


def test_the_same_content_is_prepared_once_whatever_it_comes_as(work: Counter[bytes]) -> None:
    prepares = Pictures()
    text = base64.b64encode(PNG).decode()
    same = [PNG, bytearray(PNG), memoryview(PNG), io.BytesIO(PNG), text, f"data:image/png;base64,{text}"]
    assert len({id(prepares.prepare(picture)) for picture in same}) == 1
    assert work == {PNG: 1}


@pytest.mark.parametrize("how", ["size", "time", "replaced"])
def test_a_file_that_changed_is_prepared_again(png_file: Path, how: str) -> None:
    prepares = Pictures([png_file.parent])
    assert color_of(prepares.prepare(png_file)) == (10, 200, 30)
    before = png_file.stat()
    if how == "size":
        png_file.write_bytes(encoded("red", (50, 50)))
    elif how == "time":
        content = encoded((255, 0, 0))
        png_file.write_bytes(content + bytes(len(PNG) - len(content)))
        os.utime(png_file, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        assert png_file.stat().st_size == before.st_size
    else:
        other = png_file.with_name("other.png")
        content = encoded((255, 0, 0))
        other.write_bytes(content + bytes(len(PNG) - len(content)))
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(png_file)
        assert (png_file.stat().st_size, png_file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert color_of(prepares.prepare(png_file)) == (255, 0, 0)


def test_a_bad_file_is_looked_at_once_until_it_changes(png_file: Path, work: Counter[bytes]) -> None:
    png_file.write_bytes(PNG[:50])
    prepares = Pictures([png_file.parent])
    for _ in range(3):
        with pytest.raises(ImageError, match=r"picture\.png': damaged"):
            prepares.prepare(png_file)
    assert work == {PNG[:50]: 1}
    png_file.write_bytes(PNG)
    assert color_of(prepares.prepare(png_file)) == (10, 200, 30)


def test_a_file_that_is_not_there_yet_is_found_later(tmp_path: Path) -> None:
    prepares = Pictures([tmp_path])
    with pytest.raises(ImageError, match="no such file"):
        prepares.prepare("late.png")
    (tmp_path / "late.png").write_bytes(PNG)
    assert color_of(prepares.prepare("late.png")) == (10, 200, 30)


def test_a_bad_picture_is_told_with_the_name_by_which_it_was_asked_for(png_file: Path) -> None:
    png_file.write_bytes(b"nothing")
    link = png_file.with_name("link.png")
    link.symlink_to(png_file)
    prepares = Pictures([png_file.parent])
    for name in ("picture.png", "link.png"):
        with pytest.raises(ImageError, match=f"^'{name}': not a picture"):
            prepares.prepare(name)


def test_pil_images_are_never_kept_since_they_can_be_changed() -> None:
    prepares, image = Pictures(), Image.new("RGB", (20, 20), "red")
    assert color_of(prepares.prepare(image)) == (255, 0, 0)
    image.paste((0, 0, 255), (0, 0, 20, 20))
    assert color_of(prepares.prepare(image)) == (0, 0, 255)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])
def test_copies_read_what_the_original_may_and_keep_their_own(
    copied: Callable[[Pictures], Pictures], png_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    original = Pictures([png_file.parent], max_side=20)
    first = original.prepare(png_file)
    again = copied(original).prepare(png_file)
    assert again is not first
    assert (again.content, again.width, again.height) == (first.content, 20, 15)
    outside = tmp_path_factory.mktemp("outside") / "a.png"
    outside.write_bytes(PNG)
    with pytest.raises(ImageError, match="outside the folders"):
        copied(original).prepare(outside)


def test_settings_do_not_share_what_is_kept(png_file: Path) -> None:
    small, large = Pictures([png_file.parent], max_side=8), Pictures([png_file.parent])
    assert small.prepare(png_file).width == 8
    assert large.prepare(png_file).width == 40


def test_leaving_the_folder_is_noticed_although_the_picture_is_kept(
    png_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prepares = Pictures([png_file.parent])
    prepares.prepare(png_file)
    moved = tmp_path_factory.mktemp("outside") / "picture.png"
    png_file.rename(moved)
    png_file.symlink_to(moved)
    with pytest.raises(ImageError, match="lies outside"):
        prepares.prepare(png_file)


# --- several at once


def many(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(encoded((number, 0, 0), (300, 200)))
    return paths


def test_threads_that_ask_for_the_same_picture_share_the_work(tmp_path: Path, work: Counter[bytes]) -> None:
    prepares, paths = Pictures([tmp_path]), many(tmp_path, 4)
    start = threading.Barrier(8)

    def ask(first: int) -> list[PreparedPicture]:
        start.wait(30)
        return [prepares.prepare(paths[(first + step) % 4]) for step in range(4)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert sorted(work.values()) == [1, 1, 1, 1]
    for first, given in enumerate(found):
        assert [color_of(picture)[0] for picture in given] == [(first + step) % 4 for step in range(4)]
    assert len({id(picture) for given in found for picture in given}) == 4


def test_prepared_ahead_is_there_when_asked_for(tmp_path: Path, work: Counter[bytes]) -> None:
    prepares, paths = Pictures([tmp_path]), many(tmp_path, 6)
    prepares.prepare_all(paths)
    assert len(work) == 6
    for number, path in enumerate(paths):
        assert color_of(prepares.prepare(path)) == (number, 0, 0)
    assert sum(work.values()) == 6


def test_errors_wait_until_their_picture_is_asked_for(tmp_path: Path, work: Counter[bytes]) -> None:
    prepares, paths = Pictures([tmp_path]), many(tmp_path, 2)
    (tmp_path / "bad.png").write_bytes(b"bad")
    prepares.prepare_all(["bad.png", "missing.png", "/etc/passwd", 5, *paths, "http://127.0.0.1/a.png"])
    assert color_of(prepares.prepare(paths[1])) == (1, 0, 0)
    for name, message in (("bad.png", "not a picture"), ("missing.png", "no such"), ("/etc/passwd", "outside")):
        with pytest.raises(ImageError, match=message):
            prepares.prepare(name)
    assert sum(work.values()) == 3


@pytest.mark.parametrize("cached", [0, 1, 3])
def test_no_more_are_prepared_ahead_than_are_kept(tmp_path: Path, cached: int, work: Counter[bytes]) -> None:
    prepares, paths = Pictures([tmp_path], cached=cached), many(tmp_path, 5)
    prepares.prepare_all(paths)
    assert sum(work.values()) == (cached if cached > 1 else 0)
    for number, path in enumerate(paths):
        assert color_of(prepares.prepare(path)) == (number, 0, 0)
    assert sum(work.values()) == 5


class Once(io.RawIOBase):
    """A stream that can be read only once, as one from the network."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        return self._inner.readinto(buffer)


def test_streams_that_can_be_read_only_once_are_left_for_then() -> None:
    prepares, streams = Pictures(), [Once(encoded((number, 0, 0))) for number in range(3)]
    prepares.prepare_all(streams)
    assert [color_of(prepares.prepare(stream))[0] for stream in streams] == [0, 1, 2]


def test_one_open_file_is_not_read_by_two_threads_at_once(work: Counter[bytes]) -> None:
    prepares, content = Pictures(), encoded((1, 2, 3), (400, 300))
    stream = io.BytesIO(content)
    stream.seek(7)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(prepares.prepare, [stream] * 64))
    assert {color_of(picture) for picture in found} == {(1, 2, 3)}
    assert work == {content: 1}
    assert stream.tell() == 7


def test_one_lazy_pil_image_is_not_decoded_by_two_threads_at_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.effect_noise((300, 200), 80).save(stream, "JPEG", exif=exif)
    expected = Pictures(max_side=90).prepare(stream.getvalue())
    for _ in range(5):
        image, prepares = Image.open(io.BytesIO(stream.getvalue())), Pictures(max_side=90)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(prepares.prepare, [image] * 16))
        assert (
            {(picture.width, picture.height) for picture in found} == {(expected.width, expected.height)} == {(60, 90)}
        )
        assert len({picture.content for picture in found}) == 1


@pytest.mark.parametrize("kind", ["PIL", "stream"])
def test_nothing_of_the_callers_is_entered_by_two_threads_at_once(kind: str) -> None:
    """Each thread waits inside for the other, which must not come; so the wait breaks off."""
    inside, met = threading.Barrier(2), []

    def wait_for_the_other() -> None:
        try:
            inside.wait(0.2)
            met.append("both")
        except threading.BrokenBarrierError:
            met.append("one")

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            wait_for_the_other()
            return super().read(size)

    picture = Stream(PNG)
    if kind == "PIL":
        picture = Image.open(io.BytesIO(PNG))
        load = picture.load

        def load_slowly() -> object:
            if not met:
                wait_for_the_other()
            return load()

        picture.load = load_slowly
    prepares = Pictures()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(prepares.prepare, [picture] * 2))
    assert [color_of(one) for one in found] == [(10, 200, 30)] * 2
    assert "one" in met
    assert "both" not in met


# --- in a prompt


def test_a_prompt_holds_small_pictures_and_leaves_out_bad_ones(tmp_path: Path, work: Counter[bytes]) -> None:
    paths = many(tmp_path, 3)
    paths[1].write_bytes(b"bad")
    items = [PromptItem(f"d{number}", "image", picture=str(path)) for number, path in enumerate(paths)]
    items.append(PromptItem("outside", "image", picture="/etc/passwd"))
    builder = PromptBuilder(Budget(images=3), Pictures([tmp_path], max_side=30))
    with pytest.warns(SkippedImageWarning, match="2 picture"):
        prompt = builder.build(items)
    assert [(sent.item.id, sent.picture.width, sent.picture.height) for sent in prompt.sent] == [
        ("d0", 30, 20),
        ("d2", 30, 20),
    ]
    assert [(left.item.id, left.reason) for left in prompt.left_out] == [
        ("d1", Reason.PICTURE),
        ("outside", Reason.PICTURE),
    ]
    assert "outside the folders" in prompt.left_out[1].detail
    assert sum(work.values()) == 3
