"""What load_encoder was asked for, as a family's loader gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.checkpoint import Checkpoint, open_checkpoint
from commonscale.encoders.options import EncodingOptions


def on_disk(name: str | Path) -> Path | None:
    """Return the path that a name stands for, if something is there; ``~`` is the home folder."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None  # too long a name, the home of nobody, a null byte: nothing can be there


@dataclass(frozen=True)
class LoadRequest:
    """The arguments of :func:`commonscale.load_encoder`.

    Attributes:
        name: a folder, a file, a hub id, or the name of a service's model.
        folder: the existing folder or file that ``name`` stands for, or None.
        options: how the encoder works through its input.
        device: where the model runs; None is the family's default.
        dtype: the type computed in; None is the family's default.
        max_tokens: a limit on texts below the model's own, or None.
        revision: a branch, tag or commit on the hub, or None.
        local_files_only: never ask the hub.
        settings: the family's own keywords, all of them known to its row in ``FAMILIES``.
    """

    name: str
    folder: Path | None = None
    options: EncodingOptions = field(default_factory=EncodingOptions)
    device: Any = None
    dtype: Any = None
    max_tokens: int | None = None
    revision: str | None = None
    local_files_only: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limit = self.max_tokens
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 3):
            raise InvalidInputError(f"max_tokens must be a whole number of at least 3, got {limit!r}")

    @property
    def hub(self) -> dict[str, Any]:
        """``revision`` and ``local_files_only``, as transformers and huggingface_hub name them."""
        found: dict[str, Any] = {"local_files_only": self.local_files_only or self.folder is not None}
        if self.revision is not None:
            found["revision"] = self.revision
        return found

    def checkpoint(self) -> Checkpoint:
        """Read the config of a checkpoint of transformers.

        Raises:
            InvalidInputError: if device or dtype cannot be used.
            EncoderError: if there is no config that can be read.
        """
        return open_checkpoint(
            self.name, device=self.device, dtype=self.dtype, max_tokens=self.max_tokens, hub=self.hub
        )

    def refuse(self, *names: str, why: str = "it does not run here") -> None:
        """Refuse arguments that have no meaning for a model.

        Args:
            *names: arguments of ``load_encoder``.
            why: the reason, for the message.

        Raises:
            InvalidInputError: naming those of ``names`` that were given.
        """
        given = [name for name in names if getattr(self, name) not in (None, False)]
        if given:
            raise InvalidInputError(f"{', '.join(given)} cannot be set for {self.name!r}: {why}")
