"""Documents as what could be sent: identity, modality, pictures; and that metadata reach no further than allowed."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from PIL import Image

from commonscale.core.errors import ImageError, InvalidInputError, SkippedImageWarning
from commonscale.langchain import ImageKeys, prompt_blocks, prompt_items, to_content_blocks
from commonscale.prompting import Budget, Pictures, PromptBuilder


def picture(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), color).save(buffer, "PNG")
    return buffer.getvalue()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def image(content: str = "", **metadata: Any) -> Document:
    return Document(content, id="pic", metadata={"modality": "image", **metadata})


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder that may be read, with a picture, and a picture beside it that may not."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "a.png").write_bytes(picture())
    (tmp_path / "secret.png").write_bytes(picture("blue"))
    return allowed, tmp_path / "secret.png"


def test_scores_modalities_and_payload():
    documents = [
        Document("a", id="x", metadata={"commonscale_score": 1.5, "commonscale_cosine": 0.2, "modality": "table"}),
        Document("b", id="y", metadata={"commonscale_modality": "audio"}),
        Document("c", id="z"),
        Document("d", metadata={"image_url": "https://example.org/a.png"}),
        image("e", image_path="a.png", commonscale_modality="text"),
        Document("f", id="w", metadata={"modality": "text", "image_path": "thumbnail.png"}),
    ]
    items = prompt_items(documents)
    assert [(item.id, item.modality, item.text, item.score, item.cosine) for item in items] == [
        ("x", "table", "a", 1.5, 0.2),
        ("y", "audio", "b", None, None),
        ("z", "text", "c", None, None),
        ("#4", "image", "d", None, None),
        ("pic", "image", "e", None, None),
        ("w", "text", "f", None, None),
    ]
    assert [item.picture for item in items] == [None] * 3 + ["https://example.org/a.png", Path("a.png"), None]
    assert all(item.payload is document for item, document in zip(items, documents, strict=True))


def test_a_document_without_id_gets_one_that_nobody_has():
    documents = [Document("a", id="#2"), Document("b"), Document("c"), Document("d", id="##2")]
    assert [item.id for item in prompt_items(documents)] == ["#2", "###2", "#3", "##2"]


@pytest.mark.parametrize("value", ["n/a", None, True, [0.5]])
def test_what_others_wrote_under_our_keys_is_no_score(value):
    strange = {"commonscale_score": value, "commonscale_cosine": value}
    (item,) = prompt_items([Document("a", metadata=strange)])
    assert (item.score, item.cosine) == (None, None)


def test_keys_can_be_named(folders):
    allowed, _ = folders
    keys = ImageKeys(path="file", modality="kind", folder=allowed)
    (item,) = prompt_items([Document("a", id="a", metadata={"kind": "image", "file": "a.png"})], keys)
    assert (item.modality, item.picture) == ("image", allowed / "a.png")
    (content,) = prompt_items([image(encoded(picture()))], ImageKeys(content_is_base64=True))
    assert content.text == ""
    assert Pictures().prepare(content.picture).mime_type == "image/png"


@pytest.mark.parametrize("given", [encoded(picture()), f"data:image/png;base64,{encoded(picture())}"])
def test_base64_is_preferred_and_needs_no_permission(given):
    (item,) = prompt_items([image(image_base64=given, image_path="a.png", image_url="https://example.org/a.png")])
    assert Pictures().prepare(item.picture).width == 5


def test_images_that_name_no_picture_are_told_of():
    with pytest.warns(SkippedImageWarning, match=r"1 image document\(s\), such as 'pic', name no picture") as caught:
        (item,) = prompt_items([image("a caption", uri="a.png")])
    assert caught[0].filename == __file__
    assert (item.text, item.picture) == ("a caption", None)


def test_only_documents_are_taken():
    with pytest.raises(InvalidInputError, match="got one document None"):
        prompt_items(Document("a"))
    with pytest.raises(InvalidInputError, match="got one with a int: 5"):
        prompt_items([5])


def wishes(secret: Path) -> dict[str, dict[str, Any]]:
    """What metadata may try in order to read a file outside."""
    return {
        "absolute": {"image_path": str(secret)},
        "upwards": {"image_path": "../secret.png"},
        "file URL as a path": {"image_path": f"file://{secret}"},
        "file URL": {"image_url": f"file://{secret}"},
        "path as a URL": {"image_url": str(secret)},
        "path as base64": {"image_base64": str(secret)},
        "URL as a path": {"image_path": "http://127.0.0.1:9/a.png"},
        "private URL": {"image_url": "http://127.0.0.1:9/a.png"},
        "metadata service": {"image_url": "http://169.254.169.254/latest/meta-data"},
        "null": {"image_path": "a.png\0"},
        "not text": {"image_path": 5},
    }


@pytest.mark.parametrize("wish", list(wishes(Path("x"))))
@pytest.mark.parametrize("urls", ["refuse", "pass", "download"])
def test_metadata_reach_no_further_than_allowed(folders, wish, urls, loopback_only):
    allowed, secret = folders
    document = image("a caption", **wishes(secret)[wish])
    pictures = Pictures([allowed], urls=urls)
    with pytest.warns(SkippedImageWarning, match="'pic' cannot be sent"):
        prompt = PromptBuilder(None, pictures).build(prompt_items([document]))
    assert prompt.sent == ()
    with pytest.raises(ImageError, match="'pic' cannot be sent"):
        to_content_blocks([document], pictures=pictures)
    with pytest.warns(SkippedImageWarning, match="left out of the message"):
        blocks = to_content_blocks([document], pictures=pictures, missing="note")
    assert blocks == [
        {"type": "text", "text": "a caption"},
        {"type": "text", "text": "[picture pic is not available]"},
    ]


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_a_link_leads_nowhere(folders):
    allowed, secret = folders
    (allowed / "link.png").symlink_to(secret)
    with pytest.raises(ImageError, match="outside the folders"):
        to_content_blocks([image(image_path="link.png")], pictures=Pictures([allowed]))


def test_allowed_pictures_become_blocks_shrunk(folders):
    allowed, _ = folders
    Image.new("RGB", (400, 200), "green").save(allowed / "large.png")
    documents = [image("a caption", image_path="a.png"), Document("words"), image(image_path="large.png")]
    blocks = to_content_blocks(documents, pictures=Pictures([allowed], max_side=100))
    assert [block["type"] for block in blocks] == ["text", "image", "text", "image"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(blocks[place]["base64"]))).size for place in (1, 3)]
    assert sizes == [(5, 4), (100, 50)]
    in_folder = to_content_blocks(documents, pictures=Pictures([allowed], max_side=100), folder=allowed)
    assert in_folder == blocks
    url = to_content_blocks([image(image_url="https://example.org/a.png")], pictures=Pictures(urls="pass"))
    assert url == [{"type": "image", "url": "https://example.org/a.png"}]
    with pytest.raises(ImageError, match="'pic' has no picture: none of"):
        to_content_blocks([image()], pictures=Pictures([allowed]))


def test_a_prompt_becomes_numbered_blocks(folders):
    allowed, _ = folders
    documents = [Document("words", id="t"), image("a caption", image_path="a.png"), Document("too much", id="u")]
    prompt = PromptBuilder(Budget(items=2), Pictures([allowed])).build(prompt_items(documents))
    blocks = prompt_blocks(prompt)
    assert [block.get("text", block["type"]) for block in blocks] == [
        "<documents>",
        "[1] words",
        "[2] a caption",
        "image",
        "</documents>",
    ]
    assert HumanMessage(content_blocks=blocks).content_blocks == blocks
    empty = PromptBuilder().build([])
    assert prompt_blocks(empty) == [{"type": "text", "text": "No documents were found for this question."}]
