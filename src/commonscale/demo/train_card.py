"""The card that lies beside a trained encoder: how it was made and what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from commonscale.core.files import write_text_atomically

_INTRODUCTION = """\
# The demo's encoder

A small CLIP (transformers' `CLIPModel`, float16 safetensors), trained from scratch on drawn scenes. It knows ten
things, eight colors and numbers up to four, and nothing else. Made by

    python -m commonscale.demo.train_encoder --out FOLDER

on scenes that neither the demo's corpus nor its calibration questions contain, with the symmetric contrastive loss and
CLIP's temperature. Pictures, sentences and weights are this project's own, under its licence.
"""


def write_card(
    folder: Path,
    settings: Mapping[str, object],
    before: Mapping[str, float],
    after: Mapping[str, float],
    loss: float,
    minutes: float,
) -> None:
    """Write ``README.md`` into the checkpoint's folder.

    Args:
        folder: the checkpoint's folder.
        settings: what the run depended on.
        before: what the untrained model measured on held-out scenes.
        after: what the trained model measured on the same.
        loss: mean training loss of the last 20 steps.
        minutes: how long training took.
    """
    lines = [_INTRODUCTION, "## Settings", "", "| setting | value |", "| --- | --- |"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in settings.items()]
    lines += [
        "",
        f"Loss at the end: {loss:.3f} (mean of 20 steps). Training took {minutes:.0f} minutes on two busy cores.",
    ]
    lines += ["", "## Measured on 400 held-out scenes", "", "| | untrained | trained |", "| --- | --- | --- |"]
    lines += [f"| {name} | {before[name]:.3f} | {value:.3f} |" for name, value in after.items()]
    write_text_atomically(folder / "README.md", "\n".join(lines) + "\n")
