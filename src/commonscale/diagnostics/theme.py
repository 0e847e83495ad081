"""Colours of figures: one set for light pages, one for dark; the same hue means the same thing in every figure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

QUESTIONS = "questions"
"""The label of the questions among clouds of points."""

EVERYTHING = "all"
"""The label of all together, which has no hue."""

_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "^", "s", "D", "v", "P", "X")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one look, as hexadecimal RGB.

    The hues are those of Okabe and Ito (2008, "Color Universal Design"), which people with any common colour
    blindness tell apart; the dark set is the same, lighter.

    Attributes:
        name: ``"light"`` or ``"dark"``.
        paper: background.
        ink: words and important lines.
        soft: axes and less important words.
        line: grid.
        hues: what series are drawn in: text, image, questions, then others.
    """

    name: str
    paper: str
    ink: str
    soft: str
    line: str
    hues: tuple[str, ...]

    def colors(self, labels: Iterable[str]) -> dict[str, str]:
        """Give each label its colour: text, image and questions have their own, all together are grey."""
        return {
            label: self.soft if label == EVERYTHING else self.hues[at % len(self.hues)]
            for label, at in _places(labels).items()
        }


def line_styles(labels: Iterable[str]) -> dict[str, str]:
    """Give each label a style of lines, for the same reason."""
    return {label: _STYLES[at % len(_STYLES)] for label, at in _places(labels).items()}


def markers(labels: Iterable[str]) -> dict[str, str]:
    """Give each label a marker, so that colour is never the only difference."""
    return {label: _MARKERS[at % len(_MARKERS)] for label, at in _places(labels).items()}


def _places(labels: Iterable[str]) -> dict[str, int]:
    fixed = {"text": 0, "image": 1, QUESTIONS: 2}
    wanted = list(dict.fromkeys(labels))
    others = [label for label in wanted if label not in fixed]
    # Others begin behind the fixed ones, so that they never share a colour with text or image.
    return {label: fixed[label] if label in fixed else len(fixed) + others.index(label) for label in wanted}


LIGHT = Theme(
    "light",
    paper="#ffffff",
    ink="#1d2129",
    soft="#5b6472",
    line="#e4e2dc",
    hues=("#c44e00", "#0072b2", "#00845f", "#b0568d", "#b47d00", "#3d8fc4", "#6b6b6b"),
)
DARK = Theme(
    "dark",
    paper="#1d2026",
    ink="#eceae4",
    soft="#a8b0bc",
    line="#353a44",
    hues=("#ff9a5c", "#5bb8ee", "#3fce9f", "#e59bc7", "#f0bd4a", "#9ad2f5", "#b5b5b5"),
)
