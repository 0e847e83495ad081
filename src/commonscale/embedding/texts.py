"""Text files: decoded strictly, and cut into passages that an encoder reads whole."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
        """Set the limit; what splits is made when a text is over it.

        Args:
            count_tokens: counts the tokens of each whole text.
            max_tokens: the most that a passage may have; None leaves texts whole.
        """
        self._count = count_tokens
        self._limit = max_tokens
        self._splitters: dict[str, Any] = {}

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
        splitter = self._splitter("MarkdownSplitter" if path.suffix.lower() in _MARKDOWN else "TextSplitter")
        return [chunk for chunk in splitter.chunks(whole) if chunk.strip()]

    def _splitter(self, kind: str) -> Any:
        if kind not in self._splitters:
            splitters = require("semantic_text_splitter", "embedding")
            self._splitters[kind] = getattr(splitters, kind).from_callback(self._size, self._limit)
        return self._splitters[kind]

    def _size(self, text: str) -> int:
        return self._count([text])[0]
