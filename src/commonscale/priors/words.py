"""The words of a question as a vector: which ones occur, hashed to fixed places."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from commonscale.core.types import Floats

PLACES = 2048
"""Length of the vectors. A few thousand different words share them; more places gain little (docs/priors.md)."""

_WORD = re.compile(r"\w+")


def word_vectors(texts: Sequence[str]) -> Floats:
    """Mark the words of each text at places given by their hash (Weinberger et al. 2009, without signs).

    No vocabulary is kept, so nothing of the questions is written to a file but weights.

    Args:
        texts: any number; in any language that parts words.

    Returns:
        Shape (n, ``PLACES``), float64: rows of unit norm, null for texts without words.
    """
    rows = np.zeros((len(texts), PLACES))
    for row, text in zip(rows, texts, strict=True):
        for word in set(_WORD.findall(text.casefold())):
            row[zlib.crc32(word.encode("utf-8", "surrogatepass")) % PLACES] = 1.0
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))
