"""From a path to a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.embedding.folder_corpus import KIND as FOLDER
from commonscale.embedding.folder_corpus import FolderCorpus
from commonscale.embedding.manifest import has_shards
from commonscale.embedding.parquet_corpus import KIND as PARQUET
from commonscale.embedding.parquet_corpus import ParquetCorpus, parquet_files
from commonscale.embedding.partitions import PARTITION_SIZE, Corpus


def open_corpus(
    path: Path,
    out: Path,
    *,
    partition_size: int | None = None,
    columns: Mapping[str, str | None],
    recorded: Mapping[str, Any] | None = None,
) -> Corpus:
    """Look at what is to be embedded.

    A Parquet file, or a folder with Parquet files anywhere in it, is read row by row; another folder file by file.

    Args:
        path: the file or folder.
        out: the folder of the shards, which is left out.
        partition_size: files or rows in a partition; None takes what is recorded, else 1000.
        columns: names of the columns for ``"id"``, ``"text"`` and ``"image"``; None finds them.
        recorded: what the manifest of an earlier run says of its corpus.

    Returns:
        The corpus; to be closed.

    Raises:
        InvalidInputError: if there is nothing to embed, or it is not what was embedded before.
        FileFormatError: if a Parquet file is damaged.
    """
    root = path.resolve()
    if not root.exists():
        raise InvalidInputError(f"{path}: no such file or folder; name a folder, or Parquet files")
    if root.is_dir() and has_shards(root):
        raise InvalidInputError(
            f"{path}: holds embeddings already; index them with: commonscale index {path} --out DIR"
        )
    known = dict(recorded or {})
    size = _partition_size(partition_size, known.get("partition_size"), out)
    kind = PARQUET if root.is_file() or parquet_files(root, out) else FOLDER
    if recorded is not None:
        _check_same(kind, root, known, out)
    if kind == FOLDER:
        return FolderCorpus(root, out, partition_size=size, buckets=known.get("buckets"))
    corpus = ParquetCorpus(root, out, partition_size=size, columns=columns)
    found = corpus.describe()["columns"]
    if recorded is not None and found != known.get("columns"):
        raise InvalidInputError(
            f"{out}: was embedded from the columns {known.get('columns')}, not from {found}; name the same columns, or "
            f"choose another folder with --out"
        )
    return corpus


def _partition_size(asked: int | None, recorded: Any, out: Path) -> int:
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int) or asked < 1):
        raise InvalidInputError(f"partition_size must be an integer of at least 1, got {asked!r}")
    if asked is not None and recorded not in (None, asked):
        raise InvalidInputError(
            f"{out}: was begun with partitions of {recorded}, not of {asked}; they stay as they are: leave it out, or "
            f"choose another folder with --out"
        )
    return int(recorded or asked or PARTITION_SIZE)


def _check_same(kind: str, root: Path, known: Mapping[str, Any], out: Path) -> None:
    before = str(known.get("path", "vectors from elsewhere"))
    # A corpus that is gone has been moved here; one that is still there is another one.
    if kind != known.get("kind") or (before != str(root) and Path(before).exists()):
        raise InvalidInputError(
            f"{out}: holds the embeddings of {before} ({known.get('kind')}), not of {root} ({kind}); choose another "
            f"folder with --out, or name the first one"
        )
