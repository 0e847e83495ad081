"""The index of a folder and the encoder that belongs to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from commonscale.core.errors import EncoderMismatchError, InvalidInputError
from commonscale.index.faiss_index import FaissIndex
from commonscale.index.manifest import MANIFEST

if TYPE_CHECKING:
    from commonscale.encoders import BatchedEncoder

ENCODER = "encoder"
FOLDER = "folder"
CALIBRATION = "calibration"


def has_index(directory: Path) -> bool:
    """Say whether there is an index in a folder."""
    return (directory / MANIFEST).exists()


def open_index(directory: Path, *, mmap: bool = False) -> FaissIndex:
    """Open an index that the ``index`` command made.

    Raises:
        InvalidInputError: if there is none; the message names the command that makes it.
        FileFormatError: if it is damaged.
    """
    if not has_index(directory):
        raise InvalidInputError(
            f"{directory}: no index here; make one with: commonscale index FOLDER --encoder NAME_OR_PATH "
            f"--out {directory}"
        )
    return FaissIndex.open(directory, mmap=mmap)


def open_filled_index(directory: Path, *, mmap: bool = False) -> FaissIndex:
    """Open an index that there is something to find in.

    Raises:
        InvalidInputError: if there is none, or it holds no documents; the message names the command to run.
        FileFormatError: if it is damaged.
    """
    index = open_index(directory, mmap=mmap)
    if not len(index):
        folder = index.notes.get(FOLDER, "FOLDER")
        raise InvalidInputError(
            f"{directory}: the index is empty, so there is nothing to search; put pictures or texts into the folder "
            f"and run: commonscale index {folder} --out {directory}"
        )
    return index


def indexed_folder(index: FaissIndex) -> Path | None:
    """Give the folder that was indexed, None if the index does not record it."""
    recorded = index.notes.get(FOLDER)
    return Path(recorded) if isinstance(recorded, str) and recorded else None


def check_folder(index: FaissIndex, root: Path) -> None:
    """Refuse to fill an index from another folder than the one that it is of.

    A folder that is gone has been moved here; one that is still there is another collection.

    Raises:
        InvalidInputError: if it is another one, naming both.
    """
    recorded = index.notes.get(FOLDER)
    if recorded is not None and Path(recorded) != root and Path(recorded).is_dir():
        raise InvalidInputError(
            f"{index.folder}: is the index of {recorded}, not of {root}; choose another folder with --out, or name the "
            f"first one"
        )


def encoder_for(index: FaissIndex, given: str | None, device: str | None = None) -> BatchedEncoder:
    """Load the encoder that an index was made with.

    Args:
        index: the index.
        given: where the encoder is now; None takes the place that the index recorded.
        device: as for ``load_encoder``.

    Raises:
        InvalidInputError: if nothing is recorded, or the recorded folder has moved.
        EncoderMismatchError: if it is another encoder, naming both.
    """
    recorded = index.notes.get(ENCODER)
    if given is None and recorded is None:
        raise InvalidInputError(f"{index.folder}: does not record its encoder; name it with --encoder NAME_OR_PATH")
    if given is None and Path(str(recorded)).is_absolute() and not Path(str(recorded)).exists():
        raise InvalidInputError(
            f"{index.folder}: was made with the encoder in {recorded}, which is no longer there; "
            f"say where it is with --encoder PATH"
        )
    encoder = load(given or str(recorded), device)
    if index.encoder_fingerprint not in (None, encoder.fingerprint):
        raise EncoderMismatchError(
            f"{index.folder}: was made with the encoder {str(recorded)!r} ({index.encoder_fingerprint}); "
            f"{str(given or recorded)!r} is another one ({encoder.fingerprint}); use the first, or make a new index "
            f"in another folder"
        )
    return encoder


def load(name_or_path: str, device: str | None = None) -> BatchedEncoder:
    """Load an encoder by its name or folder."""
    from commonscale.encoders import load_encoder

    return load_encoder(name_or_path, device=device)


def encoder_name(name_or_path: str) -> str:
    """Give what an index records of its encoder: a name as it is, a folder or file as an absolute path."""
    path = Path(name_or_path)
    return str(path.resolve()) if path.exists() else name_or_path
