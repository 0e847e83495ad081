"""Rankings as pictures and passages, one row each: what a change of scale does to a question is seen at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.core.extras import require
from commonscale.diagnostics.panel import FONT, SMALL
from commonscale.diagnostics.theme import LIGHT, Theme
from commonscale.encoders.images import ImageOptions, load_image
from commonscale.prompting.items import PromptItem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

TILE = (1.55, 1.78)
"""Width and height of one hit with its line of numbers, in inches."""

_LINE = 19  # letters beside each other in a tile
_LINES = 8
_SIDE = 200  # pixels of a picture's longer side: more than a tile shows would only make the figure larger


def hits_figure(
    rankings: Mapping[str, Sequence[PromptItem]],
    *,
    k: int = 5,
    title: str = "",
    options: ImageOptions | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw the first hits of rankings, one row for each ranking.

    Pictures are shown small, texts by their beginning. Above each hit stand its place and its number: the score where
    it has one of its own, else the cosine. A picture that cannot be read is shown as a sentence that says so.

    Args:
        rankings: hits, best first, by what to call the ranking, such as ``"raw cosine"``.
        k: most hits to show, at least 1.
        title: above the rows, such as the question; none by default.
        options: how pictures are read; None reads no URLs.
        theme: the colours.

    Raises:
        InvalidInputError: if there is no ranking, or ``k`` is below 1.
    """
    if not rankings or k < 1:
        raise InvalidInputError(f"at least one ranking and k >= 1 are needed, got {list(rankings)!r} and {k!r}")
    columns = max(1, min(k, max(len(hits) for hits in rankings.values())))
    height = TILE[1] * len(rankings) + 0.32 * len(rankings) + (0.35 if title else 0.0)
    figure: Figure = require("matplotlib.figure", "report").Figure(
        figsize=(TILE[0] * columns, height), facecolor=theme.paper, layout="constrained"
    )
    if title:
        figure.suptitle(title, color=theme.ink, fontsize=FONT + 0.5, x=0.01, ha="left", parse_math=False)
    rows = figure.subfigures(len(rankings), 1, squeeze=False)[:, 0]
    for row, (name, hits) in zip(rows, rankings.items(), strict=True):
        row.set_facecolor(theme.paper)
        row.suptitle(name, color=theme.ink, fontsize=FONT, fontweight="bold", x=0.01, ha="left", parse_math=False)
        for place, axes in enumerate(row.subplots(1, columns, squeeze=False)[0]):
            if place < len(hits):
                _tile(axes, place + 1, hits[place], options, theme)
            else:
                axes.set_axis_off()
    return figure


def _tile(axes: Axes, place: int, hit: PromptItem, options: ImageOptions | None, theme: Theme) -> None:
    color = theme.colors([hit.modality])[hit.modality]
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(theme.paper)
    for spine in axes.spines.values():
        spine.set_color(color)
        spine.set_linewidth(1.6)
    number = _number(hit)
    axes.set_title(f"{place}.  {number}".rstrip(), color=color, fontsize=SMALL, pad=3)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_box_aspect(1)
    words = hit.text
    if hit.picture is not None:
        try:
            picture = load_image(hit.picture, options)
        except ImageError as error:
            words = f"(picture not shown: {error})"
        else:
            picture.thumbnail((_SIDE, _SIDE))
            _show(axes, picture)
            return
    axes.text(
        0.06,
        0.95,
        _shortened(words),
        color=theme.ink,
        fontsize=SMALL - 1,
        va="top",
        linespacing=1.25,
        parse_math=False,
    ).set_in_layout(False)  # words that run over would make their tile smaller than its neighbours


def _show(axes: Axes, picture: Image) -> None:
    """Put a picture into the middle of a square tile, whole."""
    width, height = picture.size
    wide, high = width / max(width, height), height / max(width, height)
    left, low = (1 - wide) / 2, (1 - high) / 2
    axes.imshow(np.asarray(picture), extent=(left, left + wide, low, low + high), aspect="auto")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _number(hit: PromptItem) -> str:
    if hit.score is not None and hit.score != hit.cosine:
        return f"{hit.score:+.2f}"
    return "" if hit.cosine is None else f"cos {hit.cosine:.2f}"


def _shortened(words: str) -> str:
    lines = wrap(words, _LINE) or [""]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], lines[_LINES - 1][: _LINE - 1] + "…"]
    return "\n".join(lines)
