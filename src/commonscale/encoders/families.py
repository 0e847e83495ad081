"""Which module serves which model: one row per family."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.encoders.services.cohere_models import BEDROCK_NAMES, COHERE_NAMES
from commonscale.encoders.services.cohere_settings import EMBED_SETTINGS

OWN = (
    "For any other model use commonscale.encoders.CallableEncoder(embed_text=..., embed_image=...), or the embedding "
    "class of LlamaIndex or LangChain that serves it."
)


@dataclass(frozen=True)
class Family:
    """One kind of model.

    A model is recognized by the first of these that says something: a name that matches ``names``; a file among
    ``files`` in its folder or hub repository; the ``model_type`` in its ``config.json``; a file among ``other_files``.

    Attributes:
        name: what the family is called, also as ``load_encoder(..., family=name)``.
        module: the module that serves it, imported when it is needed; it has ``load(request)``.
        examples: names of published models.
        model_types: what ``config.json`` says under ``model_type``.
        other_types: further ones that it serves if it is asked for by its name.
        names: a regular expression for whole names.
        files: patterns of file names that tell this family from others; on the hub, names without wildcards.
        other_files: as ``files``, for models that often are there in a second form, which ``config.json`` tells.
        settings: keywords of ``load_encoder`` that only this family has.
        extra: the extra of Commonscale that brings what it needs.
    """

    name: str
    module: str
    examples: tuple[str, ...]
    model_types: tuple[str, ...] = ()
    other_types: tuple[str, ...] = ()
    names: str = ""
    files: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()
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
        "commonscale.encoders.models.clip",
        ("openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14"),
        model_types=("clip",),
    ),
    Family(
        "Long-CLIP",
        "commonscale.encoders.models.long_clip",
        ("BeichenZhang/LongCLIP-B", "BeichenZhang/LongCLIP-L", "creative-graphic-design/LongCLIP-B"),
        model_types=("longclip",),
        other_types=("clip",),
        names=r"(BeichenZhang|creative-graphic-design|zer0int)/LongCLIP-.+",
        other_files=("longclip*.pt", "LongCLIP*.pt"),
        settings=("tokenizer",),
    ),
    Family(
        "VisionTextDualEncoder",
        "commonscale.encoders.models.vision_text",
        ("clip-italian/clip-italian",),
        model_types=("vision-text-dual-encoder",),
    ),
    Family(
        "BLIP",
        "commonscale.encoders.models.blip",
        ("Salesforce/blip-itm-base-coco", "Salesforce/blip-itm-large-coco"),
        model_types=("blip",),
    ),
    Family(
        "SigLIP",
        "commonscale.encoders.models.siglip",
        ("google/siglip-base-patch16-224", "google/siglip2-base-patch16-224", "google/siglip2-base-patch16-naflex"),
        model_types=("siglip", "siglip2"),
    ),
    Family("E5-V", "commonscale.encoders.models.e5v", ("royokong/e5-v",), model_types=("llava_next",)),
    Family(
        "OpenCLIP",
        "commonscale.encoders.models.open_clip",
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip:ViT-B-32/laion2b_s34b_b79k"),
        names=r"(hf-hub|open_clip|local-dir):.+",
        other_files=("open_clip_config.json",),
        extra="open-clip",
    ),
    Family(
        "SentenceTransformers",
        "commonscale.encoders.models.sentence_transformers",
        ("clip-ViT-B-32", "clip-ViT-L-14"),
        names=r"(sentence-transformers/)?clip-ViT-(B-16|B-32|L-14|B-32-multilingual-v1)",
        files=("modules.json",),
        extra="sentence-transformers",
    ),
    Family(
        "Cohere",
        "commonscale.encoders.services.cohere",
        ("embed-v4.0", "embed-english-v3.0", "embed-multilingual-v3.0"),
        names=COHERE_NAMES,
        settings=("api_key", "client", "base_url", *EMBED_SETTINGS),
        extra="cohere",
    ),
    Family(
        "Bedrock",
        "commonscale.encoders.services.bedrock",
        ("cohere.embed-english-v3", "us.cohere.embed-v4:0"),
        names=BEDROCK_NAMES,
        settings=("region", "profile", "client", "base_url", "model", *EMBED_SETTINGS),
        extra="bedrock",
    ),
)


def family_named(name: str) -> Family:
    """Return the family of this name, in any case of letters.

    Raises:
        InvalidInputError: if there is none; the message lists those there are.
    """
    for family in FAMILIES:
        if isinstance(name, str) and family.name.lower() == name.lower():
            return family
    raise InvalidInputError(f"family must be one of {', '.join(family.name for family in FAMILIES)}, got {name!r}")


def close_to(name: str) -> str:
    """Return a line with the examples whose names are nearly this one, for errors; empty if there are none."""
    examples = {example.lower(): example for family in FAMILIES for example in family.examples}
    found = get_close_matches(name.lower(), examples, cutoff=0.75) if name not in examples.values() else []
    return f"Names much like it that are known: {', '.join(repr(examples[key]) for key in found)}\n" if found else ""


def known() -> str:
    """List the families with examples, and say how to bring another model, for errors."""
    rows = "\n".join(f"  {family.name}: {', '.join(family.examples)}" for family in FAMILIES)
    return f"load_encoder() serves:\n{rows}\n{OWN}"
