"""Reading the files of a partition."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from commonscale.core.types import IMAGE
from commonscale.embedding.items import Entry, Item, passages
from commonscale.embedding.partitions import FilesWork
from commonscale.embedding.records import ShardFailure
from commonscale.embedding.scan import FoundFile, file_facts, sha256_of
from commonscale.embedding.storage import may_pass
from commonscale.embedding.texts import Chunker, decode

Known = Mapping[str, "list[Item]"]
"""What an earlier run embedded, by file."""


def folder_entries(work: FilesWork, chunker: Chunker | None, known: Known) -> Iterator[Entry]:
    """Read files one by one; a file that is as it was when an earlier run embedded it keeps its vectors.

    Args:
        work: the files.
        chunker: cuts texts; None leaves them whole.
        known: what an earlier run made of them.

    Yields:
        The passages of each text, or the picture; one failure for a file that cannot be read.
    """
    for entry in work.files:
        file = FoundFile(entry.id, Path(work.root) / entry.id, entry.modality, entry.size, entry.mtime_ns)
        try:
            yield _read(file, chunker, known.get(entry.id, []))
        except (OSError, ValueError) as error:
            yield [ShardFailure(entry.id, getattr(error, "strerror", None) or str(error), may_pass(error))]


def _read(file: FoundFile, chunker: Chunker | None, known: list[Item]) -> Entry:
    before = known[0].metadata if known else {}
    if before.get("size") == file.size and before.get("mtime_ns") == file.mtime_ns:
        return _kept(file, str(before["sha256"]), known)
    if file.modality == IMAGE:
        sha256 = sha256_of(file.path)
        if sha256 == before.get("sha256"):
            return _kept(file, sha256, known)
        return [Item(file.id, file.modality, file.path, str(file.path), file_facts(file, sha256))]
    # Checksum and passages come from the same bytes.
    data = file.path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 == before.get("sha256"):
        return _kept(file, sha256, known)
    facts = file_facts(file, sha256)
    cut = passages(decode(data), file.id, chunker, file.path)
    return [Item(key, file.modality, words, str(file.path), {**facts, **place}) for key, words, place in cut]


def _kept(file: FoundFile, sha256: str, known: list[Item]) -> Entry:
    """Give what is known of a file, with its place and time of today."""
    facts = file_facts(file, sha256)
    return [
        Item(item.id, item.modality, item.content, str(file.path), {**item.metadata, **facts}, item.vector)
        for item in known
    ]


def known_files(items: Iterator[Item]) -> dict[str, list[Item]]:
    """Group what an earlier run embedded by file, leaving out files of which a passage is missing."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(str(item.metadata.get("file")), []).append(item)
    return {file: group for file, group in found.items() if len(group) == group[0].metadata.get("passages", 1)}
