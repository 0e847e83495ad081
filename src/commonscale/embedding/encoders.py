"""Which encoder embeds a corpus: an object, a name, or a function that makes one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union, cast

from commonscale.core.errors import InvalidInputError

if TYPE_CHECKING:
    from commonscale.encoders import Encoder

EncoderInput: TypeAlias = Union["Encoder", str, "os.PathLike[str]", Callable[[], "Encoder"]]


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder that may still have to be loaded.

    Attributes:
        name: what the manifest records: a hub id, or an absolute folder; None if it was not given by name.
        make: gives the encoder; can be sent to another process if ``portable``.
        portable: whether it can be made anew elsewhere.
    """

    name: str | None
    make: Callable[[], Encoder]
    portable: bool


def choose(
    encoder: EncoderInput, options: Mapping[str, Any] | None, cache: str | os.PathLike[str] | None = None
) -> EncoderChoice:
    """Tell what a caller gave.

    Args:
        encoder: an encoder; a hub id or folder for ``load_encoder``; or a function without arguments that makes one.
        options: further arguments of ``load_encoder``.
        cache: folder of a ``CachedEncoder`` around it; None for none.

    Raises:
        InvalidInputError: if it is none of these, or options come without a name.
    """
    chosen = _choose(encoder, options)
    if cache is None:
        return chosen
    return EncoderChoice(chosen.name, _Cached(chosen.make, os.fspath(cache)), chosen.portable)


def _choose(encoder: EncoderInput, options: Mapping[str, Any] | None) -> EncoderChoice:
    if isinstance(encoder, (str, os.PathLike)):
        return EncoderChoice(recorded_name(os.fspath(encoder)), _Named(os.fspath(encoder), dict(options or {})), True)
    if options:
        raise InvalidInputError(f"encoder_options {sorted(options)} need an encoder's name; set them on the encoder")
    if hasattr(type(encoder), "encode_texts"):
        return EncoderChoice(None, lambda: cast("Encoder", encoder), False)
    if callable(encoder):
        return EncoderChoice(None, encoder, True)
    raise InvalidInputError(
        f"encoder must be an encoder, a hub id or folder, or a function that makes one, got {type(encoder).__name__}"
    )


def recorded_name(name_or_path: str) -> str:
    """Give what is recorded of an encoder: a hub id as it is, a folder or file as an absolute path."""
    path = Path(name_or_path)
    return str(path.resolve()) if path.exists() else name_or_path


@dataclass(frozen=True)
class _Named:
    """Loads an encoder by name, wherever it is called."""

    name: str
    options: Mapping[str, Any]

    def __call__(self) -> Encoder:
        from commonscale.encoders import load_encoder

        return load_encoder(self.name, **self.options)


@dataclass(frozen=True)
class _Cached:
    """Makes an encoder that remembers its vectors on disk."""

    make: Callable[[], Encoder]
    folder: str

    def __call__(self) -> Encoder:
        from commonscale.encoders.cache.encoder import CachedEncoder

        return CachedEncoder(self.make(), self.folder)
