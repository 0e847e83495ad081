"""WebQA's pictures: one huge file of base64 lines, and an index of where each line begins."""

from __future__ import annotations

import base64
import binascii
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from commonscale.core.errors import FileFormatError, ImageError
from commonscale.datasets.lines import read_lines

_MODULUS = 10_000_000
"""A picture's line is its id modulo this (WebQA's demo notebook)."""


class TsvPictures:
    """Pictures as ``imgs.tsv`` has them: ``id TAB base64`` a line, found by byte offset.

    The index is either ``imgs.lineidx``, one offset a line, where the line is the id modulo 10,000,000; or UniVL-DR's
    ``imgs.lineidx.new``, ``id TAB offset``. It is held in memory: eight bytes a picture, or some hundred with ids.

    Attributes:
        path: the file of pictures.
        index: the file of offsets.
    """

    def __init__(self, path: Path, index: Path) -> None:
        self.path = path
        self.index = index

    def open(self, name: str) -> bytes:
        """Give the bytes of a picture's file; ``name`` is its id.

        Raises:
            ImageError: if there is none of that id, or its base64 is damaged.
            FileFormatError: if the index does not belong to the file.
        """
        offset = self._offset(name)
        with self.path.open("rb") as stream:
            stream.seek(offset)
            line = stream.readline()
        key, tab, body = line.partition(b"\t")
        if not tab or key.strip().decode("ascii", "replace") != name:
            raise FileFormatError(
                f"{self.path}: has {key[:40]!r} at byte {offset}, where {self.index.name} says that picture {name} is; "
                f"they do not belong together: get both again"
            )
        try:
            return base64.b64decode(body.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ImageError(f"{self.path}: picture {name} is no base64: {error}") from error

    @cached_property
    def _offsets(self) -> npt.NDArray[np.int64] | dict[str, int]:
        offsets: list[int] = []
        keyed: dict[str, int] = {}
        for where, line in read_lines(self.index):
            key, tab, last = line.rpartition("\t")
            if not last.strip().isdecimal():
                raise FileFormatError(f"{where}: a byte offset is needed, got {line[:60]!r}; get the file again")
            if tab:
                keyed[key.strip()] = int(last)
            else:
                offsets.append(int(last))
        return keyed if keyed else np.array(offsets, dtype=np.int64)

    def _offset(self, name: str) -> int:
        known = self._offsets
        if isinstance(known, dict):
            if name not in known:
                raise ImageError(f"{self.index}: has no picture {name!r}")
            return known[name]
        line = int(name) % _MODULUS if name.isdecimal() else len(known)
        if line >= len(known):
            raise ImageError(f"{self.index}: has no line for picture {name!r}, it has {len(known)} lines")
        return int(known[line])
