"""Which class serves which checkpoint: one row per model family."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from commonscale.core.errors import InvalidInputError


@dataclass(frozen=True)
class Family:
    """One kind of checkpoint.

    Attributes:
        model_type: what its ``config.json`` says under ``model_type``.
        module: the module that serves it, imported when it is needed.
        encoder: the class in that module, called with a Checkpoint and EncodingOptions.
        example: a checkpoint of this kind.
    """

    model_type: str
    module: str
    encoder: str
    example: str

    def load(self) -> Any:
        """Import and return the encoder class."""
        return getattr(importlib.import_module(self.module), self.encoder)


FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        Family("clip", "commonscale.encoders.clip", "CLIPEncoder", "openai/clip-vit-base-patch32"),
        Family(
            "vision-text-dual-encoder",
            "commonscale.encoders.vision_text",
            "VisionTextEncoder",
            "clip-italian/clip-italian",
        ),
    )
}


def family_of(model_type: str, name: str) -> Family:
    """Return the family of a checkpoint.

    Args:
        model_type: from its config.
        name: the checkpoint, for the error.

    Returns:
        The row of the table.

    Raises:
        InvalidInputError: if no family serves it; the message lists those that are served.
    """
    try:
        return FAMILIES[model_type]
    except KeyError:
        known = "; ".join(f"{family.model_type} (such as {family.example})" for family in FAMILIES.values())
        raise InvalidInputError(
            f"{name!r} is a model of type {model_type!r}, which load_encoder() does not serve. It serves: {known}."
        ) from None
