"""Text files: decoded strictly, and cut into passages that an encoder reads whole."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from pathlib import Path

from commonscale.core.extras import require

_MARKDOWN = (".md", ".markdown")
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def decode(data: bytes) -> str:
    """Decode a text file: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Nothing is guessed or replaced: a wrong guess would put garbage into the index without a word.

    Raises:
        ValueError: if it is anything else, or holds no text.
    """
    encoding = _MARKS.get(data[:2], "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not {encoding.removesuffix('-sig').upper()}: {error.reason} at byte {error.start}; convert it to UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError("not a text: it contains null characters")
    if not text.strip():
        raise ValueError("no text in it")
    return text


class Chunker:
    """Cuts texts at paragraphs, sentences or words, so that no passage exceeds an encoder's limit.

    Markdown is cut by its own structure (headings, lists, blocks).
    """

    def __init__(self, count_tokens: Callable[[Sequence[str]], list[int]], max_tokens: int | None) -> None:
        """Prepare the splitters.

        Args:
            count_tokens: counts the tokens of each whole text.
            max_tokens: the most that a passage may have; None leaves texts whole.
        """
        splitters = require("semantic_text_splitter", "cli")
        self._count = count_tokens
        self._limit = max_tokens
        if max_tokens is not None:
            self._plain = splitters.TextSplitter.from_callback(self._size, max_tokens)
            self._markdown = splitters.MarkdownSplitter.from_callback(self._size, max_tokens)

    def chunks(self, text: str, path: Path) -> list[str]:
        """Cut one text.

        Args:
            text: all of it, not empty.
            path: its extension says whether it is Markdown.

        Returns:
            Its passages in order, each without white space at its ends; one if it is short enough.
        """
        whole = text.strip()
        if self._limit is None or self._size(whole) <= self._limit:
            return [whole]
        splitter = self._markdown if path.suffix.lower() in _MARKDOWN else self._plain
        return [chunk for chunk in splitter.chunks(whole) if chunk.strip()]

    def _size(self, text: str) -> int:
        return self._count([text])[0]
