"""The search over an index in a folder, as the commands and the answering pipeline open it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commonscale.core.search import JointSearch
from commonscale.index.faiss_index import FaissIndex
from commonscale.index.opening import encoder_for, indexed_folder, open_filled_index
from commonscale.index.scale import load_calibration

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder


@dataclass(frozen=True, eq=False)
class OpenedIndex:
    """An index with its encoder, ready to be searched.

    Attributes:
        index: the documents; read-only, its vectors are mapped.
        search: over all its modalities, with the calibration that lies beside it, if there is one.
        encoder: the one that the index was made with.
    """

    index: FaissIndex
    search: JointSearch
    encoder: BatchedEncoder

    @property
    def folder(self) -> Path | None:
        """The folder that was indexed, None if the index does not record it: pictures are read from nowhere else."""
        return indexed_folder(self.index)


def open_search(
    directory: str | os.PathLike[str], *, encoder: str | None = None, device: str | None = None
) -> OpenedIndex:
    """Open an index that ``commonscale index`` made, for searching.

    Args:
        directory: its folder.
        encoder: where the encoder is now, if it has moved.
        device: as for ``load_encoder``.

    Returns:
        The index with its search. Without calibration it ranks by raw cosine only.

    Raises:
        InvalidInputError: if there is no index, or nothing in it; the message names the command to run.
        EncoderMismatchError: if the encoder is another one.
        FileFormatError: if a file is damaged.
    """
    return search_over(open_filled_index(Path(directory), mmap=True), encoder=encoder, device=device)


def search_over(
    index: FaissIndex, *, encoder: str | None = None, device: str | None = None, calibrated: bool = True
) -> OpenedIndex:
    """Make an index that is open ready to be searched.

    Args:
        index: the index.
        encoder: as for ``open_search``.
        device: as for ``open_search``.
        calibrated: whether to read the calibration beside it.
    """
    calibration = load_calibration(index) if calibrated else None
    search = JointSearch(index.sources(), calibration, provenance=index.provenance())
    return OpenedIndex(index, search, encoder_for(index, encoder, device))
