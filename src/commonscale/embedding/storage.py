"""What to do when a folder cannot be written to: the operating system says only what went wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commonscale.core.errors import StorageError

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def trouble_explained(folder: Path) -> Iterator[None]:
    """Say of an error while a folder is written to where it was, what is kept and what to do.

    Args:
        folder: where the parts are.

    Raises:
        StorageError: in place of an OSError.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(
            f"{folder}: cannot be written to: {reason}; the parts so far are kept: {_advice(error.errno)} and run the "
            f"same again"
        ) from error


def _advice(number: int | None) -> str:
    if number in _FULL:
        return "free space there"
    if number in _CLOSED:
        return "make it writable"
    return "mend it, or choose another folder,"


def may_pass(error: BaseException | None) -> bool:
    """Tell trouble of a disk, a network or a machine, which may be gone tomorrow, from a bad item.

    Such an error, or what caused it, is an OSError with a number; those of decoders and damaged formats have none.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return True
        error = error.__cause__
    return False
