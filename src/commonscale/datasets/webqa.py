"""WebQA (Chang et al. 2021) in its official files, with the corpus and the splits of UniVL-DR (Liu et al. 2023)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from commonscale.core.errors import FileFormatError, InvalidInputError
from commonscale.core.types import IMAGE, TEXT
from commonscale.datasets.lines import Record, field, optional, read_entries, records_of
from commonscale.datasets.locating import Publication, Wanted, find_files
from commonscale.datasets.records import DatasetQuestion, DocumentKey, Passage, Picture, one_modality
from commonscale.datasets.tsv_pictures import TsvPictures

PUBLICATION = Publication(
    "WebQA",
    "https://github.com/WebQnA/WebQA",
    "its README links the main data and the 51 parts of the pictures, which 7z joins to imgs.tsv and imgs.lineidx",
)
SPLITS = ("train", "dev", "test")
DEVELOPMENT = 5000
"""Questions that UniVL-DR takes out of the official training questions."""
_SEED = 1234
_TRAIN_VAL = Wanted(("WebQA_train_val.json", "WebQA_train_val.json.gz"), "the training and validation questions")
_TEST = Wanted(("WebQA_test.json", "WebQA_test.json.gz"), "the test questions, whose documents are part of the corpus")
_PICTURES = (Wanted(("imgs.tsv",), "the pictures"), Wanted(("imgs.lineidx",), "the place of each picture"))


class WebQA:
    """The official files ``WebQA_train_val.json``, ``WebQA_test.json``, ``imgs.tsv`` and ``imgs.lineidx``.

    The official test questions have no relevant documents, so the splits are those of UniVL-DR, which the paper
    follows: ``test`` is the official validation split; ``dev`` are 5,000 of the official training questions, drawn
    with NumPy's generator and the seed 1234; ``train`` are the others. The corpus are all passages and pictures that
    any question shows, of the official test questions too, each once.

    Captions are handed on but are no part of a picture's vector unless a caller makes them so.

    Attributes:
        folder: where the files are.
    """

    name = "webqa"
    evaluation_split = "test"

    def __init__(self, folder: str | os.PathLike[str], development: int = DEVELOPMENT) -> None:
        """Set up; files are looked for when they are read.

        Args:
            folder: where the files are.
            development: how many official training questions make up ``dev``.
        """
        self.folder = Path(folder)
        self._development = development

    def check_files(self, splits: Sequence[str]) -> None:  # noqa: ARG002 (all splits are drawn from one file)
        """Look for all files that the questions of some splits and the corpus need, without reading them.

        Raises:
            MissingDataError: naming all that are missing.
        """
        find_files(self.folder, [_TRAIN_VAL, _TEST, *_PICTURES], PUBLICATION)

    def questions(self, split: str) -> Iterator[DatasetQuestion]:
        """Read the questions of a split.

        Args:
            split: ``"train"``, ``"dev"`` or ``"test"``, as UniVL-DR calls them.

        Yields:
            Its questions, in the order of the official file; ``kind`` is WebQA's ``Qcate``.

        Raises:
            InvalidInputError: if there is no such split.
            MissingDataError: if the file is missing.
            FileFormatError: naming file and entry, if it is damaged.
        """
        if split not in SPLITS:
            raise InvalidInputError(f"WebQA has no split {split!r}; there are {', '.join(SPLITS)}")
        for where, key, entry in read_entries(self._train_val):
            official = _official_split(entry, where)
            drawn = "dev" if official == "train" and key in self._development_ids else "train"
            if split == ("test" if official == "val" else drawn):
                yield _question(key, entry, where)

    def passages(self) -> Iterator[Passage]:
        """Read every passage once; see ``RetrievalDataset``."""
        seen: set[str] = set()
        for where, fact in self._facts("txt"):
            key = field(fact, "snippet_id", str, where)
            if key not in seen:
                seen.add(key)
                text = cleaned(optional(fact, "fact", str, where, ""))
                yield Passage(key, text, cleaned(optional(fact, "title", str, where, "")))

    def pictures(self) -> Iterator[Picture]:
        """Read what is known of every picture once; see ``RetrievalDataset``."""
        seen: set[str] = set()
        for where, fact in self._facts("img"):
            key = str(field(fact, "image_id", int, where))
            if key not in seen:
                seen.add(key)
                caption, title = (optional(fact, name, str, where, "") for name in ("caption", "title"))
                yield Picture(key, key, cleaned(title), cleaned(caption))

    @cached_property
    def store(self) -> TsvPictures:
        """Where the pictures are.

        Raises:
            MissingDataError: if they are missing.
        """
        return TsvPictures(*find_files(self.folder, _PICTURES, PUBLICATION))

    def _facts(self, kind: str) -> Iterator[tuple[str, Record]]:
        """Give all facts of a kind; those of the questions that are published without answers come last."""
        for where, _, entry in read_entries(self._train_val):
            for name in (f"{kind}_posFacts", f"{kind}_negFacts"):
                yield from ((where, fact) for fact in records_of(entry, name, where))
        for where, _, entry in read_entries(self._test):
            yield from ((where, fact) for fact in records_of(entry, f"{kind}_Facts", where))

    @property
    def _train_val(self) -> Path:
        return find_files(self.folder, [_TRAIN_VAL], PUBLICATION)[0]

    @property
    def _test(self) -> Path:
        return find_files(self.folder, [_TEST], PUBLICATION)[0]

    @cached_property
    def _development_ids(self) -> frozenset[str]:
        train = [key for where, key, entry in read_entries(self._train_val) if _official_split(entry, where) == "train"]
        # The old generator, as UniVL-DR's script has it: its draws are fixed for all versions of NumPy.
        np.random.RandomState(_SEED).shuffle(train)
        return frozenset(train[: self._development])


def cleaned(text: str) -> str:
    """Take away the quotes and carriage returns that WebQA's texts are wrapped in, as UniVL-DR's script does."""
    return text.strip().strip('"').replace("\r", "").strip()


def _official_split(entry: Record, where: str) -> str:
    split = field(entry, "split", str, where)
    if split not in ("train", "val"):
        raise FileFormatError(f"{where}: 'split' must be 'train' or 'val', got {split!r}; get the file again")
    return split


def _question(key: str, entry: Record, where: str) -> DatasetQuestion:
    facts: dict[str, list[DocumentKey]] = {"pos": [], "neg": []}
    for part, documents in facts.items():
        for fact in records_of(entry, f"txt_{part}Facts", where):
            documents.append((TEXT, field(fact, "snippet_id", str, where)))
        for fact in records_of(entry, f"img_{part}Facts", where):
            documents.append((IMAGE, str(field(fact, "image_id", int, where))))
    relevant = tuple(dict.fromkeys(facts["pos"]))
    return DatasetQuestion(
        key,
        cleaned(field(entry, "Q", str, where)),
        optional(entry, "Qcate", str, where, ""),
        one_modality(relevant),
        relevant,
        tuple(dict.fromkeys(facts["pos"] + facts["neg"])),
    )
