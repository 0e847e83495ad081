"""A report as one HTML file that needs nothing else, with its figures beside it as PNG.

    report = Report("The gap", summary=["..."], sections=[Section("Scores", pictures=[Picture("scores", draw, alt)])])
    write_report(report, "out")     # out/report.html, out/scores.png

Every text is escaped. Figures are embedded twice, in light and in dark, and the reader's browser takes the one that
fits; the PNG files are the light ones.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import commonscale
from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.core.files import atomic_path, write_text_atomically
from commonscale.diagnostics.panel import png_bytes
from commonscale.diagnostics.theme import DARK, LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "report.html"
_TEMPLATE = "report.html.jinja"


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of a report.

    Attributes:
        name: the name of its PNG file without ``.png``; may hold ``/`` for a folder. Once per report.
        draw: draws it in the colours of a theme.
        alt: what it shows, for those who cannot see it.
        caption: what stands below it.
    """

    name: str
    draw: Callable[[Theme], Figure]
    alt: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a report; every cell is text as it shall stand.

    Attributes:
        columns: headings; the first column names the rows.
        rows: one cell per column.
        caption: what stands above it.
        note: what stands below it.
        strong: numbers of the rows to stress, from 0.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    note: str = ""
    strong: Sequence[int] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InvalidInputError(
                    f"the table {self.caption!r} has {len(self.columns)} columns, but a row of {len(row)} cells: "
                    f"{list(row)!r}"
                )


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: a heading, then what it says, then tables and figures.

    Attributes:
        heading: its heading.
        verdict: sentences to stress, in a box of their own.
        paragraphs: sentences.
        tables: tables, one below the other.
        pictures: figures, side by side where the page is wide enough.
        parts: smaller sections within it.
        beside: whether figures stand beside the tables where the page is wide enough; for narrow tables.
    """

    heading: str
    verdict: Sequence[str] = ()
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    parts: Sequence[Section] = ()
    beside: bool = False

    def all_pictures(self) -> list[Picture]:
        """List its figures and those of its parts, in order."""
        return [*self.pictures, *(picture for part in self.parts for picture in part.all_pictures())]


@dataclass(frozen=True, slots=True)
class Report:
    """A page.

    Attributes:
        title: its heading.
        summary: what it comes down to, in sentences.
        sections: its parts.
        footnote: settings and where the numbers come from, in small print.
    """

    title: str
    summary: Sequence[str] = ()
    sections: Sequence[Section] = field(default=())
    footnote: Sequence[str] = ()

    def pictures(self) -> list[Picture]:
        """List all figures, in order."""
        return [picture for section in self.sections for picture in section.all_pictures()]


def render_report(report: Report) -> str:
    """Give the report as one HTML page that loads nothing from elsewhere.

    Raises:
        InvalidInputError: if two figures have one name.
        MissingExtraError: if matplotlib or Jinja is not installed.
    """
    return _render(report, {picture.name: png_bytes(picture.draw(LIGHT)) for picture in _checked(report)})


def write_report(report: Report, folder: str | os.PathLike[str], *, name: str = REPORT) -> list[Path]:
    """Write the page and its figures into a folder, each file whole or not at all.

    Args:
        report: the report.
        folder: where; created if needed. Files of the same names are replaced.
        name: the name of the page.

    Returns:
        The files written, the page first.

    Raises:
        InvalidInputError: if two figures have one name, or one leads out of the folder.
        MissingExtraError: if matplotlib or Jinja is not installed.
    """
    root = Path(folder)
    light = {picture.name: png_bytes(picture.draw(LIGHT)) for picture in _checked(report)}
    page = _render(report, light)
    files = [root / name]
    for key, data in light.items():
        files.append(root / f"{key}.png")
        with atomic_path(files[-1]) as temporary:
            temporary.write_bytes(data)
    write_text_atomically(files[0], page)
    return files


def _checked(report: Report) -> list[Picture]:
    pictures = report.pictures()
    names = [picture.name for picture in pictures]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInputError(f"two figures of the report are named {twice!r}; give each a name of its own")
    if outside := [name for name in names if not name or ".." in Path(name).parts or Path(name).is_absolute()]:
        raise InvalidInputError(
            f"the figure's name {outside[0]!r} leads out of the report's folder; name it without '..'"
        )
    return pictures


def _render(report: Report, light: dict[str, bytes]) -> str:
    jinja2 = require("jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("commonscale.diagnostics", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    sources = {
        picture.name: {"light": _uri(light[picture.name]), "dark": _uri(png_bytes(picture.draw(DARK)))}
        for picture in report.pictures()
    }
    template = environment.get_template(_TEMPLATE)
    return str(template.render(report=report, sources=sources, version=commonscale.__version__))


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
