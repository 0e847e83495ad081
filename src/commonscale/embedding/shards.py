"""Reading the shards of an embedded corpus."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from commonscale.core.errors import FileFormatError, InvalidInputError
from commonscale.core.types import Modality
from commonscale.embedding.manifest import MANIFEST, ShardManifest, has_shards, read_manifest
from commonscale.embedding.part_file import PartHeader, read_batches, read_header, read_ids
from commonscale.embedding.records import ShardBatch, ShardFailure
from commonscale.embedding.unique_ids import find_repeated


class Shards:
    """The embedded documents of a corpus, read part by part, never all at once.

    Attributes:
        folder: where they are.
        manifest: what they were made from.
        missing: names of parts that have yet to be written.
    """

    def __init__(self, folder: Path, manifest: ShardManifest) -> None:
        """Look at what is there; use ``open_shards``."""
        self.folder = folder
        self.manifest = manifest
        there = {entry.name for entry in os.scandir(folder)}
        self.missing = tuple(name for name in manifest.parts if name not in there)
        self._paths = [folder / name for name in manifest.parts if name in there]

    @property
    def fingerprint(self) -> str:
        """The encoder's fingerprint."""
        return self.manifest.encoder_fingerprint

    @property
    def encoder_name(self) -> str | None:
        """Hub id or folder of the encoder, None if it was not recorded."""
        return self.manifest.encoder_name

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self.manifest.dimension

    @cached_property
    def headers(self) -> dict[Path, PartHeader]:
        """What each part says of itself, in order; raises FileFormatError for a damaged or foreign one."""
        found = {path: read_header(path) for path in self._paths}
        for path, header in found.items():
            if (header.encoder_fingerprint, header.dimension) != (self.fingerprint, self.dimension):
                raise FileFormatError(
                    f"{path}: holds vectors of the encoder {header.encoder_fingerprint!r} with {header.dimension} "
                    f"dimensions, but {MANIFEST} says {self.fingerprint!r} with {self.dimension}; delete the part and "
                    f"run embed again"
                )
        return found

    @property
    def counts(self) -> dict[Modality, int]:
        """How many documents there are, by modality."""
        total: Counter[Modality] = Counter()
        for header in self.headers.values():
            total.update(header.counts)
        return dict(total)

    @property
    def failures(self) -> tuple[ShardFailure, ...]:
        """What could not be embedded, in the order of the parts."""
        return tuple(failure for header in self.headers.values() for failure in header.failures)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def batches(self, size: int = 1000, modality: Modality | None = None) -> Iterator[ShardBatch]:
        """Read the documents, always in the same order; memory holds one batch.

        Args:
            size: most documents at once; parts are not joined, so batches may be smaller.
            modality: only these; None for all.

        Yields:
            Batches of at least one document.

        Raises:
            FileFormatError: naming a damaged part; pages are checked against their checksums as they are read.
        """
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InvalidInputError(f"size must be an integer of at least 1, got {size!r}")
        for path, header in self.headers.items():
            if modality is None or header.counts.get(modality):
                yield from read_batches(path, size, modality)

    def check_ids(self) -> None:
        """Check that no two documents have one id, which a store or an index would keep one of; only ids are read.

        Raises:
            InvalidInputError: naming an id and both places.
            FileFormatError: naming a damaged part.
        """
        found = find_repeated(self._ids())
        if found is not None:
            raise InvalidInputError(
                f"{self.folder}: the id {found.id!r} comes twice, in {found.first} and in {found.second} (part and "
                f"row; {found.number} such ids in all); embed the corpus again with ids that are unique (--id-column), "
                f"into another folder"
            )

    def _ids(self) -> Iterator[tuple[str, int, list[str]]]:
        for path in self._paths:
            row = 0
            for ids in read_ids(path):
                yield path.name, row, ids
                row += len(ids)


def open_shards(folder: str | os.PathLike[str], *, partial: bool = False) -> Shards:
    """Open what ``embed_corpus`` or ``commonscale embed`` wrote.

    Args:
        folder: the folder with ``embedding.json``.
        partial: accept an embedding that is not finished and read what is there.

    Returns:
        The shards.

    Raises:
        InvalidInputError: if there are none, or parts are still missing.
        FileFormatError: if a file is damaged or foreign; the message names it and says what to do.
        MissingExtraError: if pyarrow is not installed.
    """
    path = Path(folder)
    if not has_shards(path):
        raise InvalidInputError(
            f"{os.fspath(folder)}: no shards here ({MANIFEST} is missing); make them with: commonscale embed INPUT "
            f"--out {os.fspath(folder)} --encoder NAME_OR_PATH"
        )
    shards = Shards(path, read_manifest(path))
    if shards.missing and not partial:
        raise InvalidInputError(
            f"{os.fspath(folder)}: the embedding is not finished: {len(shards.missing)} of "
            f"{len(shards.manifest.parts)} parts are missing, the first is {shards.missing[0]}; run the same embed "
            f"command again. (In Python, open_shards(..., partial=True) reads what is there.)"
        )
    _ = shards.headers  # damage is better found now than half-way through loading
    return shards
