"""``commonscale embed``: a corpus becomes shards of embeddings, on this machine or on many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonscale.cli.console import printable, say
from commonscale.cli.interrupt import Interrupt
from commonscale.embedding import EmbedResult, embed_corpus

FAILED = 3
"""Exit code when some items could not be embedded; all others are."""


@dataclass(frozen=True)
class Settings:
    """How to embed; see the help of the command.

    Attributes:
        device: as for ``load_encoder``; None for the best there is.
        batch_size: items per forward pass; None for the encoder's own.
        partition_size: files or rows per part; None for what the first run took, or 1000.
        workers: actors on Ray, if more than one.
        ray: address of a cluster; None for none.
        num_gpus: graphics processors of each worker.
        id_column: the column of ids, if it is not named so.
        text_column: the column of texts.
        image_column: the column of pictures.
        cache: folder of the cache; None for none.
        retry_failed: whether everything that failed is tried again.
    """

    device: str | None
    batch_size: int | None
    partition_size: int | None
    workers: int
    ray: str | None
    num_gpus: float
    id_column: str | None
    text_column: str | None
    image_column: str | None
    cache: Path | None
    retry_failed: bool = False

    @property
    def encoder_options(self) -> dict[str, Any]:
        """What goes to ``load_encoder``."""
        options: dict[str, Any] = {"device": self.device, "batch_size": self.batch_size}
        return {name: value for name, value in options.items() if value is not None}


def embed(corpus: Path, out: Path, encoder: str, settings: Settings) -> int:
    """Embed a corpus, or go on with it.

    Args:
        corpus: a folder, or Parquet files.
        out: folder of the shards.
        encoder: name or folder.
        settings: everything else.

    Returns:
        The exit code: 0, 3 if items could not be embedded, 130 after Ctrl-C.

    Raises:
        CommonscaleError: if the run cannot begin or go on; parts that were written stay.
    """
    with Interrupt() as interrupt:
        result = embed_corpus(
            corpus,
            out,
            encoder,
            encoder_options=settings.encoder_options,
            cache=settings.cache,
            partition_size=settings.partition_size,
            workers=settings.workers,
            ray_address=settings.ray,
            num_gpus=settings.num_gpus,
            retry_failed=settings.retry_failed,
            progress=True,
            stop=lambda: bool(interrupt),
            id_column=settings.id_column,
            text_column=settings.text_column,
            image_column=settings.image_column,
        )
    _report(result, out)
    if interrupt and not result.complete:
        say(f"Interrupted: the parts so far are kept in {out}. Run the same command again for the others.")
        return interrupt.exit_code
    return FAILED if result.failures else 0


def _report(result: EmbedResult, out: Path) -> None:
    counts = ", ".join(f"{count} {modality} documents" for modality, count in result.counts.items())
    say(f"Parts: {result.written} written, {result.parts} in all, of {result.items} files or rows.")
    say(f"{out} now holds {counts or 'nothing'}.")
    for note in result.notes:
        say(printable(note))
    if result.failures:
        say(f"Not embedded ({len(result.failures)}):", "yellow")
        for failure in result.failures:
            say(f"  {printable(failure.id)}: {printable(failure.reason)}")
        say("Run the same command with --retry-failed to try these again, and nothing else.")
