"""What is read from a corpus, on its way to the encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from commonscale.core.types import TEXT, Modality, Vector
from commonscale.embedding.records import ShardFailure
from commonscale.embedding.texts import Chunker


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A passage or a picture.

    Attributes:
        id: the document's id.
        modality: ``"text"`` or ``"image"``.
        content: what the encoder reads: the words; a path or the bytes of a picture.
        path: where the file lies, None if there is none.
        metadata: what the document remembers.
        vector: its vector, where an earlier run has computed it.
    """

    id: str
    modality: Modality
    content: Any
    path: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    vector: Vector | None = None

    @property
    def text(self) -> str:
        """The words; "" for a picture."""
        return self.content if self.modality == TEXT else ""


Entry: TypeAlias = "list[Item | ShardFailure]"
"""All that one file or row gives."""


def passages(text: str, key: str, chunker: Chunker | None, source: Path) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Cut a text into passages that the encoder reads whole.

    Args:
        text: all of it, not blank.
        key: the id of the whole.
        chunker: cuts it; None leaves it whole.
        source: its file, whose extension says whether it is Markdown.

    Yields:
        The id of each (``key``; ``key#1``, ``key#2``, ... if there are several), its words, and its number among how
        many.
    """
    found = [text.strip()] if chunker is None else chunker.chunks(text, source)
    for number, passage in enumerate(found, start=1):
        name = key if len(found) == 1 else f"{key}#{number}"
        yield name, passage, {"passage": number, "passages": len(found)}
