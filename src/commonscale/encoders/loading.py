"""load_encoder: from a name or a folder to an encoder."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.families import Family
from commonscale.encoders.images import ImageOptions
from commonscale.encoders.options import EncodingOptions, check_flag, check_whole
from commonscale.encoders.request import LoadRequest
from commonscale.encoders.resolving import asked_for, family_of, locate, within_reach


def load_encoder(
    name_or_path: str | Path,
    *,
    family: str | None = None,
    device: Any = None,
    dtype: Any = None,
    batch_size: int = 32,
    progress: bool = False,
    max_tokens: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    allow_urls: bool = False,
    image_options: ImageOptions | None = None,
    readers: int | None = None,
    threads: int | None = None,
    **settings: Any,
) -> BatchedEncoder:
    """Load a vision-language model by the name it is known by, and return its encoder.

    The family is told by the name, by the files in the folder or hub repository, or by ``model_type`` in its
    ``config.json``; ``commonscale.encoders.FAMILIES`` is the table. No code from a checkpoint is ever run, and
    pickled weights are read as weights only.

    Args:
        name_or_path: a folder written by ``save_pretrained``, a file of weights, a hub id, or the name of a
            service's model. What exists on disk wins.
        family: the name of a row of ``FAMILIES``, for a model that several could serve.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or a ``torch.device``; None picks CUDA, then
            MPS, then the CPU.
        dtype: the type computed in: ``"float32"``, ``"bfloat16"``, ``"float16"`` or a ``torch.dtype``; None is
            the family's own, float32 for nearly all. Vectors are float32 in any case.
        batch_size: items per forward pass.
        progress: show a progress bar on stderr while encoding.
        max_tokens: cut texts earlier than the model does.
        revision: a branch, tag or commit on the hub; an error for a folder, a file or weights from elsewhere.
        local_files_only: never ask the hub; a folder never does.
        allow_urls: download pictures given as http(s) URLs; short for ``ImageOptions(allow_urls=True)``.
        image_options: how pictures are read: size limits, downloads.
        readers: threads that read pictures while the model computes; None is as many as are useful.
        threads: threads that torch computes with on the CPU, in the whole process; None leaves them as they are.
        **settings: keywords of the family alone, such as ``api_key`` of a service.

    Returns:
        An encoder with ``encode_questions``, ``encode_texts``, ``encode_images``, ``encode_texts_reporting``,
        ``encode_images_reporting``, ``count_tokens``, ``dimension``, ``max_tokens`` and ``fingerprint``.

    Raises:
        MissingExtraError: if a package that the family needs is not installed.
        InvalidInputError: if an argument cannot be used, the folder does not exist, or no family serves
            the model; the message lists the families.
        EncoderError: if the checkpoint cannot be loaded whole.
    """
    require("PIL.Image", "encoders")
    check_flag("allow_urls", allow_urls)
    check_flag("local_files_only", local_files_only)
    options = EncodingOptions(
        batch_size=batch_size,
        progress=progress,
        images=ImageOptions() if image_options is None else image_options,
        readers=readers,
    )
    if allow_urls:
        options = replace(options, images=replace(options.images, allow_urls=True))
    if threads is not None:
        check_whole("threads", threads, 1)
        require("torch", "encoders").set_num_threads(threads)
    name, folder = locate(name_or_path)
    request = LoadRequest(
        name,
        folder,
        options,
        device=device,
        dtype=dtype,
        max_tokens=max_tokens,
        revision=revision,
        local_files_only=local_files_only,
        settings=settings,
    )
    if folder is not None:
        request.refuse("revision", why="it lies on this machine, and a revision is one of the hub's")
    if family is None:
        request = within_reach(request)
        chosen = family_of(request)
    else:
        chosen = asked_for(family, request)
    _check_settings(chosen, settings)
    encoder: BatchedEncoder = chosen.loader()(request)
    return encoder


def _check_settings(family: Family, settings: dict[str, Any]) -> None:
    unknown = sorted(set(settings) - set(family.settings))
    if unknown:
        own = f"besides the general ones it has {', '.join(family.settings)}" if family.settings else "it has none"
        close = difflib.get_close_matches(
            unknown[0], [*inspect.signature(load_encoder).parameters, *family.settings], 1
        )
        hint = f". Did you mean {close[0]}?" if close else ""
        raise InvalidInputError(
            f"{', '.join(unknown)}: no settings of the family {family.name}; {own} of its own{hint}"
        )
