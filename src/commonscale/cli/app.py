"""The commands, their options and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import commonscale
from commonscale.cli.console import command, output, say
from commonscale.core.methods import AUTO, DEFAULT, UNLABELED

app = typer.Typer(
    help="Text and images in one honest ranking.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Encoder = Annotated[
    str | None,
    typer.Option("--encoder", metavar="NAME_OR_PATH", help="Hub id or folder of the encoder. Default: as recorded."),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps. Default: the best there is.")]
Index = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the index.", file_okay=False)]


def _version(wanted: bool) -> None:
    if wanted:
        output().print(f"commonscale {commonscale.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Text and images in one honest ranking."""


@app.command("index", short_help="Index a folder, or bring its index up to date.")
@command
def index(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="What to index.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where the index is kept.")],
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Index the pictures and texts of a folder, or bring its index up to date.

    Reads jpg, jpeg, png, gif, webp, bmp, tif, tiff and txt, md, markdown files, in all subfolders; hidden files
    are passed over, symbolic links are not followed. Texts are UTF-8 (or UTF-16 with a byte order mark); long
    ones are cut into passages that the encoder reads whole. A document's id is its path relative to FOLDER,
    with #1, #2, ... for the passages of a long text. If FOLDER holds what the embed command wrote, that is loaded
    instead, and nothing is embedded.

    Run it again at any time: only files that are new or whose content has changed are embedded, and files that
    have vanished are removed. Ctrl-C saves what is done; the same command then goes on from there.

    Unreadable files are listed at the end with the reason; all others are indexed.

    Exit codes: 0 all indexed; 1 error, nothing saved is lost; 2 wrong usage; 3 some files were unreadable; 130
    interrupted.
    """
    from commonscale.cli.index_command import index_folder

    code = index_folder(folder, out, encoder, device)
    if code:
        raise typer.Exit(code)


@app.command("embed", short_help="Embed a large corpus into Parquet files.")
@command
def embed(
    corpus: Annotated[Path, typer.Argument(metavar="INPUT", exists=True, help="A folder, or Parquet files.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where the shards are kept.")],
    encoder: Annotated[str, typer.Option("--encoder", metavar="NAME_OR_PATH", help="Hub id or folder of the encoder.")],
    device: Device = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Items per forward pass.")] = None,
    partition_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Files or rows per part; default 1000, or as begun.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Several are actors on Ray.")] = 1,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="A Ray cluster: local, auto, or host:port.")
    ] = None,
    num_gpus: Annotated[float, typer.Option(min=0, metavar="N", help="GPUs of each worker on Ray.")] = 0,
    text_column: Annotated[str | None, typer.Option(metavar="NAME", help="Texts in Parquet. Default: text.")] = None,
    image_column: Annotated[str | None, typer.Option(metavar="NAME", help="Pictures. Default: image.")] = None,
    id_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ids. Default: id, else file and row number.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Keep vectors here, for other corpora too.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what an earlier run could not embed.")
    ] = False,
) -> None:
    """Embed a large corpus into Parquet files, which index, calibrate and the vector stores load.

    INPUT is a folder of pictures and texts, read as index does; or a Parquet file, or a folder of them, with a column
    of texts, one of pictures (bytes, a struct of bytes and path, or a path relative to the file) or both. Other columns
    become metadata.

    Run it again at any time, also after a crash: parts that are written are kept, and only those are embedded whose
    files are new or have changed. Memory does not grow with the corpus. Items that cannot be embedded are listed at
    the end with the reason; all others are embedded.

    Exit codes: 0 all embedded; 1 error, nothing written is lost; 2 wrong usage; 3 some items were not embedded; 130
    interrupted.
    """
    from commonscale.cli.embed_command import Settings
    from commonscale.cli.embed_command import embed as run

    columns = (id_column, text_column, image_column)
    code = run(
        corpus,
        out,
        encoder,
        Settings(device, batch_size, partition_size, workers, ray, num_gpus, *columns, cache, retry_failed),
    )
    if code:
        raise typer.Exit(code)


@app.command("calibrate", short_help="Learn the common scale from questions.")
@command
def calibrate(
    directory: Index,
    questions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help='UTF-8, one question per line; or .jsonl with a field "question" in each line.',
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER_OR_LIST", exists=True, help="Pictures that are questions: a folder, or a list of paths."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"One of {', '.join((AUTO, *UNLABELED))}; see above. Default: that of the kind of questions that is "
            f"not given, if there is one, else {DEFAULT}.",
        ),
    ] = None,
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Learn the common scale of texts and pictures from unlabeled questions.

    Give questions as users ask them, at least 30, better 100 or more; no answers or labels are needed. DIR is an
    index, or what the embed command wrote. Writes DIR/calibration.json and prints what was learned of texts and of
    pictures, with the method that was used.

    A cosine is how similar the encoder finds a question and a document, at most 1. Alone it says little: those of texts
    and those of pictures lie at different heights. The methods differ in what a cosine is compared with, for each kind
    of document. "chance": with the best that irrelevant documents would reach,
    judged by how similar the questions are to all documents. "standardized" (Yamashita et al. 2025): with the cosines
    of the questions' best hits. "centered" (GR-CLIP): with nothing, but the average question and the average document
    are subtracted before; "centered+standardized" does both. "auto" is "chance", and "standardized" where that does
    not suit: where similarities spread widely, or where there is one document of a kind only. docs/chance.md of the
    project has the figures.

    Pictures that are questions (search --image) have a scale of their own: give some with --images, as users ask with
    them, or a sample of the indexed ones; each one's own hit is left out of what is learned. If only --questions or
    only --images is given, the other kind keeps its scale, and its method is used for the given kind too. With
    --method, an index is calibrated anew with that method for both kinds, and the output says so; of what the embed
    command wrote, only the given kind is.
    """
    from commonscale.cli.calibrate_command import calibrate as run

    if questions is None and images is None:
        raise typer.BadParameter("give a file of questions, or pictures with --images", param_hint="--questions")
    run(directory, questions, images, method, encoder, device)


@app.command("search")
@command
def search(
    directory: Index,
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", help="What to search for.")] = None,
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Many questions, as for calibrate."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="PATH", exists=True, dir_okay=False, help="A picture that is the question."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many hits.")] = 10,
    raw: Annotated[bool, typer.Option("--raw", help="Rank by raw cosine; needs no calibration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line per question.")] = False,
    minimum: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY=N", help="At least N hits of a modality, as image=3.")
    ] = None,
    maximum: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY=N", help="At most N hits of a modality, as text=5.")
    ] = None,
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Rank texts and pictures for a question on their common scale.

    A score orders texts and pictures together; the higher, the better. What it is depends on the method that the
    index was calibrated with (see calibrate --help). "standardized" and "centered+standardized": how many standard
    deviations a hit lies above the best hit of an average question. "chance": how far it lies above the best that
    irrelevant documents would nominally reach; most scores are negative, and only their order counts. "centered": the
    cosine that is left once the average question and document are subtracted.

    --json prints one object per question and line: {"question": text (a picture's path), "ranked_by": "score" or
    "cosine", "hits": [{"rank": from 1, "id": text, "modality": "text" or "image", "score": number, null with --raw,
    "cosine": number, "path": where the file is, "text": the passage, "" for a picture}, ...]}. Warnings go to stderr.
    """
    from commonscale.cli import search_command as cmd
    from commonscale.cli.questions import read_questions

    if sum(given is not None for given in (question, questions, image)) != 1:
        raise typer.BadParameter(
            "give one question, a file of them with --questions, or a picture with --image", param_hint="QUESTION"
        )
    if question is not None and not question.strip():
        raise typer.BadParameter("the question is empty; say what to search for", param_hint="QUESTION")
    limits = cmd.parse_quotas(minimum or [], "--minimum"), cmd.parse_quotas(maximum or [], "--maximum")
    asked = read_questions(questions) if questions else [question] if question else []
    images = [image] if image else []
    rankings = cmd.search(directory, asked, cmd.Settings(k, raw, *limits), encoder, device, images)
    for text, ranking in zip([*asked, *map(str, images)], rankings, strict=True):
        if as_json:
            typer.echo(cmd.as_json(text, ranking, raw))
        else:
            cmd.print_ranking(text, ranking, raw)


@app.command("evaluate", short_help="Score every method on benchmarks.")
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


@app.command("reproduce", short_help="Run the papers' experiments on their data.")
@command
def reproduce(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="mmqa, webqa or mixbench.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", file_okay=False, help="The published files.")],
    encoder: Annotated[str, typer.Option("--encoder", metavar="NAME_OR_PATH", help="Hub id or folder of the encoder.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where vectors, numbers and the report go.")
    ] = Path("commonscale-reproduction"),
    device: Device = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Items per forward pass.")] = None,
    pool: Annotated[
        str, typer.Option(metavar="POOL", help="full, as in the paper; or context: documents shown beside a question.")
    ] = "full",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most questions of each kind, to try it out.")
    ] = None,
    training: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most training questions of each kind, to save time.")
    ] = None,
    documents: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most documents of each kind beside the relevant ones.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(metavar="PATH", help="MultiModalQA's pictures, if not beside its files.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what an earlier run could not embed.")
    ] = False,
) -> None:
    """Run the papers' experiments: Tables 3 to 6 and Figures 4, 5, 6 and 14 with the published numbers beside yours.

    DIR holds the files as they are published; where some are missing, the message names all, and where to get them.
    Writes report.html, report.json, PNG figures, and the benchmark as .npz for the evaluate command. All runs that
    go to one --out share a report.

    Run it again at any time, also after a crash: what is embedded and scored is kept.
    """
    from commonscale.cli.reproduce_command import Settings, run
    from commonscale.reproduction import Sizes

    sizes = Sizes(pool, limit, training, documents)  # type: ignore[arg-type]
    run(dataset, data, out, encoder, sizes, Settings(device, batch_size, pictures, retry_failed))


@app.command("diagnose", short_help="Show the gap, and what a common scale does about it.")
@command
def diagnose(
    targets: Annotated[list[Path], typer.Argument(metavar="DIR|FILE.npz...", exists=True)],
    questions: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Questions, as for calibrate.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where data, figures and the page go.")
    ] = Path("commonscale-diagnosis"),
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many first hits to look at.")] = 10,
    documents: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most documents to take distributions from.")
    ] = 50_000,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of every sample.")] = 0,
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Show the gap between texts and images, what a common scale changes, and how many questions it needs.

    Takes benchmarks (as evaluate does), and indexes or what the embed command wrote, with questions as users ask them
    (--questions); an index that has been calibrated knows some. Nothing that is diagnosed is changed.

    Prints the distances of texts, images and questions, the shape of their scores, what fills the first hits, and in
    words whether standardizing helps: with labels by how much on held-out questions, without what can be said. Writes
    diagnosis.json, report.html and PNG figures; docs/diagnostics.md explains them.
    """
    from commonscale.cli.diagnose_command import Settings, diagnose_all

    diagnose_all(targets, questions, out, Settings(k, documents, seed), encoder, device)


@app.command("demo", short_help="Index, calibrate and search a drawn world.")
@command
def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Where the pictures, the index and the page go.")
    ] = Path("commonscale-demo"),
) -> None:
    """Index, calibrate and search a small drawn world, and show the difference on a page."""
    from commonscale.demo import run

    run(out, console=output())
