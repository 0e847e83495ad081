"""A folder of pictures and texts as a corpus: the same files, ids and passages as ``commonscale index`` has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.embedding.file_table import FileTable
from commonscale.embedding.partitions import FilesWork, Partition, Planned, digest_of
from commonscale.embedding.scan import Scan, walk

KIND = "folder"


class FolderCorpus:
    """Files in buckets by a hash of their ids, so that a new or changed file concerns its bucket only.

    Attributes:
        notes: what was passed over.
    """

    def __init__(self, root: Path, skip: Path, *, partition_size: int, buckets: int | None = None) -> None:
        """Look at the folder.

        Args:
            root: the folder, absolute.
            skip: a folder to leave out: that of the shards.
            partition_size: files in a bucket, on average.
            buckets: how many an earlier run made; they stay as many.

        Raises:
            InvalidInputError: if there is nothing to embed, or a folder below cannot be listed.
        """
        self._root = root
        self._partition_size = partition_size
        found = Scan()
        self._table = FileTable(walk(root, skip, found))
        try:
            count = len(self._table)
            self._check(count, found)
        except InvalidInputError:
            self.close()
            raise
        self._buckets = buckets or max(1, -(-count // partition_size))
        self.notes = tuple(_notes(found))

    def _check(self, count: int, found: Scan) -> None:
        if found.unreadable:
            # Going on without would drop what an earlier run made of the files in it.
            first = found.unreadable[0]
            raise InvalidInputError(
                f"{self._root / first.id}: {first.reason} ({len(found.unreadable)} in all); make it readable, or move "
                f"it away: nothing was changed"
            )
        if not count:
            others = f"; files of other types: {found.describe_others()}" if found.others else ""
            raise InvalidInputError(
                f"{self._root}: holds no pictures, no texts and no Parquet files (hidden files and links are not "
                f"read); nothing was changed{others}"
            )

    def describe(self) -> dict[str, Any]:
        """Give what the manifest records."""
        return {
            "kind": KIND,
            "path": str(self._root),
            "partition_size": self._partition_size,
            "buckets": self._buckets,
        }

    def plan(self, fingerprint: str) -> list[Planned]:
        """Give all partitions for an encoder, in order."""
        plan = []
        for bucket, files in self._table.buckets(self._buckets):
            # The folder's own path is in, because it is in every document: a corpus that has moved is written anew,
            # though from the vectors that are there.
            facts = [[file.id, file.size, file.mtime_ns] for file in files]
            plan.append(Planned(f"{bucket:05d}", digest_of(fingerprint, str(self._root), facts), len(files)))
        return plan

    def partitions(self, wanted: Sequence[Planned]) -> Iterator[Partition]:
        """Give some of the planned partitions with their files, in order."""
        slots = {planned.slot: planned for planned in wanted}
        for bucket, files in self._table.buckets(self._buckets):
            planned = slots.get(f"{bucket:05d}")
            if planned is not None:
                yield Partition(planned, FilesWork(str(self._root), tuple(files)))

    def close(self) -> None:
        """Free the table of files."""
        self._table.close()


def _notes(found: Scan) -> Iterator[str]:
    if found.links:
        yield f"Symbolic links that were not followed: {found.links}."
    if found.others:
        yield f"Files of other types that were passed over: {found.describe_others()}."
