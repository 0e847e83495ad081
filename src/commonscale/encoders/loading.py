"""load_encoder: from a name or a folder to an encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from commonscale.core.extras import require
from commonscale.encoders.batched import BatchedEncoder, EncodingOptions
from commonscale.encoders.checkpoint import open_checkpoint
from commonscale.encoders.families import family_of
from commonscale.encoders.images import ImageOptions


def load_encoder(
    name_or_path: str | Path,
    *,
    device: Any = None,
    dtype: Any = None,
    batch_size: int = 32,
    progress: bool = False,
    max_tokens: int | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
    allow_urls: bool = False,
    image_options: ImageOptions | None = None,
) -> BatchedEncoder:
    """Load a vision-language model and return its encoder.

    The family is picked by ``model_type`` in the checkpoint's ``config.json``: CLIP and
    VisionTextDualEncoder. No code from a checkpoint is ever run, and pickled weights are read as weights only.

    Args:
        name_or_path: a folder written by ``save_pretrained``, or a hub id. An existing folder wins.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or a ``torch.device``; None picks CUDA, then
            MPS, then the CPU.
        dtype: the type computed in: ``"float32"`` (None), ``"bfloat16"``, ``"float16"`` or a ``torch.dtype``.
            Vectors are float32 in any case.
        batch_size: items per forward pass.
        progress: show a progress bar on stderr while encoding.
        max_tokens: cut texts earlier than the model does.
        revision: a branch, tag or commit on the hub.
        local_files_only: never ask the hub; a folder never does.
        allow_urls: download pictures given as http(s) URLs; short for ``ImageOptions(allow_urls=True)``.
        image_options: how pictures are read: size limits, downloads.

    Returns:
        An encoder with ``encode_questions``, ``encode_texts``, ``encode_images``,
        ``encode_images_reporting``, ``count_tokens``, ``dimension``, ``max_tokens`` and ``fingerprint``.

    Raises:
        MissingExtraError: if torch, transformers or Pillow is not installed.
        InvalidInputError: if an argument cannot be used, the folder does not exist, or no family serves
            the model.
        EncoderError: if the checkpoint cannot be loaded whole.
    """
    for package in ("torch", "transformers", "PIL.Image"):
        require(package, "encoders")
    images = image_options or ImageOptions()
    if allow_urls:
        images = replace(images, allow_urls=True)
    options = EncodingOptions(batch_size=batch_size, progress=progress, images=images)
    checkpoint = open_checkpoint(
        name_or_path,
        device=device,
        dtype=dtype,
        max_tokens=max_tokens,
        revision=revision,
        local_files_only=local_files_only,
    )
    encoder: BatchedEncoder = family_of(checkpoint.config.model_type, checkpoint.name).load()(checkpoint, options)
    return encoder
