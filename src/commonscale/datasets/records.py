"""What a data set consists of: questions, passages and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from commonscale.core.types import Modality

if TYPE_CHECKING:
    from commonscale.datasets.pictures import PictureStore

DocumentKey: TypeAlias = tuple[Modality, str]
"""A document: its modality and its id."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of the corpus.

    Attributes:
        id: its id in the data set.
        text: its words, as the encoder reads them; may be empty where the published file has nothing.
        title: the page it comes from.
    """

    id: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the corpus.

    Attributes:
        id: its id in the data set.
        name: what its ``PictureStore`` finds it by.
        title: the page it comes from.
        caption: its caption; "" where the data set has none.
    """

    id: str
    name: str
    title: str = ""
    caption: str = ""


@dataclass(frozen=True, slots=True)
class DatasetQuestion:
    """A question with what the data set says of it.

    Attributes:
        id: its id in the data set.
        text: its words.
        kind: what the data set calls its type, such as ``"TextQ"``.
        modality: the one modality that its relevant documents have; None if they are of several, or there are none.
        relevant: the documents that answer it; empty for splits that are published without them.
        context: all documents that the data set shows beside it, relevant or not.
    """

    id: str
    text: str
    kind: str
    modality: Modality | None
    relevant: tuple[DocumentKey, ...] = ()
    context: tuple[DocumentKey, ...] = ()


class RetrievalDataset(Protocol):
    """Questions of one kind of document or the other, over one corpus of passages and pictures.

    Every method reads its file anew, one record at a time: memory does not grow with the corpus, except for the ids of
    those whose files name a document more than once.
    """

    @property
    def name(self) -> str:
        """Name for tables and folders."""
        ...

    @property
    def evaluation_split(self) -> str:
        """The split that the papers evaluate on; ``"train"`` is the one that they calibrate with."""
        ...

    @property
    def store(self) -> PictureStore:
        """Where the pictures are."""
        ...

    def questions(self, split: str) -> Iterator[DatasetQuestion]:
        """Read the questions of a split, in the order of the file."""
        ...

    def passages(self) -> Iterator[Passage]:
        """Read every passage of the corpus once."""
        ...

    def pictures(self) -> Iterator[Picture]:
        """Read what is known of every picture of the corpus, once; not the pictures themselves."""
        ...


def one_modality(relevant: tuple[DocumentKey, ...]) -> Modality | None:
    """Give the modality of all relevant documents; None if there are several, or none."""
    found = {modality for modality, _ in relevant}
    return found.pop() if len(found) == 1 else None
