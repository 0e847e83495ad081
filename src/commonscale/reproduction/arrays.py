"""Arrays on disk: ``.npz`` files, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from commonscale.core.files import atomic_path


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by name, without pickle."""
    save: Any = np.savez  # its newer keyword for pickles is an array's name to older versions of NumPy
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        save(file, **arrays)


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read arrays by name."""
    with np.load(path, allow_pickle=False) as archive:
        found: dict[str, npt.NDArray[Any]] = {name: archive[name] for name in archive.files}
        return found
