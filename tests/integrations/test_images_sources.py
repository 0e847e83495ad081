"""Every kind of input that stands for a picture, and how a string is told apart."""

from __future__ import annotations

import base64
import errno
import io
from pathlib import Path

import pytest

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.encoders.image_sources import describe
from commonscale.encoders.images import ImageOptions, load_image

Image = pytest.importorskip("PIL.Image")


def picture(size: tuple[int, int] = (8, 6)) -> Image.Image:
    """A picture whose every pixel differs from its neighbors."""
    image = Image.new("RGB", size)
    image.putdata([(x * 30 % 256, y * 40 % 256, (x + y) * 17 % 256) for y in range(size[1]) for x in range(size[0])])
    return image


def encoded(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


PNG = encoded(picture())


@pytest.fixture
def png_file(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    return path


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(PNG, id="bytes"),
        pytest.param(bytearray(PNG), id="bytearray"),
        pytest.param(memoryview(PNG), id="memoryview"),
        pytest.param(io.BytesIO(PNG), id="BytesIO"),
        pytest.param(picture(), id="PIL"),
        pytest.param(base64.b64encode(PNG).decode(), id="base64"),
        pytest.param(base64.encodebytes(PNG).decode(), id="base64-with-line-breaks"),
        pytest.param(base64.b64encode(PNG).decode().rstrip("="), id="base64-without-padding"),
        pytest.param("data:image/png;base64," + base64.b64encode(PNG).decode(), id="data-uri"),
        pytest.param("DATA:image/png;charset=x;BASE64," + base64.b64encode(PNG).decode(), id="data-uri-capitals"),
        pytest.param("data:image/png," + "".join(f"%{byte:02x}" for byte in PNG), id="data-uri-percent"),
    ],
)
def test_kinds_of_input(source):
    assert load_image(source).tobytes() == picture().tobytes()


@pytest.mark.parametrize("kind", [Path, str])
def test_paths(png_file, kind):
    assert load_image(kind(png_file)).tobytes() == picture().tobytes()


def test_other_path_likes(png_file):
    class Named:
        def __fspath__(self) -> str:
            return str(png_file)

    assert load_image(Named()).tobytes() == picture().tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_base64_is_recognized_by_the_first_bytes_of_each_format(kind):
    image = load_image(base64.b64encode(encoded(picture(), kind)).decode())
    assert image.size == (8, 6)


def test_a_string_that_looks_like_base64_but_holds_no_picture_is_a_path():
    with pytest.raises(ImageError, match="no such file"):
        load_image(base64.b64encode(b"plain text, only text, nothing but text").decode())


@pytest.mark.parametrize("text", ["a folder of pictures with a long name and no dot", " " * 40 + "abcde", "/" * 41])
def test_base64_characters_alone_do_not_make_base64(text):
    with pytest.raises(ImageError, match=r"no such file|is a folder"):
        load_image(text)


def test_an_existing_file_with_a_name_like_base64_is_read_as_a_path_object(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = base64.b64encode(PNG[:36]).decode().replace("/", "A")
    Path(name).write_bytes(PNG)
    assert load_image(Path(name)).size == (8, 6)
    with pytest.raises(ImageError, match=r"damaged|not a picture"):
        load_image(name)


def test_damaged_base64_in_a_data_uri():
    with pytest.raises(ImageError, match="damaged base64"):
        load_image("data:image/png;base64,iVBORw0KGgo*")


def test_data_uri_without_data():
    with pytest.raises(ImageError, match="comma"):
        load_image("data:image/png;base64")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "https://example.org/a.png"])
def test_urls_are_refused_unless_allowed(url):
    with pytest.raises(ImageError, match="allow_urls=True"):
        load_image(url)


@pytest.mark.parametrize("url", ["ftp://example.org/a.png", "file:///etc/hostname", "s3://bucket/a.png"])
def test_other_schemes_are_never_opened(url):
    with pytest.raises(ImageError, match="only http and https"):
        load_image(url, ImageOptions(allow_urls=True))


def test_no_such_file_names_the_path(tmp_path):
    missing = tmp_path / "no" / "dog.jpg"
    for source in (missing, str(missing)):
        with pytest.raises(ImageError, match=r"dog\.jpg.*no such file"):
            load_image(source)


def test_folder(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)


def test_device():
    device = Path("/dev/zero")
    if not device.exists():
        pytest.skip("this system has no /dev/zero")
    with pytest.raises(ImageError, match="device or pipe"):
        load_image(device)


def test_null_character_in_a_path():
    with pytest.raises(ImageError, match=r"no such file|cannot be opened"):
        load_image("dog\0.png")


def test_name_too_long_for_the_file_system():
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image("dog." * 2000)


class Failing(io.FileIO):
    """A file that opens, and fails at the second read or at once."""

    def __init__(self, path: Path, number: int, reads: int) -> None:
        super().__init__(path)
        self.number, self.reads = number, reads

    def _fail(self) -> None:
        self.reads -= 1
        if self.reads < 0:
            raise OSError(self.number, "the disk's own words")

    def read(self, size: int = -1) -> bytes:
        self._fail()
        return super().read(size)

    def readinto(self, buffer: bytearray) -> int:
        self._fail()
        return super().readinto(buffer)


@pytest.mark.parametrize("reads", [0, 1])
def test_an_error_while_reading_is_of_the_picture(png_file, monkeypatch, reads):
    monkeypatch.setattr(Path, "open", lambda path, mode: Failing(path, errno.EIO, reads))
    with pytest.raises(ImageError, match=r"picture\.png.*damaged: OSError: .*own words"):
        load_image(png_file)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT])
def test_trouble_of_the_machine_is_not_of_the_picture(png_file, monkeypatch, number):
    def refuse(path, mode):
        raise OSError(number, "the system's own words", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match="own words") as caught:
        load_image(png_file)
    assert caught.value.errno == number
    monkeypatch.setattr(Path, "open", lambda path, mode: Failing(path, number, 1))
    with pytest.raises(OSError, match="own words"):
        load_image(png_file)


def test_links_in_a_circle(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        try:
            (tmp_path / name).symlink_to(tmp_path / other)
        except OSError:
            pytest.skip("this system lets nobody make links")
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image(tmp_path / "a")


@pytest.mark.parametrize("source", [None, 3, object(), ["dog.png"]])
def test_things_that_are_no_picture(source):
    with pytest.raises(ImageError, match="not a picture: a path"):
        load_image(source)


def test_an_open_file_is_read_from_its_start_and_left_where_it_was(png_file):
    with png_file.open("rb") as stream:
        stream.seek(5)
        assert load_image(stream).size == (8, 6)
        assert stream.tell() == 5
        assert not stream.closed


def test_a_stream_that_cannot_seek():
    class Pipe:
        def __init__(self, content: bytes) -> None:
            self.content = content

        def read(self) -> bytes:
            return self.content

    assert load_image(Pipe(PNG)).tobytes() == picture().tobytes()


def test_a_file_open_as_text(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with path.open() as stream, pytest.raises(ImageError, match="mode 'rb'"):
        load_image(stream)


def test_a_closed_file():
    stream = io.BytesIO(PNG)
    stream.close()
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(stream)


def test_a_closed_pil_image(png_file):
    image = Image.open(png_file)
    image.close()
    with pytest.raises(ImageError, match="damaged"):
        load_image(image)


def test_the_callers_image_is_never_changed_nor_handed_back():
    image = picture()
    image.getexif()[0x0112] = 3
    before = (image.tobytes(), image.mode, image.size, dict(image.info), dict(image.getexif()))
    result = load_image(image)
    result.paste((0, 0, 0), (0, 0, 8, 6))
    assert (image.tobytes(), image.mode, image.size, dict(image.info), dict(image.getexif())) == before
    plain = picture()
    load_image(plain).paste((0, 0, 0), (0, 0, 8, 6))
    assert plain.tobytes() == picture().tobytes()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Path("a/dog.png"), "dog.png"),
        (b"12345", "<5 bytes>"),
        (Image.new("L", (3, 4)), "<PIL image L 3x4>"),
        (io.BytesIO(), "<BytesIO>"),
        ("x" * 500, "(500 characters)"),
    ],
)
def test_descriptions_are_short(source, words):
    assert words in describe(source)
    assert len(describe(source)) < 80


def test_descriptions_of_urls_hold_no_secrets():
    text = describe("https://user:hunter2@example.org/a/dog.png?token=hunter2#hunter2")
    assert text == "'https://example.org/a/dog.png'"


@pytest.mark.parametrize("name", ["max_pixels", "max_aspect_ratio", "max_bytes", "timeout"])
def test_limits_must_be_positive(name):
    with pytest.raises(InvalidInputError, match=name):
        ImageOptions(**{name: 0})
