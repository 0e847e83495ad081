"""Prompts of real pictures: Pillow shrinks and encodes them, and what is sent is what is counted."""

from __future__ import annotations

import ast
import io
import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from commonscale.core.errors import SkippedImageWarning
from commonscale.prompting import (
    PICTURE_RULES,
    Budget,
    PicturePart,
    Pictures,
    PreparedPicture,
    PromptBuilder,
    PromptItem,
    Reason,
    TextPart,
)

Image = pytest.importorskip("PIL.Image")

DOCUMENT = (Path(__file__).parents[3] / "docs/prompting.md").read_text(encoding="utf-8")


def encoded(size: tuple[int, int], color: str = "red", kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, kind)
    return stream.getvalue()


def test_a_picture_costs_what_its_shrunk_size_costs() -> None:
    builder = PromptBuilder(Budget(image_tokens="gpt-4.1-nano"), Pictures(max_side=512))
    prompt = builder.build([PromptItem("a", "image", picture=encoded((2000, 1000)))])
    picture = prompt.sent[0].picture
    assert (picture.width, picture.height) == (512, 256)
    assert prompt.tokens == 1 + PICTURE_RULES["gpt-4.1-nano"](512, 256)
    with Image.open(io.BytesIO(picture.content)) as sent:
        assert sent.size == (512, 256)


def test_texts_and_pictures_interleave_and_bad_ones_give_their_place_to_the_next(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    good, broken, secret = tmp_path / "allowed/good.png", tmp_path / "allowed/broken.png", tmp_path / "secret.png"
    good.write_bytes(encoded((64, 48), "green"))
    broken.write_bytes(encoded((64, 48))[:40])
    secret.write_bytes(encoded((64, 48), "blue"))
    items = [
        PromptItem("text", "text", "Some words."),
        PromptItem("secret", "image", picture=secret),
        PromptItem("broken", "image", picture=broken),
        PromptItem("good", "image", "A caption.", good),
        PromptItem("address", "image", picture="https://example.com/a.png"),
        PromptItem("passage", "text", "More words.", broken),
        PromptItem("bytes", "image", picture=encoded((30, 20))),
    ]
    builder = PromptBuilder(Budget(images=2), Pictures([tmp_path / "allowed"]))
    with pytest.warns(SkippedImageWarning, match=r"^4 picture\(s\) left out"):
        prompt = builder.build(items)
    assert [sent.item.id for sent in prompt.sent] == ["text", "good", "passage", "bytes"]
    assert {left.item.id: left.reason for left in prompt.left_out} == dict.fromkeys(
        ["secret", "broken", "address"], Reason.PICTURE
    )
    kinds = [(type(part), part.number) for part in prompt.parts]
    assert kinds == [(TextPart, 1), (TextPart, 2), (PicturePart, 2), (TextPart, 3), (TextPart, 4), (PicturePart, 4)]
    with Image.open(io.BytesIO(prompt.sent[1].picture.content)) as sent:
        assert sent.convert("RGB").getpixel((0, 0)) == (0, 128, 0)


def test_an_address_that_is_passed_on_counts_as_the_dearest_picture() -> None:
    address = "https://93.184.216.34/a.png"
    builder = PromptBuilder(Budget(tokens=1500, image_tokens="gpt-4o"), Pictures(urls="pass"))
    prompt = builder.build([PromptItem(name, "image", picture=address) for name in "ab"])
    assert prompt.sent[0].picture.url == address
    assert prompt.sent[0].tokens == 1 + 1445
    assert prompt.left_out[0].reason is Reason.TOKENS


def test_a_real_tokenizer_bounds_what_is_sent() -> None:
    tiktoken = pytest.importorskip("tiktoken")
    merges = [bytes([byte]) for byte in range(256)] + [b"th", b"the", b" t", b" the", b"ar", b"bo", b"bour"]
    ranks = {piece: rank for rank, piece in enumerate(merges)}
    encoding = tiktoken.Encoding("tiny", pat_str=r" ?\w+|[^\w]", mergeable_ranks=ranks, special_tokens={})
    items = [PromptItem(str(place), "text", f"the harbour [{place}] of the island " * 9) for place in range(9)]
    prompt = PromptBuilder(Budget(tokens=500, item_tokens=90, text_tokens=encoding.encode)).build(items)
    assert len(prompt.sent) == 5
    assert all(sent.cut and len(encoding.encode(sent.text)) <= 90 for sent in prompt.sent)
    assert sum(len(encoding.encode(part.text)) for part in prompt.parts) <= prompt.tokens <= 500


def test_llama_index_counts_any_picture_as_the_flat_rule() -> None:
    types = pytest.importorskip("llama_index.core.base.llms.types")
    block = types.ImageBlock(image=encoded((8, 8)))
    assert block.estimate_tokens() == PICTURE_RULES["flat"](8, 8)


def test_the_example_of_the_document_runs_and_gives_what_stands_there() -> None:
    example = DOCUMENT.partition("```python\n")[2].partition("```")[0]
    lines = example.splitlines()
    names: dict[str, Any] = {"png": encoded((200, 100))}
    shown = 0
    for node in ast.parse(example).body:
        code = ast.unparse(node)
        if isinstance(node, ast.Expr):
            comments = itertools.takewhile(lambda line: line.startswith("#"), lines[node.end_lineno :])
            found = re.sub(r"PreparedPicture\(.*?\)(?=,)", "PreparedPicture(...)", repr(eval(code, names)))
            assert found == " ".join(line.lstrip("# ") for line in comments)
            shown += 1
        else:
            exec(code, names)
    assert shown == 4


def test_a_prepared_picture_hides_its_content_where_it_is_shown() -> None:
    assert "content" not in repr(PreparedPicture(b"12345", "image/png", 1, 1))
