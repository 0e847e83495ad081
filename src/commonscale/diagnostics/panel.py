"""What figures have in common: one panel, names of series and groups, and the way to PNG."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from commonscale.core.extras import require
from commonscale.core.files import atomic_path
from commonscale.diagnostics.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (5.2, 3.5)
"""Width and height in inches."""

DPI = 170
FONT = 11.0
SMALL = 9.5
_LEGEND_WIDTH = 72  # letters, with 6 for each symbol, that fit beside each other


def png_bytes(figure: Figure) -> bytes:
    """Draw a figure as PNG."""
    require("matplotlib.backends.backend_agg", "report").FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    # Without metadata the same figure gives the same bytes, whatever the version.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure))


def panel(theme: Theme, xlabel: str, ylabel: str, title: str, *, height: float = SIZE[1]) -> tuple[Figure, Axes]:
    """Make a figure of one panel in the colours of a theme; its title stands above the names of the series."""
    figure: Figure = require("matplotlib.figure", "report").Figure(
        figsize=(SIZE[0], height), facecolor=theme.paper, layout="constrained"
    )
    axes: Axes = figure.add_subplot(facecolor=theme.paper)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.soft)
    axes.tick_params(colors=theme.soft, labelcolor=theme.ink, labelsize=SMALL, length=3)
    axes.grid(color=theme.line, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, color=theme.ink, fontsize=FONT)
    axes.set_ylabel(ylabel, color=theme.ink, fontsize=FONT)
    if title:  # of the figure, not of the axes: so it stands above the names of the series
        figure.suptitle(title, color=theme.ink, fontsize=FONT + 0.5, x=0.02, ha="left")
    return figure, axes


def group_name(axes: Axes, name: str, place: float, theme: Theme) -> None:
    """Write the name of a group of rows at a height within the panel."""
    axes.annotate(
        name,
        (0, place),
        xycoords=axes.get_yaxis_transform(),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        color=theme.ink,
        fontsize=SMALL,
        fontweight="bold",
        # On its own paper, so that a line across the panel does not strike it out.
        bbox={"facecolor": theme.paper, "edgecolor": "none", "pad": 1.5},
        zorder=3,
    )


def legend(axes: Axes, theme: Theme) -> None:
    """Name the series above the axes, where no point can lie under the names."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=len(handles) if sum(len(label) + 6 for label in labels) <= _LEGEND_WIDTH else 2,
        frameon=False,
        fontsize=SMALL,
        labelcolor=theme.ink,
        handlelength=1.6,
        columnspacing=1.2,
        borderaxespad=0.2,
        markerscale=1.4,
    )
