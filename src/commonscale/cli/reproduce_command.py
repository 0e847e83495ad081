"""``commonscale reproduce``: the papers' tables and figures from their data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table as RichTable
from rich.text import Text

from commonscale.cli.console import output, say
from commonscale.core.errors import MissingDataError
from commonscale.index.opening import encoder_name

if TYPE_CHECKING:
    from commonscale.diagnostics.report import Table
    from commonscale.reproduction import Sizes


@dataclass(frozen=True)
class Settings:
    """What to run; see the help of the command.

    Attributes:
        device: as for ``load_encoder``; None for the best there is.
        batch_size: items per forward pass; None for the encoder's own.
        pictures: where MultiModalQA's pictures are, if not beside its files.
        retry_failed: whether what could not be embedded is tried again.
    """

    device: str | None
    batch_size: int | None
    pictures: Path | None
    retry_failed: bool = False

    @property
    def encoder_options(self) -> dict[str, Any]:
        """What goes to ``load_encoder``."""
        options: dict[str, Any] = {"device": self.device, "batch_size": self.batch_size}
        return {name: value for name, value in options.items() if value is not None}


def run(dataset: str, data: Path, out: Path, encoder: str, sizes: Sizes, settings: Settings) -> None:
    """Run the experiments of a data set, write the report of all runs, and print what was found.

    Args:
        dataset: which.
        data: the folder of the published files.
        out: where everything is written.
        encoder: hub id or folder.
        sizes: how much is used.
        settings: everything else.

    Raises:
        MissingDataError: if a file is missing; found before the encoder is loaded where that can be told.
        CommonscaleError: if the run cannot begin or go on; what was embedded stays.
    """
    from commonscale.encoders import load_encoder
    from commonscale.reproduction import check_data, reproduce, write_reproduction

    if not data.is_dir():
        raise MissingDataError(f"{data}: no such folder; name the folder of the published files with --data")
    check_data(dataset, data, settings.pictures)
    folder = reproduce(
        dataset,
        data,
        out,
        load_encoder(encoder, **settings.encoder_options),
        encoder_name=encoder_name(encoder),
        sizes=sizes,
        pictures=settings.pictures,
        retry_failed=settings.retry_failed,
        progress=True,
    )
    files = write_reproduction(out)
    _print(out, folder)
    say(f"Wrote {files[0]} and {len(files) - 1} other files; the benchmark of this run is in {folder}.")


def _print(out: Path, folder: Path) -> None:
    """Print the rows of the run just made."""
    from commonscale.reproduction.mixbench_tables import mixbench_table
    from commonscale.reproduction.report import beyond_table
    from commonscale.reproduction.results import read_runs

    runs = [found for found in read_runs(out) if found.folder.name == folder.name]
    mixed = runs[0].dataset == "mixbench"
    table = mixbench_table(runs) if mixed else beyond_table(runs)
    rows = [row for row in table.rows if not mixed or row[0] == runs[0].model]
    output().print(_rich(table, rows))


def _rich(table: Table, rows: list[Any]) -> RichTable:
    shown = RichTable(*table.columns[1:], box=None, pad_edge=False, title=Text(table.caption), title_justify="left")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row[1:]))
    return shown
