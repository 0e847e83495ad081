"""Text files: decoded strictly, and cut into passages that an encoder reads whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from commonscale.core.extras import require

_MARKDOWN = (".md", ".markdown")
_WINDOW = 64  # characters looked at in one go, for each token of the limit: some ten passages or more
_OVER = 8  # characters that as a rule hold more than one token, for each token of the limit
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

    Markdown is cut by its own structure (headings, lists, blocks). The time grows with the length of the text and not
    faster, whatever it holds: the splitter measures all of the rest before every passage, so it is shown no more than
    a window of a text at a time, and of what it measures only the beginning is counted where that is too long already.
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
        markdown = path.suffix.lower() in _MARKDOWN
        found = self._markdown(whole) if markdown else self._forward(whole)
        return [chunk for chunk in found if chunk.strip()]

    def _markdown(self, text: str) -> Iterator[str]:
        """Cut Markdown; in a line longer than a window, such as a picture in base64, there is no structure to heed."""
        long_line = re.compile(f"([^\n]{{{self._window},}})")
        for number, piece in enumerate(long_line.split(text)):
            if number % 2:
                yield from self._forward(piece)
            elif piece.strip():
                yield from self._splitter("MarkdownSplitter").chunks(piece)

    def _forward(self, text: str) -> Iterator[str]:
        """Cut a plain text window by window.

        The last passage of a window, which might have been longer, begins the next one; so the passages are those of
        the text in one piece.
        """
        start, size = 0, self._window
        while start < len(text):
            found = self._splitter("TextSplitter").chunk_indices(text[start : start + size])
            if start + size >= len(text):
                yield from (chunk for _, chunk in found)
                return
            if len(found) < 2:
                size *= 2
                continue
            yield from (chunk for _, chunk in found[:-1])
            start, size = start + found[-1][0], self._window

    @property
    def _window(self) -> int:
        return _WINDOW * (self._limit or 1)

    def _splitter(self, kind: str) -> Any:
        if kind not in self._splitters:
            splitters = require("semantic_text_splitter", "embedding")
            self._splitters[kind] = getattr(splitters, kind).from_callback(self._size, self._limit)
        return self._splitters[kind]

    def _size(self, text: str) -> int:
        """Count the tokens of a text, or of a part of it that is over the limit already."""
        limit = self._limit or 0
        length = _OVER * limit
        while length < len(text):
            size = self._count([text[:length]])[0]
            if size > limit:
                return size
            length *= 4
        return self._count([text])[0]
