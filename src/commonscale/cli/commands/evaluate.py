"""The arguments of ``commonscale evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command, output, say


@command
def evaluate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.npz...", exists=True, dir_okay=False)],
    out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", dir_okay=False, help="Write the results to this file.")
    ] = None,
    intervals: Annotated[
        Path | None, typer.Option(metavar="OUT", dir_okay=False, help="Write the intervals to this file.")
    ] = None,
    methods: Annotated[
        list[str] | None, typer.Option("--method", metavar="NAME", help="Only this method; again for more.")
    ] = None,
) -> None:
    """Score every method on benchmarks of embeddings and print tables.

    A file holds the arrays questions, calibration_questions, texts, images (vectors) and relevant_question,
    relevant_modality, relevant_index (which documents are relevant); docs/benchmark-format.md describes them, and
    docs/evaluation.md the methods. "of ceiling" is the share of the Recall@20 of searching the right kind of document
    alone. Differences to "standardized" and "cosine" come with 95% intervals (paired bootstrap over the questions), if
    these are among the methods.
    """
    from commonscale import evaluation

    scored = evaluation.score_files(files, methods or None)
    results = {name: evaluation.means_of(values) for name, values in scored.items()}
    comparisons = evaluation.compare_files(scored)
    evaluation.print_table(results, output())
    evaluation.print_comparisons(comparisons, output())
    if out is not None:
        evaluation.write_results(results, out)
        say(f"Wrote {out}.")
    if intervals is not None:
        evaluation.write_comparisons(comparisons, intervals)
        say(f"Wrote {intervals}.")
