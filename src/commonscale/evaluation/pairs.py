"""Which questions and documents of a benchmark belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import FileFormatError
from commonscale.core.types import IMAGE, TEXT, Modality, Vector

MODALITIES: tuple[Modality, ...] = (TEXT, IMAGE)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Questions and documents that belong together.

    Attributes:
        questions: row of the question (R,).
        modalities: modality of the document (R,).
        documents: row of the document within its modality (R,).
    """

    questions: npt.NDArray[np.int64]
    modalities: npt.NDArray[np.str_]
    documents: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.questions)


def read_pairs(
    arrays: Mapping[str, npt.NDArray[Any]],
    keys: tuple[str, ...],
    questions: int,
    documents: Mapping[Modality, Vector],
    name: str,
) -> Pairs:
    """Check three arrays that name pairs.

    Args:
        arrays: by name, as in the file.
        keys: the names of the three: question, modality and document.
        questions: how many questions there are.
        documents: vectors by modality.
        name: where they come from, to begin error messages with.

    Returns:
        The pairs.

    Raises:
        FileFormatError: if shapes or types differ from the format, or a row does not exist.
    """
    question_key, modality_key, index_key = keys
    shapes = {key: arrays[key].shape for key in keys}
    if len(set(shapes.values())) > 1 or len(arrays[question_key].shape) != 1:
        raise FileFormatError(f"{name}: {', '.join(keys)} must all have shape (R,) for the same R, got {shapes}")
    labels = arrays[modality_key]
    if labels.dtype.kind != "U":
        raise FileFormatError(f"{name}: {modality_key} must hold the strings {MODALITIES}, got {labels.dtype}")
    if unknown := sorted(set(labels.tolist()) - set(MODALITIES)):
        raise FileFormatError(f"{name}: {modality_key} holds {unknown}; only {MODALITIES} are known")
    rows = _rows(arrays[question_key], np.full(len(labels), questions), question_key, name)
    sizes = np.where(labels == TEXT, len(documents[TEXT]), len(documents[IMAGE]))
    return Pairs(rows, labels, _rows(arrays[index_key], sizes, index_key, name))


def _rows(values: npt.NDArray[Any], sizes: npt.NDArray[Any], key: str, name: str) -> npt.NDArray[np.int64]:
    if values.dtype.kind not in "iu":
        raise FileFormatError(f"{name}: {key} must hold integers, got {values.dtype}")
    inside = (values >= 0) & (values < sizes)
    if not inside.all():
        first = int(np.argmin(inside))
        raise FileFormatError(
            f"{name}: {key}[{first}] is {int(values[first])}, but there are {int(sizes[first])} such rows, "
            f"counted from 0; take the row within the modality's own array"
        )
    return values.astype(np.int64)


def check_every_question_has_one(relevant: Pairs, questions: int, name: str) -> None:
    """Refuse questions without a relevant document.

    Raises:
        FileFormatError: if there are any; they cannot be scored.
    """
    without = np.setdiff1d(np.arange(questions), relevant.questions)
    if len(without):
        raise FileFormatError(
            f"{name}: {len(without)} of {questions} questions have no relevant document, the first is row "
            f"{int(without[0])}; they cannot be scored: name one in relevant_question or leave them out"
        )
