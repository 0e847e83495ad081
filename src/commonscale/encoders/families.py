"""Which module serves which model: one row per family."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from commonscale.core.errors import InvalidInputError

OWN = (
    "For any other model use commonscale.encoders.CallableEncoder(embed_text=..., embed_image=...), or the embedding "
    "class of LlamaIndex or LangChain that serves it."
)


@dataclass(frozen=True)
class Family:
    """One kind of model.

    A model is recognized by the first of these that says something: a name that matches ``names``; a file among
    ``files`` in its folder or hub repository; the ``model_type`` in its ``config.json``.

    Attributes:
        name: what the family is called, also as ``load_encoder(..., family=name)``.
        module: the module that serves it, imported when it is needed; it has ``load(request)``.
        examples: names of published models.
        model_types: what ``config.json`` says under ``model_type``.
        names: a regular expression for whole names.
        files: patterns of file names that tell this family from others; on the hub, names without wildcards.
        settings: keywords of ``load_encoder`` that only this family has.
        extra: the extra of Commonscale that brings what it needs.
    """

    name: str
    module: str
    examples: tuple[str, ...]
    model_types: tuple[str, ...] = ()
    names: str = ""
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    extra: str = "encoders"

    def loader(self) -> Callable[..., Any]:
        """Import the module and return its ``load``."""
        load: Callable[..., Any] = importlib.import_module(self.module).load
        return load

    def has_name(self, name: str) -> bool:
        """Say whether a model of this name is of this family, whatever its files are."""
        return bool(self.names) and re.fullmatch(self.names, name) is not None


FAMILIES: tuple[Family, ...] = (
    Family(
        "CLIP",
        "commonscale.encoders.clip",
        ("openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14"),
        model_types=("clip",),
    ),
    Family(
        "VisionTextDualEncoder",
        "commonscale.encoders.vision_text",
        ("clip-italian/clip-italian",),
        model_types=("vision-text-dual-encoder",),
    ),
)


def family_named(name: str) -> Family:
    """Return the family of this name, in any case of letters.

    Raises:
        InvalidInputError: if there is none; the message lists those there are.
    """
    for family in FAMILIES:
        if family.name.lower() == name.lower():
            return family
    raise InvalidInputError(f"family must be one of {', '.join(family.name for family in FAMILIES)}, got {name!r}")


def known() -> str:
    """List the families with examples, and say how to bring another model, for errors."""
    rows = "\n".join(f"  {family.name}: {', '.join(family.examples)}" for family in FAMILIES)
    return f"load_encoder() serves:\n{rows}\n{OWN}"
