"""MixBench (GR-CLIP, arXiv 2507.19054): texts, pictures and documents of both in one corpus, in four subsets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from commonscale.core.errors import FileFormatError, ImageError, InvalidInputError, MissingDataError
from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.datasets.lines import Record
from commonscale.datasets.locating import Publication, Wanted, lacking_files, missing
from commonscale.datasets.pictures import FolderPictures
from commonscale.datasets.tables import read_rows, table_files

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput

PUBLICATION = Publication(
    "MixBench",
    "https://huggingface.co/datasets/mixed-modality-search/MixBench25",
    "clone the repository with git lfs, so that its folders MSCOCO, Google_WIT, VisualNews and OVEN are here",
)
SUBSETS = ("Google_WIT", "OVEN", "MSCOCO", "VisualNews")
"""The subsets, in the order of the paper's figures."""

MIXED: Modality = "mixed"
"""The modality of a document that has both words and a picture."""

_ID = ("id", "_id")
_SAME_IDS = "MSCOCO"
"""The one subset in which a question and its document share an id (the authors' own scripts rely on it)."""


# The tables of a subset: what they are called, and what they hold.
_QUESTIONS = (("query", "queries"), "the questions")
_CORPUS = (("mixed_corpus",), "the mixed corpus")
_JUDGMENTS = (("qrel", "qrels"), "which documents answer which questions")


@dataclass(frozen=True, slots=True)
class MixedDocument:
    """A document with words, a picture, or both.

    Attributes:
        id: its id.
        text: its words; None if it has none.
        image: its picture: a name to open with the subset, or the bytes of a file; None if it has none.
    """

    id: str
    text: str | None
    image: str | bytes | None

    @property
    def modality(self) -> Modality:
        """``"text"``, ``"image"``, or ``"mixed"`` if it has both."""
        if self.image is None:
            return TEXT
        return IMAGE if self.text is None else MIXED


class MixBench:
    """A folder with one folder for each subset.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets that are there.

        Raises:
            MissingDataError: if there are none.
        """
        found = tuple(name for name in SUBSETS if (self.folder / name).is_dir())
        if not found:
            raise MissingDataError(missing(self.folder, SUBSETS, PUBLICATION, "a subset"))
        return found

    def check_files(self) -> None:
        """Look for the tables of all subsets that are there, without reading them.

        Raises:
            MissingDataError: if there is no subset, or naming all tables that are missing.
        """
        lacking = [table for name in self.subsets for table in self.subset(name).lacking()]
        if lacking:
            raise lacking_files(self.folder, lacking, PUBLICATION)

    def subset(self, name: str) -> MixBenchSubset:
        """Open a subset.

        Raises:
            InvalidInputError: if MixBench has none of that name.
            MissingDataError: if it is not in the folder.
        """
        if name not in SUBSETS:
            raise InvalidInputError(f"MixBench has no subset {name!r}; there are {', '.join(SUBSETS)}")
        if not (self.folder / name).is_dir():
            raise MissingDataError(missing(self.folder, (name,), PUBLICATION, "a subset"))
        return MixBenchSubset(self.folder / name, self.folder)


class MixBenchSubset:
    """One subset, in any of the published forms.

    Tables are Parquet or JSON lines, whole or in parts: ``query`` or ``queries``; ``mixed_corpus``; ``qrel`` or
    ``qrels`` (the latter also as text with a header). Columns are those of MixBench25 (``query_id, corpus_id, text,
    image, score``), of MixBench2025 (``id, text, image`` with the picture inside) and of the older card (``qid cid
    score``). The authors' scripts disagree whether all of the path ``image`` counts or its last part: both are tried.

    Attributes:
        folder: where it is.
        name: its name.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._root = root

    def questions(self) -> Iterator[tuple[str, str]]:
        """Read ids and words of the questions; one without words is left out, and none is published.

        Raises:
            MissingDataError: if there is no table of them.
            FileFormatError: naming file and row, if it is damaged.
        """
        for where, row in self._rows(*_QUESTIONS):
            text = _words(row, where)
            if text is not None:
                yield _key(row, ("query_id", "qid", *_ID), where), text

    def documents(self) -> Iterator[MixedDocument]:
        """Read the mixed corpus: words only, a picture only, or both; see ``questions`` for errors."""
        for where, row in self._rows(*_CORPUS):
            document = MixedDocument(
                _key(row, ("corpus_id", "cid", *_ID), where), _words(row, where), _picture(row, where)
            )
            if document.text is None and document.image is None:
                raise FileFormatError(f"{where}: the document {document.id!r} has neither words nor a picture")
            yield document

    def relevant(self) -> dict[str, list[str]]:
        """Read which documents answer each question, by the question's id.

        MSCOCO may lack the table: there, and only there, a question's document has the same id.

        Raises:
            MissingDataError: if there is no table of them, and ids do not tell.
            FileFormatError: naming file and row, if it is damaged.
        """
        if not self.has_judgments and self.name == _SAME_IDS:
            return {key: [key] for key, _ in self.questions()}
        found: dict[str, list[str]] = {}
        for where, row in self._rows(*_JUDGMENTS):
            if _score(row, where) > 0:
                question = _key(row, ("query_id", "qid", "query-id"), where)
                found.setdefault(question, []).append(_key(row, ("corpus_id", "cid", "corpus-id"), where))
        return found

    def lacking(self) -> list[Wanted]:
        """Give the tables that are needed and not there, named from the folder of all subsets."""
        needed = [_QUESTIONS, _CORPUS, *([] if self.name == _SAME_IDS else [_JUDGMENTS])]
        return [
            Wanted(_shown([f"{self.name}/{name}" for name in names]), what)
            for names, what in needed
            if not table_files(self.folder, names)
        ]

    @property
    def has_judgments(self) -> bool:
        """Whether a table says which documents answer which questions."""
        return bool(table_files(self.folder, _JUDGMENTS[0]))

    def open(self, name: str) -> ImageInput:
        """Give one picture as encoders take it.

        Raises:
            ImageError: if there is none of that name.
        """
        places = (self._root / name, self.folder / name, self.folder / "images" / PurePosixPath(name).name)
        for place in places:
            if place.is_file():
                return place
        try:
            return self._store.open(name)
        except ImageError as error:
            raise ImageError(f"{self.folder}: holds no picture {name!r}") from error

    @cached_property
    def _store(self) -> FolderPictures:
        return FolderPictures(self.folder)

    def _rows(self, names: Sequence[str], what: str) -> Iterator[tuple[str, Record]]:
        files = table_files(self.folder, names)
        if not files:
            raise MissingDataError(missing(self.folder, _shown(names), PUBLICATION, what))
        return read_rows(files)


def _shown(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}.parquet or {name}.jsonl" for name in names)


def _key(row: Record, names: Sequence[str], where: str) -> str:
    for name in names:
        if row.get(name) not in (None, ""):
            return str(row[name])
    raise FileFormatError(f"{where}: has none of the columns {', '.join(names)}; it has {', '.join(row)}")


def _words(row: Record, where: str) -> str | None:
    text = row.get("text")
    if text is not None and not isinstance(text, str):
        raise FileFormatError(f"{where}: 'text' must be words, got a {type(text).__name__}")
    return (text or "").strip() or None


def _picture(row: Record, where: str) -> str | bytes | None:
    image: Any = row.get("image")
    if isinstance(image, dict):  # as the datasets library stores pictures
        image = image.get("bytes") or image.get("path")
    if image is not None and not isinstance(image, (str, bytes)):
        raise FileFormatError(f"{where}: 'image' must be a path or a picture's bytes, got a {type(image).__name__}")
    return image or None


def _score(row: Record, where: str) -> int:
    try:
        return int(row["score"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{where}: 'score' must be a whole number, got {row.get('score')!r}") from error
