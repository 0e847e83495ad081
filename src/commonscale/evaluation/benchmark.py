"""Benchmarks of embeddings: the ``.npz`` format, read and checked.

A file holds, without pickle:

    questions              (Q, d)  floating point, Q >= 1
    calibration_questions  (C, d)  unlabeled; may have no rows
    texts                  (T, d)  the passages; may have no rows
    images                 (I, d)  the pictures; may have no rows, but T + I >= 1
    relevant_question      (R,)    rows of questions,
    relevant_modality      (R,)    'text' or 'image', and
    relevant_index         (R,)    rows of texts or images: one relevant document each

and optionally, all three or none, ``calibration_relevant_question``, ``calibration_relevant_modality`` and
``calibration_relevant_index``: the same for calibration questions, for statistics from labeled pairs. Other arrays
are ignored.

Every question needs at least one relevant document; a pair named twice counts once. Vectors may have any norm:
what is scored is their cosine. Null vectors and vectors with NaN or infinity have none and are refused.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.dense import unit_rows
from commonscale.core.errors import FileFormatError, InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Modality, Question, Vector
from commonscale.evaluation.pairs import Pairs, check_every_question_has_one, read_pairs
from commonscale.evaluation.sources import VectorSource

_VECTORS = ("questions", "calibration_questions", "texts", "images")
_RELEVANT = ("relevant_question", "relevant_modality", "relevant_index")
_LABELED = tuple(f"calibration_{name}" for name in _RELEVANT)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Embedded questions and documents, and which of them belong together.

    Attributes:
        name: where it came from.
        questions: unit vectors (Q, d).
        calibration_questions: unit vectors (C, d) of other questions, to calibrate with.
        documents: unit vectors (n, d) by modality, with a key for ``"text"`` and one for ``"image"``.
        relevant: the relevant documents of the questions.
        calibration_relevant: those of the calibration questions; None if the file has no such labels.
    """

    name: str
    questions: Vector
    calibration_questions: Vector
    documents: Mapping[Modality, Vector]
    relevant: Pairs
    calibration_relevant: Pairs | None = None

    @cached_property
    def asked(self) -> list[Question]:
        """The questions, ready to search with."""
        return [Question(vector=vector) for vector in self.questions]

    @cached_property
    def bank(self) -> list[Question]:
        """The calibration questions, ready to search with."""
        return [Question(vector=vector) for vector in self.calibration_questions]

    @cached_property
    def sources(self) -> dict[Modality, VectorSource]:
        """One exact source per modality, which all methods share: what one searched, the next need not."""
        return {modality: VectorSource(modality, vectors) for modality, vectors in self.documents.items()}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Benchmark:
        """Read and check a benchmark file.

        Args:
            path: the ``.npz`` file.

        Returns:
            The benchmark, with vectors scaled to norm 1.

        Raises:
            FileNotFoundError: if there is no such file.
            FileFormatError: if it is damaged, no ``.npz`` file, or its arrays are not those of the format.
        """
        name = os.fspath(path)
        return cls.from_arrays(_read(Path(path), name), name)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], name: str = "benchmark") -> Benchmark:
        """Check the arrays of a benchmark.

        Args:
            arrays: by name, as in the file.
            name: where they come from, to begin error messages with.

        Returns:
            The benchmark, with vectors scaled to norm 1.

        Raises:
            FileFormatError: if they are not those of the format.
        """
        missing = [key for key in (*_VECTORS, *_RELEVANT) if key not in arrays]
        if missing:
            raise FileFormatError(
                f"{name}: lacks {', '.join(missing)}; it holds {sorted(arrays)}; "
                f"write the missing arrays with numpy.savez"
            )
        _check_shapes({key: arrays[key] for key in _VECTORS}, name)
        questions, calibration, texts, images = (_unit_rows(arrays[key], key, name) for key in _VECTORS)
        documents = {TEXT: texts, IMAGE: images}
        relevant = read_pairs(arrays, _RELEVANT, len(questions), documents, name)
        check_every_question_has_one(relevant, len(questions), name)
        labeled = None
        if present := [key for key in _LABELED if key in arrays]:
            if len(present) < len(_LABELED):
                raise FileFormatError(
                    f"{name}: has {', '.join(present)} only; give all of {', '.join(_LABELED)}, or none"
                )
            labeled = read_pairs(arrays, _LABELED, len(calibration), documents, name)
        return cls(name, questions, calibration, documents, relevant, labeled)


def _read(path: Path, name: str) -> dict[str, npt.NDArray[Any]]:
    # Opened here, so that a missing or unreadable file raises the OSError that says so.
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise FileFormatError(f"{name}: not an .npz file, or cut short; write it with numpy.savez")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                members = {key: archive[key] for key in archive.files}
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise FileFormatError(
                f"{name}: cannot be read: {error}; the file is damaged or holds pickled objects; "
                f"write plain arrays with numpy.savez"
            ) from error
    # Members of the archive that are no arrays come back as bytes.
    return {key: member for key, member in members.items() if isinstance(member, np.ndarray)}


def _unit_rows(values: npt.NDArray[Any], key: str, name: str) -> Vector:
    try:
        return unit_rows(values)
    except InvalidInputError as error:
        norms = np.linalg.norm(values.astype(np.float64), axis=1)
        usable = np.isfinite(norms) & (norms > 0)
        raise FileFormatError(
            f"{name}: {int((~usable).sum())} of {len(values)} vectors in {key} are null or not finite, the first is "
            f"row {int(np.argmin(usable))}; they have no cosine: embed these items again or leave them out"
        ) from error


def _check_shapes(vectors: Mapping[str, npt.NDArray[Any]], name: str) -> None:
    for key, values in vectors.items():
        if values.ndim != 2 or values.dtype.kind != "f":
            raise FileFormatError(
                f"{name}: {key} must be floating point of shape (n, d), got {values.dtype} of shape {values.shape}"
            )
    dimensions = {key: values.shape[1] for key, values in vectors.items()}
    if len(set(dimensions.values())) > 1 or 0 in dimensions.values():
        raise FileFormatError(f"{name}: all vectors need the same dimension of at least 1, got {dimensions}")
    if not len(vectors["questions"]):
        raise FileFormatError(f"{name}: questions has no rows; there is nothing to evaluate")
    if not len(vectors["texts"]) and not len(vectors["images"]):
        raise FileFormatError(f"{name}: texts and images have no rows; there is nothing to search")
