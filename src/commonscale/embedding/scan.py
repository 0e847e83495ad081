"""The pictures and texts of a folder."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from commonscale.core.types import IMAGE, TEXT, Modality
from commonscale.embedding.manifest import has_shards

KINDS: dict[str, Modality] = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"), IMAGE),
    **dict.fromkeys((".txt", ".md", ".markdown"), TEXT),
}
"""Modality by file name extension, in lower case."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to index.

    Attributes:
        id: its path relative to the folder, with forward slashes.
        path: where it is.
        modality: what it is, by its extension.
        size: in bytes.
        mtime_ns: when it was last changed.
    """

    id: str
    path: Path
    modality: Modality
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder that cannot be indexed.

    Attributes:
        id: its path relative to the folder, with forward slashes.
        reason: why, in one sentence.
        gone: whether what an earlier run indexed of it is no longer true; False if it only could not be looked at.
    """

    id: str
    reason: str
    gone: bool = False


@dataclass
class Scan:
    """What a folder holds.

    Attributes:
        files: pictures and texts, ordered by id.
        unreadable: what could not be looked at.
        links: how many symbolic links were passed over.
        others: how many files of other types were passed over, by extension; without those of embedded corpora.
    """

    files: list[FoundFile] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    links: int = 0
    others: Counter[str] = field(default_factory=Counter)

    def describe_others(self) -> str:
        """Say how many files of other types there are, the most frequent first: ``"12 (.heic 9, .pdf 3)"``."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.others.most_common())
        return f"{self.others.total()} ({kinds})"


def scan(folder: Path, skip: Path) -> Scan:
    """List the pictures and texts below a folder.

    Names that start with a dot are hidden and passed over. Symbolic links are not followed, neither to files
    nor to folders: a link cannot bring in what lies elsewhere, nor one file twice, nor a circle.

    Args:
        folder: where to look, recursively.
        skip: a folder to leave out: that of the index.

    Returns:
        The files, ordered by id.
    """
    found = Scan()
    found.files.extend(walk(folder, skip, found))
    found.files.sort(key=lambda file: file.id)
    return found


def walk(folder: Path, skip: Path, found: Scan) -> Iterator[FoundFile]:
    """Go through the pictures and texts below a folder one by one, as ``scan`` does, without keeping them.

    Args:
        folder: where to look, recursively.
        skip: a folder to leave out.
        found: told of what is passed over or cannot be looked at; its ``files`` stay as they are.

    Yields:
        The files, folder by folder, in the order of their names.
    """
    for entry in _walk(folder, folder, skip.resolve(), found):
        name = _id(Path(entry.path), folder)
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            found.unreadable.append(Unreadable(name, str(error)))
            continue
        modality = KINDS[Path(entry.name).suffix.lower()]
        yield FoundFile(name, Path(entry.path), modality, status.st_size, status.st_mtime_ns)


def file_facts(file: FoundFile, sha256: str) -> dict[str, object]:
    """Give what a document remembers of its file, to tell later whether it has changed."""
    return {"file": file.id, "size": file.size, "mtime_ns": file.mtime_ns, "sha256": sha256}


def sha256_of(path: Path) -> str:
    """Compute the checksum of a file's content."""
    whole = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()


def _walk(folder: Path, root: Path, skip: Path, found: Scan) -> Iterator[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable.append(Unreadable(_id(folder, root), f"the folder cannot be listed: {error.strerror}"))
        return
    shards = has_shards(folder)
    for entry in entries:
        wanted = Path(entry.name).suffix.lower() in KINDS
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            found.links += wanted or entry.is_dir()
        elif entry.is_dir(follow_symlinks=False):
            if Path(entry.path).resolve() != skip:
                yield from _walk(Path(entry.path), root, skip, found)
        elif entry.is_file(follow_symlinks=False):
            if wanted:
                yield entry
            elif not shards:
                found.others[Path(entry.name).suffix.lower() or "no extension"] += 1


def _id(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
