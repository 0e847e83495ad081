"""Parquet files as a corpus: one document, or a few, for each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commonscale.core.errors import FileFormatError, InvalidInputError
from commonscale.core.extras import require
from commonscale.embedding.manifest import PART, has_shards
from commonscale.embedding.partitions import Columns, Partition, Planned, RowsWork, digest_of
from commonscale.embedding.records import EXTRA
from commonscale.embedding.scan import Scan, walk

KIND = "parquet"


@dataclass(frozen=True)
class ParquetInput:
    """A file of a corpus: where it is, its name in the corpus, what tells that it has changed, and its length."""

    path: Path
    name: str
    size: int
    mtime_ns: int
    rows: int


class ParquetCorpus:
    """Ranges of rows of Parquet files.

    Attributes:
        notes: what beside the Parquet files is not read.
    """

    def __init__(self, root: Path, skip: Path, *, partition_size: int, columns: Mapping[str, str | None]) -> None:
        """Look at the files.

        Args:
            root: a file, or a folder of them; absolute.
            skip: a folder to leave out: that of the shards.
            partition_size: rows in a partition.
            columns: names by what they are (``"id"``, ``"text"``, ``"image"``); None takes the column of that very
                name, if there is one.

        Raises:
            InvalidInputError: if a column is missing, neither texts nor pictures are there, ids are neither texts nor
                numbers, or a folder below cannot be listed.
            FileFormatError: if a file is no Parquet file.
        """
        self._root = root
        self._partition_size = partition_size
        paths = [root] if root.is_file() else parquet_files(root, skip)
        schemas = {}
        self._files = []
        for path in paths:
            rows, schemas[path] = _shape(path)
            status = path.stat()
            name = path.name if path == root else path.relative_to(root).as_posix()
            self._files.append(ParquetInput(path, name, status.st_size, status.st_mtime_ns, rows))
        names = set.intersection(*(set(schema.names) for schema in schemas.values()))
        self._columns = _resolved(columns, names, root)
        _check_ids(schemas, self._columns.id)
        if not any(file.rows for file in self._files):
            raise InvalidInputError(f"{root}: the Parquet files hold no rows; nothing was changed")
        self.notes: Sequence[str] = () if root.is_file() else tuple(_beside(root, skip, self._columns.image))

    def describe(self) -> dict[str, Any]:
        """Give what the manifest records."""
        columns = asdict(self._columns)
        return {"kind": KIND, "path": str(self._root), "partition_size": self._partition_size, "columns": columns}

    def plan(self, fingerprint: str) -> list[Planned]:
        """Give all partitions for an encoder, in order."""
        return [planned for planned, _ in self._ranges(fingerprint)]

    def partitions(self, wanted: Sequence[Planned]) -> Iterator[Partition]:
        """Give some of the planned partitions with their rows, in order."""
        slots = {planned.slot: planned for planned in wanted}
        for found, work in self._ranges(""):
            if found.slot in slots:
                yield Partition(slots[found.slot], work)

    def close(self) -> None:
        """Hold nothing, so free nothing."""

    def _ranges(self, fingerprint: str) -> Iterator[tuple[Planned, RowsWork]]:
        columns = asdict(self._columns)
        for file in self._files:
            for start in range(0, file.rows, self._partition_size):
                stop = min(start + self._partition_size, file.rows)
                slot = digest_of(file.name, start)
                digest = digest_of(fingerprint, columns, file.name, file.size, file.mtime_ns, start, stop)
                work = RowsWork(str(file.path), file.name, start, stop, self._columns)
                yield Planned(slot, digest, stop - start), work


def parquet_files(folder: Path, skip: Path) -> list[Path]:
    """List the Parquet files below a folder, ordered by path, without hidden ones and parts of embedded corpora.

    Links to files are followed: the Hugging Face hub's cache consists of them.
    """
    left_out = skip.resolve()
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        written = PART.fullmatch(path.name) is not None and has_shards(path.parent)
        if not hidden and not written and path.is_file() and left_out not in path.parents:
            found.append(path)
    return found


def _shape(path: Path) -> tuple[int, Any]:
    parquet, arrow = require("pyarrow.parquet", EXTRA), require("pyarrow", EXTRA)
    try:
        with parquet.ParquetFile(path) as file:
            return file.metadata.num_rows, file.schema_arrow
    except (arrow.ArrowException, OSError) as error:
        raise FileFormatError(f"{path}: no readable Parquet file ({error}); repair it or move it away") from error


def _resolved(asked: Mapping[str, str | None], names: set[str], root: Path) -> Columns:
    for role, column in asked.items():
        if column is not None and column not in names:
            raise InvalidInputError(
                f"{root}: has no column {column!r} for {role} in every file; the columns are {sorted(names)}"
            )
    found = {role: column or (role if role in names else None) for role, column in asked.items()}
    if found["text"] is None and found["image"] is None:
        raise InvalidInputError(
            f"{root}: no column is named 'text' or 'image' in every file; say which holds texts or pictures "
            f"(--text-column, --image-column); the columns are {sorted(names)}"
        )
    return Columns(**found)


def _check_ids(schemas: Mapping[Path, Any], column: str | None) -> None:
    types = require("pyarrow.types", EXTRA)
    refused = (
        types.is_binary,
        types.is_large_binary,
        types.is_fixed_size_binary,
        types.is_binary_view,
        types.is_nested,
    )
    for path, schema in schemas.items():
        if column is None:
            return
        kind = schema.field(column).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if any(is_refused(kind) for is_refused in refused):
            raise InvalidInputError(
                f"{path}: ids must be texts or numbers, the column {column!r} is of type {kind}; cast it, or name "
                f"another column with --id-column"
            )


def _beside(root: Path, skip: Path, image: str | None) -> Iterator[str]:
    found = Scan()
    count = sum(1 for _ in walk(root, skip, found))
    if found.unreadable:
        # Going on without would drop what an earlier run made of the files in it.
        first = found.unreadable[0]
        raise InvalidInputError(
            f"{root / first.id}: {first.reason} ({len(found.unreadable)} in all); make it readable, or move it away: "
            f"nothing was changed"
        )
    if count and image is None:
        yield (
            f"Pictures and texts beside the Parquet files that were not read: {count}; if a column holds the paths of "
            f"pictures, name it with --image-column; to read them as files, move the Parquet files away."
        )
    elif count:
        yield f"Pictures and texts beside the Parquet files, only read where the column {image!r} names them: {count}."
