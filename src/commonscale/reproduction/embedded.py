"""What a data set has, as items to embed; and their vectors, by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commonscale.core.types import IMAGE, TEXT, Vector
from commonscale.datasets import DatasetQuestion, Passage, Picture
from commonscale.reproduction.embedding import QUESTION, Item, read_vectors

if TYPE_CHECKING:
    from commonscale.embedding import Shards


@dataclass(frozen=True, eq=False)
class Embedded:
    """Vectors by id.

    Attributes:
        shards: where they are kept.
        rows: the row of each id.
        vectors: unit vectors (n, d).
    """

    shards: Shards
    rows: dict[str, int]
    vectors: Vector

    @classmethod
    def of(cls, shards: Shards) -> Embedded:
        """Read shards."""
        ids, vectors = read_vectors(shards)
        return cls(shards, {key: row for row, key in enumerate(ids)}, vectors)


def asked_items(questions: Iterable[DatasetQuestion]) -> Iterator[Item]:
    """Make items of questions."""
    return (Item(question.id, QUESTION, question.text) for question in questions)


def text_items(passages: Iterable[Passage]) -> Iterator[Item]:
    """Make items of passages."""
    return (Item(passage.id, TEXT, passage.text) for passage in passages)


def image_items(pictures: Iterable[Picture]) -> Iterator[Item]:
    """Make items of pictures."""
    return (Item(picture.id, IMAGE, picture.name) for picture in pictures)
