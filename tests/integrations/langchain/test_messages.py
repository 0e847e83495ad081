"""Documents as content blocks."""

from __future__ import annotations

import base64
import io

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("PIL")

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage, is_data_content_block
from PIL import Image

from commonscale.core.errors import ImageError, InvalidInputError, SkippedImageWarning
from commonscale.encoders.images import ImageOptions
from commonscale.index import Document as IndexDocument
from commonscale.langchain import to_content_blocks
from commonscale.langchain.documents import as_document
from commonscale.langchain.pictures import sniffed
from commonscale.prompting import Pictures
from loopback import serve_file


def picture(kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), "red").save(buffer, kind)
    return buffer.getvalue()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


PNG = {"type": "image", "base64": encoded(picture()), "mime_type": "image/png"}


def image(content: str = "", **metadata: object) -> Document:
    return Document(id="pic", page_content=content, metadata={"modality": "image", **metadata})


def test_blocks_keep_the_order_and_captions_come_first(tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    documents = [
        Document("first", metadata={"modality": "text"}),
        image("a caption", image_path=str(tmp_path / "a.png")),
        Document("second"),
        image(image_path=tmp_path / "a.png"),
    ]
    blocks = to_content_blocks(documents)
    assert blocks == [
        {"type": "text", "text": "first"},
        {"type": "text", "text": "a caption"},
        PNG,
        {"type": "text", "text": "second"},
        PNG,
    ]
    message = HumanMessage(content_blocks=blocks)
    assert message.content_blocks == blocks
    assert is_data_content_block(blocks[2])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_type_is_told_by_the_bytes_not_by_the_name(kind, tmp_path):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {kind}")
    (tmp_path / "wrong.txt").write_bytes(picture(kind))
    (block,) = to_content_blocks([image(image_path="wrong.txt")], folder=tmp_path)
    assert block == {"type": "image", "base64": encoded(picture(kind)), "mime_type": f"image/{kind.lower()}"}


def test_what_is_no_picture_has_no_type():
    assert sniffed(b"") is None
    assert sniffed(b"RIFF1234WAVE") is None
    assert sniffed(b"\x00\x00\x00\x20ftypmp42") is None
    assert sniffed(b"\x00\x00\x00\x20ftypheic") == "image/heic"


def test_base64_urls_and_data_urls():
    text = encoded(picture())
    wrapped = "\n".join(text[i : i + 20] for i in range(0, len(text), 20))
    for given in (text, wrapped, f"data:image/png;base64,{text}"):
        assert to_content_blocks([image(image_base64=given)]) == [PNG]
    assert to_content_blocks([image(image_url=f"data:image/png;base64,{text}")]) == [PNG]
    assert to_content_blocks([image(image_url="https://e.org/a.png")]) == [
        {"type": "image", "url": "https://e.org/a.png"}
    ]
    (svg,) = to_content_blocks([image(image_base64=encoded(b"<svg/>"), mime_type="image/svg+xml")])
    assert svg["mime_type"] == "image/svg+xml"


def test_content_that_is_base64_is_no_caption():
    assert to_content_blocks([image(encoded(picture())), Document("words")], content_is_base64=True) == [
        PNG,
        {"type": "text", "text": "words"},
    ]


def test_keys_can_be_named():
    document = Document("caption", metadata={"kind": "figure", "b64": encoded(picture()), "type": "image/png"})
    blocks = to_content_blocks([document], modality_key="kind", image_base64_key="b64", mime_type_key="type")
    assert blocks == [{"type": "text", "text": "caption"}, PNG]
    assert to_content_blocks([Document("", metadata={"p": encoded(picture())})], image_base64_key="p") == [PNG]


def test_what_a_document_is_counts_before_what_it_was_found_as():
    text = encoded(picture())
    captioned = Document("caption", metadata={"commonscale_modality": "text", "image_base64": text})
    assert to_content_blocks([captioned]) == [{"type": "text", "text": "caption"}, PNG]
    article = Document("words", metadata={"modality": "text", "image_url": "https://e.org/thumbnail.png"})
    assert to_content_blocks([article]) == [{"type": "text", "text": "words"}]
    with pytest.raises(ImageError, match="'found' has no picture"):
        to_content_blocks([Document("", id="found", metadata={"commonscale_modality": "image"})])


def test_other_modalities_are_text_unless_their_metadata_name_a_picture():
    table = Document("| a | b |", metadata={"modality": "table"})
    found = Document("words", metadata={"commonscale_modality": "audio"})
    labeled = Document("words", metadata={"modality": "audio", "commonscale_modality": "image"})
    figure = Document("", metadata={"modality": "figure", "image_url": "https://e.org/a.png"})
    assert to_content_blocks([table, found, labeled, figure]) == [
        {"type": "text", "text": "| a | b |"},
        {"type": "text", "text": "words"},
        {"type": "text", "text": "words"},
        {"type": "image", "url": "https://e.org/a.png"},
    ]


@pytest.mark.parametrize(("modality", "named"), [("image", True), ("text", False), ("audio", False)])
def test_only_pictures_of_an_index_get_an_image_path(modality, named):
    document = as_document(IndexDocument("x", modality, text="hi", path="a.bin"), "x", modality)
    assert document.metadata["source"] == "a.bin"
    assert ("image_path" in document.metadata) is named


def test_words_that_begin_like_a_bitmap_are_not_sent(tmp_path):
    for words in (b"BM", b"BMW: private notes", b"BMI of patients, in kg/m2"):
        (tmp_path / "notes.bmp").write_bytes(words)
        with pytest.raises(ImageError, match="is no JPEG"):
            to_content_blocks([image(image_path=tmp_path / "notes.bmp")])
    (tmp_path / "real.bmp").write_bytes(picture("BMP"))
    assert to_content_blocks([image(image_path=tmp_path / "real.bmp")])[0]["mime_type"] == "image/bmp"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"image_path": "absent.png"}, r"'pic' cannot be read: .*absent.png.*folder="),
        ({"image_path": "."}, "'pic' cannot be read"),
        ({"image_path": "nul\0.png"}, "'pic' cannot be read"),
        ({"image_path": "words.txt"}, r"'pic' \(5 bytes\) is no JPEG"),
        ({"image_path": "empty.png"}, r"'pic' \(0 bytes\) is no JPEG"),
        ({"image_base64": "not base64!"}, "'pic' is not base64"),
        ({"image_base64": encoded(b"words")}, "is no JPEG"),
        ({"image_url": "ftp://e.org/a.png"}, r"'ftp://e.org/a.png' of document 'pic' is neither http\(s\) nor data"),
        ({"image_url": "file:///a.png"}, "is neither"),
        ({"image_url": "data:image/png;base64"}, "has no data"),
        ({"image_url": "data:image/png;base64,%%%"}, "damaged"),
        ({}, r"'pic' has no picture: none of metadata\['image_path'\]"),
    ],
)
def test_picture_that_cannot_be_sent(metadata, message, tmp_path):
    (tmp_path / "words.txt").write_bytes(b"words")
    (tmp_path / "empty.png").write_bytes(b"")
    documents = [Document("before"), image("caption", **metadata), Document("after")]
    with pytest.raises(ImageError, match=message):
        to_content_blocks(documents, folder=tmp_path)
    with pytest.warns(SkippedImageWarning, match="left out") as caught:
        blocks = to_content_blocks(documents, folder=tmp_path, missing="note")
    assert [block["text"] for block in blocks] == ["before", "caption", "[picture pic is not available]", "after"]
    assert caught[0].filename == __file__


def test_a_picture_that_cannot_be_downloaded_is_asked_for_once():
    pictures = Pictures(urls="download", options=ImageOptions(allow_private_addresses=True))
    with serve_file(b"no picture", "text/plain") as (address, asked):
        documents = [image("one", image_url=f"{address}/1"), image("two", image_url=f"{address}/2")]
        with pytest.warns(SkippedImageWarning, match="document .pic. cannot be sent: .http://127.*: not a picture"):
            blocks = to_content_blocks(documents, missing="note", pictures=pictures)
        assert [block["text"] for block in blocks][1::2] == ["[picture pic is not available]"] * 2
        assert len(asked) == 2
        with pytest.raises(ImageError, match="document 'pic' cannot be sent"):
            to_content_blocks(documents[:1], pictures=pictures)
        assert len(asked) == 3


def test_documents_are_not_changed_and_nothing_gives_nothing():
    document = image("caption", image_base64=encoded(picture()))
    before = document.model_copy(deep=True)
    to_content_blocks([document])
    assert document == before
    assert to_content_blocks([]) == []
    assert to_content_blocks([Document("")]) == []
    with pytest.raises(InvalidInputError, match="'raise' or 'note', got 'ignore'"):
        to_content_blocks([], missing="ignore")
