"""WebQA as UniVL-DR prepared it for retrieval (Liu et al. 2023): one corpus, three splits, relevance files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from commonscale.core.errors import FileFormatError, InvalidInputError
from commonscale.core.types import IMAGE, TEXT
from commonscale.datasets.lines import Record, field, optional, read_lines, read_records
from commonscale.datasets.locating import Publication, Wanted, find_files, seek
from commonscale.datasets.records import DatasetQuestion, DocumentKey, Passage, Picture, one_modality
from commonscale.datasets.tsv_pictures import TsvPictures
from commonscale.datasets.webqa import SPLITS, cleaned

PUBLICATION = Publication(
    "WebQA as UniVL-DR prepared it",
    "https://github.com/OpenMatch/UniVL-DR",
    "its README links the prepared data; data/process_data.py there makes them from the official files, which "
    "https://github.com/WebQnA/WebQA links; imgs.tsv comes from there too",
)
_PASSAGES = Wanted(("all_docs.json",), "the passages")
_CAPTIONS = Wanted(("all_imgs.json",), "the pictures' captions")
_PICTURES = (
    Wanted(("imgs.tsv",), "the pictures"),
    Wanted(("imgs.lineidx.new", "imgs.lineidx"), "the place of each picture"),
)


class UniVLDR:
    """The files ``all_docs.json``, ``all_imgs.json``, ``{train,dev,test}.json`` and ``{dev,test}_qrels.txt``.

    Pictures are in WebQA's ``imgs.tsv``, found by ``imgs.lineidx.new`` or by the official ``imgs.lineidx``. Where a
    split has a file of relevance judgments, that decides; training questions have none and name their documents.

    Captions are handed on but are no part of a picture's vector unless a caller makes them so: UniVL-DR adds them.

    Attributes:
        folder: where the files are.
    """

    name = "webqa"
    evaluation_split = "test"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Set up; files are looked for when they are read.

        Args:
            folder: where the files are.
        """
        self.folder = Path(folder)

    @staticmethod
    def is_in(folder: str | os.PathLike[str]) -> bool:
        """Say whether a folder holds WebQA in this form."""
        return seek(Path(folder), ("all_docs.json",)) is not None

    def check_files(self, splits: Sequence[str]) -> None:
        """Look for all files that the questions of some splits and the corpus need, without reading them.

        Raises:
            MissingDataError: naming all that are missing.
        """
        find_files(self.folder, [*map(_questions, splits), _PASSAGES, _CAPTIONS, *_PICTURES], PUBLICATION)

    def questions(self, split: str) -> Iterator[DatasetQuestion]:
        """Read the questions of a split.

        Args:
            split: ``"train"``, ``"dev"`` or ``"test"``.

        Raises:
            InvalidInputError: if there is no such split.
            MissingDataError: if its file is missing.
            FileFormatError: naming file and line, if it is damaged.
        """
        if split not in SPLITS:
            raise InvalidInputError(f"UniVL-DR's WebQA has no split {split!r}; there are {', '.join(SPLITS)}")
        judged = self._judgments(split)
        path = find_files(self.folder, [_questions(split)], PUBLICATION)[0]
        for where, record in read_records(path):
            yield _question(record, where, judged)

    def passages(self) -> Iterator[Passage]:
        """Read every passage; see ``RetrievalDataset``."""
        path = find_files(self.folder, [_PASSAGES], PUBLICATION)[0]
        for where, record in read_records(path):
            text, title = (cleaned(optional(record, name, str, where, "")) for name in ("fact", "title"))
            yield Passage(field(record, "snippet_id", str, where), text, title)

    def pictures(self) -> Iterator[Picture]:
        """Read what is known of every picture; see ``RetrievalDataset``."""
        path = find_files(self.folder, [_CAPTIONS], PUBLICATION)[0]
        for where, record in read_records(path):
            key = _image_id(record, where)
            caption, title = (cleaned(optional(record, name, str, where, "")) for name in ("caption", "title"))
            yield Picture(key, key, title, caption)

    @cached_property
    def store(self) -> TsvPictures:
        """Where the pictures are.

        Raises:
            MissingDataError: if they are missing.
        """
        return TsvPictures(*find_files(self.folder, _PICTURES, PUBLICATION))

    def _judgments(self, split: str) -> dict[str, list[str]] | None:
        path = seek(self.folder, (f"{split}_qrels.txt",))
        if path is None:
            return None
        found: dict[str, list[str]] = {}
        for where, line in read_lines(path):
            parts = line.split("\t")
            if len(parts) < 3 or not parts[-1].strip().lstrip("-").isdecimal():
                raise FileFormatError(
                    f"{where}: question, document and relevance are needed, with tabs between them, got {line[:80]!r}; "
                    f"get the file again"
                )
            if int(parts[-1]) > 0:
                found.setdefault(parts[0].strip(), []).append(parts[-2].strip())
        return found


def _questions(split: str) -> Wanted:
    return Wanted((f"{split}.json",), f"the {split} questions")


def _question(record: Record, where: str, judged: dict[str, list[str]] | None) -> DatasetQuestion:
    key = field(record, "qid", str, where)
    named = {part: _documents(record, part, where) for part in ("pos", "neg")}
    relevant = named["pos"]
    if judged is not None:
        kinds = {document: modality for modality, document in named["pos"] + named["neg"]}
        relevant = [(kinds.get(document, _modality(document)), document) for document in judged.get(key, [])]
    unique = tuple(dict.fromkeys(relevant))
    modality = one_modality(unique)
    return DatasetQuestion(
        key,
        cleaned(field(record, "Q", str, where)),
        modality or "",
        modality,
        unique,
        tuple(dict.fromkeys(named["pos"] + named["neg"])),
    )


def _documents(record: Record, part: str, where: str) -> list[DocumentKey]:
    found: list[DocumentKey] = []
    for modality, prefix in ((TEXT, "txt"), (IMAGE, "img")):
        ids = optional(record, f"{prefix}_{part}Facts", list, where, [])
        found += [(modality, str(key)) for key in ids]
    return found


def _modality(document: str) -> str:
    """Tell pictures, whose ids are numbers, from snippets, whose ids end in an underscore and a number."""
    return IMAGE if document.isdecimal() else TEXT


def _image_id(record: Record, where: str) -> str:
    value = record.get("image_id")
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise FileFormatError(f"{where}: 'image_id' must be a number, got {value!r}; get the file again")
    return str(value)
