"""Finding ids that come twice, before anything is paid for and in memory that does not grow with the corpus."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple

from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.embedding.parquet_values import BadValue, values_of
from commonscale.embedding.partitions import FilesWork, Partition, RowsWork
from commonscale.embedding.records import EXTRA
from commonscale.embedding.temporary_table import TemporaryTable

_ROWS = 10_000  # ids read at once

# In SQLite, columns beside min() are those of the row that has it.
_TWICE = """
SELECT count(*), min(first), id
FROM (SELECT id, min(rowid) AS first FROM ids GROUP BY id HAVING count(*) > 1)
"""

Ids = Iterable["tuple[str, int, Sequence[str | None]]"]
"""Ids that follow each other: the name of their file, the number of the first row, and the ids; None for no id."""


class Repeated(NamedTuple):
    """An id that comes more than once.

    Attributes:
        id: the first such id.
        first: file and row where it comes first.
        second: file and row where it comes again.
        number: how many ids come more than once.
    """

    id: str
    first: str
    second: str
    number: int


def find_repeated(ids: Ids) -> Repeated | None:
    """Give the first id that comes more than once; None if all differ."""
    # Put down unordered and sorted in one go: an index that grows with them would be written all over.
    with closing(TemporaryTable("CREATE TABLE ids (id BLOB, file TEXT, row INTEGER)")) as table:
        for file, start, values in ids:
            rows = enumerate(values, start)
            table.add(
                "INSERT INTO ids VALUES (?, ?, ?)",
                ((value.encode("utf-8", "surrogatepass"), file, row) for row, value in rows if value),
            )
        ((count, _, name),) = table.select(_TWICE)
        if not count:
            return None
        places = table.select("SELECT file, row FROM ids WHERE id = ? ORDER BY rowid LIMIT 2", (name,))
        first, second = (f"{file}:{row}" for file, row in places)
        return Repeated(name.decode("utf-8", "surrogatepass"), first, second, count)


def check_ids(partitions: Iterable[Partition]) -> None:
    """Check that no two rows of Parquet files have one id; only the column of ids is read.

    Paths of files differ in any case. Rows that cannot be read are left to the embedding, which reports them.

    Args:
        partitions: all of a corpus, in order.

    Raises:
        InvalidInputError: naming an id and two of its places.
    """
    first = next(iter(partitions := iter(partitions)), None)
    if first is None or isinstance(first.work, FilesWork) or first.work.columns.id is None:
        return
    works = (one.work for one in itertools.chain([first], partitions) if isinstance(one.work, RowsWork))
    found = find_repeated(_ids_of(works))
    if found is not None:
        more = f"; {found.number} ids do" if found.number > 1 else ""
        raise InvalidInputError(
            f"the id {found.id!r} of the column {first.work.columns.id!r} comes twice, in {found.first} and in "
            f"{found.second} (file and row{more}); nothing was embedded: give every row its own, or name another "
            f"column with id_column= or --id-column"
        )


def _ids_of(works: Iterable[RowsWork]) -> Iterator[tuple[str, int, list[str | None]]]:
    for (path, name, column), _ in itertools.groupby(works, key=lambda work: (work.path, work.name, work.columns.id)):
        yield from ((name, start, values) for start, values in _column(path, str(column)))


def _column(path: str, column: str) -> Iterator[tuple[int, list[str | None]]]:
    parquet, damage = require("pyarrow.parquet", EXTRA), (require("pyarrow", EXTRA).ArrowException, OSError)
    start = 0
    with suppress(*damage), parquet.ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            row = start
            with suppress(*damage):  # a damaged group's rows will be failures
                for batch in file.iter_batches(_ROWS, row_groups=[group], columns=[column], use_threads=False):
                    yield row, [_key(value) for value in values_of(batch[column])]
                    row += batch.num_rows
            start += file.metadata.row_group(group).num_rows


def _key(value: Any) -> str | None:
    return None if value is None or isinstance(value, BadValue) else str(value)
