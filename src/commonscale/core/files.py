"""Writing files so that a reader sees the old content or the new, never a part of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success move it into place, on an error remove it.

    The content is flushed to disk before the move (``os.replace``), so that after a crash either the old or
    the new file is there, whole. The parent folder is created if needed.

    Args:
        path: the file to write.

    Yields:
        The temporary file to write to, in the same folder.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("r+b") as written:  # Windows flushes only handles that may write
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all.

    Args:
        path: the file to write.
        text: its new content.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all.

    Args:
        path: the file to write.
        data: its new content.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
