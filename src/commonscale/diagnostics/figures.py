"""Figures of the gap, each one panel: small enough to be read on a phone, side by side on a wide page.

Every function returns a ``matplotlib.figure.Figure`` of its own; nothing global is touched, so figures may be drawn
in any thread. Points and bars are told apart by shape or place as well as by colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from commonscale.core.types import Floats
from commonscale.diagnostics.histogram import Histogram
from commonscale.diagnostics.intervals import Estimate
from commonscale.diagnostics.panel import SMALL, group_name, legend, panel
from commonscale.diagnostics.theme import LIGHT, Theme, line_styles, markers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def embedding_figure(
    clouds: Mapping[str, Floats],
    *,
    pairs: tuple[str, str] | None = None,
    xlabel: str = "first singular direction",
    ylabel: str = "second singular direction",
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw clouds of points in the plane, such as ``plane`` gives.

    Args:
        clouds: points (n, 2) by label: ``"questions"``, ``"text"``, ``"image"`` or any others; drawn in this order.
        pairs: two labels with equally many points: a thin line joins the i-th point of one with that of the other.
        xlabel: what the first axis is.
        ylabel: what the second axis is.
        title: above the axes; none by default.
        theme: the colours.
    """
    figure, axes = panel(theme, xlabel, ylabel, title)
    colors, shapes = theme.colors(clouds), markers(clouds)
    if pairs is not None:
        one, other = (np.asarray(clouds[label]) for label in pairs)
        axes.plot(*np.stack([one, other]).transpose(2, 0, 1), color=theme.soft, linewidth=0.3, alpha=0.35, zorder=1)
    most = max((len(points) for points in clouds.values()), default=0)
    for label, points in clouds.items():
        places = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        axes.scatter(
            places[:, 0],
            places[:, 1],
            s=26 if most <= 100 else 11,
            alpha=0.85 if most <= 100 else 0.5,
            color=colors[label],
            marker=shapes[label],
            linewidths=0,
            label=label,
            zorder=2,
        )
    legend(axes, theme)
    return figure


def histogram_figure(
    histograms: Mapping[str, Histogram],
    *,
    xlabel: str,
    marks: Mapping[str, float] | None = None,
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw distributions over each other, each with area 1.

    Args:
        histograms: one per label, such as a modality; made by ``Histogram.of`` or ``Histogram.gather``.
        xlabel: what the values are.
        marks: places to mark by a dashed line, with what they are, such as ``{"level": 0.0}``.
        title: above the axes; none by default.
        theme: the colours.
    """
    figure, axes = panel(theme, xlabel, "density", title)
    axes.set_yticks([])
    axes.grid(visible=False)
    colors = theme.colors(histograms)
    styles = line_styles(histograms)
    for label, histogram in histograms.items():
        density = histogram.density
        axes.stairs(density, histogram.edges, fill=True, color=colors[label], alpha=0.22)
        axes.stairs(density, histogram.edges, color=colors[label], linewidth=1.5, linestyle=styles[label], label=label)
    for name, place in (marks or {}).items():
        axes.axvline(place, color=theme.soft, linewidth=1.1, linestyle=(0, (4, 3)), label=name)
    axes.set_ylim(bottom=0)
    legend(axes, theme)
    return figure


def bars_figure(
    groups: Mapping[str, Mapping[str, float]],
    *,
    xlabel: str,
    colors: Sequence[str] = (),
    mark: tuple[str, float] | None = None,
    percent: bool = False,
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw horizontal bars in groups, each with its number.

    Args:
        groups: by the name of a group (a kind of question) the value of every bar (a method) by name.
        xlabel: what the values are.
        colors: the label (``"text"``, ``"image"``) whose colour each group has; by default the group's own.
        mark: a value to mark by a dashed line, with what it is.
        percent: whether values are shares, to be shown as percentages.
        title: above the axes; none by default.
        theme: the colours.
    """
    rows = [(group, name, value) for group, bars in groups.items() for name, value in bars.items()]
    figure, axes = panel(theme, xlabel, "", title, height=max(2.0, 0.9 + 0.32 * len(rows) + 0.34 * len(groups)))
    keys = list(colors) or list(groups)
    hue = dict(zip(groups, (theme.colors(keys)[key] for key in keys), strict=True))
    place, ticks = 0.0, []
    for group, bars in groups.items():
        group_name(axes, group, place, theme)
        for name, value in bars.items():
            place += 1.0
            ticks.append((place, name))
            axes.barh(place, value, height=0.66, color=hue[group], alpha=0.9)
            shown = f"{value:.0%}" if percent else f"{value:.2f}"
            axes.annotate(
                shown,
                (value, place),
                xytext=(4 if value >= 0 else -4, 0),
                textcoords="offset points",
                va="center",
                ha="left" if value >= 0 else "right",
                color=theme.ink,
                fontsize=SMALL,
            )
        place += 1.15
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axes.set_ylim(place - 0.35, -0.6)
    axes.grid(visible=False, axis="y")
    if percent:
        axes.set_xlim(0, 1.12)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25%", "50%", "75%", "100%"])
    if mark is not None:
        axes.axvline(mark[1], color=theme.ink, linewidth=1.1, linestyle=(0, (4, 3)), label=mark[0])
        legend(axes, theme)
    return figure


def interval_figure(
    groups: Mapping[str, Mapping[str, Estimate]],
    *,
    xlabel: str,
    colors: Sequence[str] = (),
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw estimates with their intervals beside a line at 0.

    Args:
        groups: by the name of a group (a kind of question) the estimates by name (a method).
        xlabel: what the values are.
        colors: as for ``bars_figure``.
        title: above the axes; none by default.
        theme: the colours.
    """
    rows = sum(len(estimates) for estimates in groups.values())
    figure, axes = panel(theme, xlabel, "", title, height=max(2.0, 0.9 + 0.32 * rows + 0.34 * len(groups)))
    keys = list(colors) or list(groups)
    hue = dict(zip(groups, (theme.colors(keys)[key] for key in keys), strict=True))
    axes.axvline(0, color=theme.ink, linewidth=1.1, linestyle=(0, (4, 3)))
    place, ticks = 0.0, []
    for (group, estimates), shape in zip(groups.items(), "o^sDvPX" * len(groups), strict=False):
        group_name(axes, group, place, theme)
        for name, estimate in estimates.items():
            place += 1.0
            ticks.append((place, name))
            if not estimate.few:
                axes.plot([estimate.low, estimate.high], [place, place], color=hue[group], linewidth=2.2)
            axes.plot([estimate.value], [place], color=hue[group], marker=shape, markersize=7)
        place += 1.15
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axes.set_ylim(place - 0.35, -0.6)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.1)
    return figure


def curve_figure(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    limit: tuple[str, float] | None = None,
    reached: tuple[str, float] | None = None,
    log_x: bool = True,
    title: str = "",
    theme: Theme = LIGHT,
) -> Figure:
    """Draw curves over common points.

    Args:
        x: the points (n,), ascending; above 0 if ``log_x``.
        curves: values (n,) by label.
        xlabel: what the points are.
        ylabel: what the values are.
        limit: a value to mark across, with what it is.
        reached: a point to mark upwards, with what it is.
        log_x: whether the points are spaced by their ratio.
        title: above the axes; none by default.
        theme: the colours.
    """
    figure, axes = panel(theme, xlabel, ylabel, title)
    colors, shapes = theme.colors(curves), markers(curves)
    for label, values in curves.items():
        axes.plot(x, values, color=colors[label], marker=shapes[label], markersize=5, linewidth=1.7, label=label)
    if log_x and len(x) > 0:
        axes.set_xscale("log")
        shown = [point for at, point in enumerate(x) if len(x) <= 8 or at % 2 == 0]
        axes.set_xticks(list(shown), [f"{point:g}" for point in shown])
        axes.minorticks_off()
    if limit is not None:
        axes.axhline(limit[1], color=theme.ink, linewidth=1.1, linestyle=(0, (4, 3)), label=limit[0])
    if reached is not None:
        axes.axvline(reached[1], color=theme.ink, linewidth=1.1, linestyle=":", label=reached[0])
    axes.set_ylim(bottom=0)
    legend(axes, theme)
    return figure
