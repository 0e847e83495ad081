"""The folder that parts are written to: one run at a time, and nothing in it but what belongs there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from commonscale.core.errors import IndexConflictError
from commonscale.core.extras import require
from commonscale.embedding.manifest import MANIFEST, PART, has_shards
from commonscale.embedding.partitions import Planned
from commonscale.embedding.records import EXTRA
from commonscale.embedding.storage import trouble_explained

LOCK = "embedding.lock"
STOP = ".embedding.stop"
"""While this is there, workers end after the batches in hand."""

_LEFTOVER = re.compile(rf"\.({PART.pattern}|{re.escape(MANIFEST)})\.([0-9a-f]{{32}}\.tmp|try-[0-9]+)|{re.escape(STOP)}")


class OutputFolder:
    """The folder, kept from other runs while entered; what a killed run left half-written is removed.

    If nothing has been begun in it in the end, it is left as it was found.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = require("filelock", EXTRA).FileLock(path / LOCK)
        self._made = False

    def __enter__(self) -> OutputFolder:
        with trouble_explained(self.path):
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except require("filelock", EXTRA).Timeout as error:
                raise IndexConflictError(
                    f"{self.path}: another run is embedding into this folder; wait until it has ended, or stop it"
                ) from error
            try:
                for path in list(self.path.iterdir()):
                    if _LEFTOVER.fullmatch(path.name):
                        self.remove(path)
            except BaseException:
                self._lock.release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not has_shards(self.path):
            with suppress(OSError):  # on Windows a file that is held stays
                (self.path / LOCK).unlink()
                if self._made:
                    self.path.rmdir()
        self._lock.release()

    def replaced_by(self, plan: Iterable[Planned]) -> dict[str, Path]:
        """Give the parts of earlier plans that are there, by slot."""
        wanted = {planned.part for planned in plan}
        found = {}
        for path in sorted(self.path.iterdir()):
            part = PART.fullmatch(path.name)
            if part and path.name not in wanted:
                found[part["slot"]] = path
        return found

    def remove_others(self, parts: Sequence[str]) -> None:
        """Remove the parts of earlier plans, once all of this plan are there."""
        wanted = set(parts)
        for path in list(self.path.iterdir()):
            if PART.fullmatch(path.name) and path.name not in wanted:
                self.remove(path)

    def remove(self, path: Path | None) -> None:
        """Remove a file, if there is one."""
        if path is not None:
            with trouble_explained(self.path):
                path.unlink(missing_ok=True)
