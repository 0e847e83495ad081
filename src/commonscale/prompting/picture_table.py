"""Which rule counts the pictures of which model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from commonscale.prompting.picture_rules import CropTiles, Flat, PaddedPatches, Patches, PictureRule, PixelArea, Tiles

PICTURE_RULES: Mapping[str, PictureRule] = MappingProxyType(
    {
        "flat": Flat(2125),  # what LlamaIndex counts for any picture (ImageBlock.aestimate_tokens)
        "flat:low": Flat(85),
        "gpt-4o": Tiles(85, 170),
        "gpt-4o:low": Flat(85),
        "gpt-4.1": Tiles(85, 170),
        "gpt-4.1:low": Flat(85),
        "gpt-4o-mini": Tiles(2833, 5667),
        "gpt-4o-mini:low": Flat(2833),
        "gpt-5": Tiles(70, 140),
        "gpt-5:low": Flat(70),
        "gpt-5.1": Tiles(70, 140),
        "gpt-5.1:low": Flat(70),
        "o1": Tiles(75, 150),
        "o1:low": Flat(75),
        "o3": Tiles(75, 150),
        "o3:low": Flat(75),
        "gpt-4.1-mini": Patches(1.62, 6144),
        "gpt-5.2": Patches(1.2, 6144),
        "gpt-5.4": Patches(1.2, 2500),
        "gpt-5.5": Patches(1.2, 10_000, 6000),
        "gpt-5.5:high": Patches(1.2, 2500),
        "gpt-5.5:low": Patches(1.2, 256, 512),
        "gpt-5.6": Patches(1.2, 30_000, 65_535),
        "gpt-5.6:high": Patches(1.2, 2500),
        "gpt-5.6:low": Patches(1.2, 256, 512),
        # Announced as ending: only an older state of the page still tells their budget.
        "gpt-5-mini": Patches(1.2),
        "gpt-5-nano": Patches(1.5),
        "gpt-4.1-nano": Patches(2.46),
        "o4-mini": Patches(1.72),
        "claude": PaddedPatches(2576, 4784),  # Claude 4.7 and later; others never cost more
        "claude-standard": PaddedPatches(1568, 1568),
        "pixels/750": PixelArea(),
        "gemini-2.0": CropTiles(),
        "gemini-2.5": CropTiles(),
        # ai.google.dev/gemini-api/docs/media-resolution: the most tokens of a picture, by default and by setting.
        "gemini-3": Flat(1120),
        "gemini-3:medium": Flat(560),
        "gemini-3:low": Flat(280),
        "gemini-3.1": Flat(1120),
        "gemini-3.5": Flat(1120),
    }
)
"""What a picture costs, by model; ``:low`` and the like stand for the ``detail`` or resolution that is asked for."""
