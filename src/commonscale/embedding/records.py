"""What a shard holds: embedded documents, and what could not be embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Modality, Vector

EXTRA = "embedding"
"""The extra of Commonscale that brings what this package needs: pyarrow."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardBatch:
    """Embedded documents, column by column; all columns have the same length n.

    Attributes:
        ids: their names, unique among all shards of a corpus.
        modalities: ``"text"`` or ``"image"``, or any other label.
        vectors: unit rows, shape (n, dimension), float32.
        texts: the words, "" for a picture.
        paths: where the file lies, None if there is none.
        metadata: anything that JSON can hold, by name.
    """

    ids: Sequence[str]
    modalities: Sequence[Modality]
    vectors: Vector
    texts: Sequence[str]
    paths: Sequence[str | None]
    metadata: Sequence[Mapping[str, Any]]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__slots__}
        if len(set(lengths.values())) > 1:
            raise InvalidInputError(f"the columns of a batch must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class ShardFailure:
    """Something that could not be embedded.

    Attributes:
        id: its file or row, as its document would have been called.
        reason: why, in one sentence.
        transient: whether it could not be read, by a disk or a network: the next run tries again.
    """

    id: str
    reason: str
    transient: bool = False
