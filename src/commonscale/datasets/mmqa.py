"""MultiModalQA (Talmor et al. 2021): questions over Wikipedia's texts, pictures and tables, in the official files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from commonscale.core.errors import InvalidInputError, MissingDataError
from commonscale.core.types import IMAGE, TEXT
from commonscale.datasets.lines import Record, field, optional, read_records, records_of
from commonscale.datasets.locating import Publication, Wanted, find_files, missing, seek
from commonscale.datasets.pictures import FolderPictures, PictureStore, ZipPictures
from commonscale.datasets.records import DatasetQuestion, DocumentKey, Passage, Picture, one_modality

PUBLICATION = Publication(
    "MultiModalQA",
    "https://github.com/allenai/multimodalqa",
    "its folder dataset has the questions, texts and tables, and its README links the pictures",
)
SPLITS = ("train", "dev", "test")
_TEXTS, _IMAGES = "the texts", "what is known of the pictures"
PICTURES = ("final_dataset_images", "final_dataset_images.zip", "images")
_PUBLISHED = PICTURES[1:] + PICTURES[:1]  # what a message names first


class MultiModalQA:
    """The official files ``MMQA_{train,dev,test,images,texts}.jsonl.gz`` (or ``.jsonl``) and the pictures.

    Pictures are in ``final_dataset_images.zip`` as published, or in a folder that it was unpacked to. Tables are left
    out: this is about texts and pictures, and questions that need a table belong to neither kind.

    Attributes:
        folder: where the files are.
    """

    name = "mmqa"
    evaluation_split = "dev"

    def __init__(self, folder: str | os.PathLike[str], pictures: str | os.PathLike[str] | None = None) -> None:
        """Set up; files are looked for when they are read.

        Args:
            folder: where the files are.
            pictures: a folder, or the zip archive, of pictures; None looks for it beside the files.
        """
        self.folder = Path(folder)
        self._pictures = None if pictures is None else Path(pictures)

    def check_files(self, splits: Sequence[str]) -> None:
        """Look for all files that the questions of some splits and the corpus need, without reading them.

        Raises:
            MissingDataError: naming all that are missing.
        """
        wanted = [_wanted(split, f"the {split} questions") for split in splits]
        wanted += [_wanted("texts", _TEXTS), _wanted("images", _IMAGES)]
        pictures = _PUBLISHED if self._pictures is None else (str(self._pictures.absolute()),)
        find_files(self.folder, [*wanted, Wanted(pictures, "the pictures")], PUBLICATION)

    def questions(self, split: str) -> Iterator[DatasetQuestion]:
        """Read the questions of a split.

        Args:
            split: ``"train"``, ``"dev"`` or ``"test"``; the last is published without relevant documents.

        Yields:
            All questions in the order of the file; ``modality`` is set for those of kind ``"TextQ"`` and ``"ImageQ"``,
            which need one kind of document.

        Raises:
            InvalidInputError: if there is no such split.
            MissingDataError: if its file is missing.
            FileFormatError: naming file and line, if it is damaged.
        """
        if split not in SPLITS:
            raise InvalidInputError(f"MultiModalQA has no split {split!r}; there are {', '.join(SPLITS)}")
        for where, record in read_records(self._file(split, f"the {split} questions")):
            yield _question(record, where)

    def passages(self) -> Iterator[Passage]:
        """Read every text; see ``RetrievalDataset``."""
        for where, record in read_records(self._file("texts", _TEXTS)):
            text = optional(record, "text", str, where, "")
            yield Passage(field(record, "id", str, where), text.strip(), optional(record, "title", str, where, ""))

    def pictures(self) -> Iterator[Picture]:
        """Read what is known of every picture; see ``RetrievalDataset``."""
        for where, record in read_records(self._file("images", _IMAGES)):
            key = field(record, "id", str, where)
            name = optional(record, "path", str, where, key)
            yield Picture(key, name, optional(record, "title", str, where, ""))

    @cached_property
    def store(self) -> PictureStore:
        """Where the pictures are.

        Raises:
            MissingDataError: if they are missing.
        """
        place = self._pictures or seek(self.folder, PICTURES)
        if place is None or not place.exists():
            raise MissingDataError(missing(place or self.folder, PICTURES[1:], PUBLICATION, "the pictures"))
        return FolderPictures(place) if place.is_dir() else ZipPictures(place)

    def _file(self, part: str, what: str) -> Path:
        return find_files(self.folder, [_wanted(part, what)], PUBLICATION)[0]


def _wanted(part: str, what: str) -> Wanted:
    return Wanted((f"MMQA_{part}.jsonl.gz", f"MMQA_{part}.jsonl"), what)


def _question(record: Record, where: str) -> DatasetQuestion:
    metadata = optional(record, "metadata", dict, where, {})
    kind = optional(metadata, "type", str, where, "")
    relevant: list[DocumentKey] = []
    for entry in records_of(record, "supporting_context", where):
        part = field(entry, "doc_part", str, where)
        if part in (TEXT, IMAGE):
            relevant.append((part, field(entry, "doc_id", str, where)))
    unique = tuple(dict.fromkeys(relevant))
    context = tuple(
        dict.fromkeys(
            [(TEXT, key) for key in optional(metadata, "text_doc_ids", list, where, [])]
            + [(IMAGE, key) for key in optional(metadata, "image_doc_ids", list, where, [])]
        )
    )
    return DatasetQuestion(
        field(record, "qid", str, where),
        field(record, "question", str, where).strip(),
        kind,
        one_modality(unique) if kind in ("TextQ", "ImageQ") else None,
        unique,
        context,
    )
