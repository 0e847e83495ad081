"""The arguments of ``commonscale ask``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonscale.cli.console import command
from commonscale.cli.options import Device, Encoder, Index


@command
def ask(
    directory: Index,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to answer.")],
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm",
            metavar="PROVIDER:MODEL",
            envvar="COMMONSCALE_LLM",
            help="The language model; demo for that of the demonstration. Default: what the index names.",
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="COMMONSCALE_BASE_URL", help="A server of your own to find the model at."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many documents to look for.")] = 20,
    raw: Annotated[bool, typer.Option("--raw", help="Rank by raw cosine; needs no calibration.")] = False,
    images: Annotated[int, typer.Option(min=0, metavar="N", help="Most pictures to send.")] = 8,
    tokens: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most tokens of documents to send.")] = None,
    minimum: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY=N", help="Look for at least N of a modality, as image=3.")
    ] = None,
    maximum: Annotated[
        list[str] | None, typer.Option(metavar="MODALITY=N", help="Look for at most N of a modality, as text=5.")
    ] = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", exists=True, file_okay=False, help="Send pictures of this folder too; again for more."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long an answer may take.")] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object of JSON when the answer is whole.")] = False,
    encoder: Encoder = None,
    device: Device = None,
) -> None:
    """Answer a question from the texts and pictures that are found for it.

    The best documents on the common scale are sent to the language model, numbered, texts and pictures in ranked
    order. Its answer is printed as it comes, then the documents that it cites. Only pictures of the folder that was
    indexed are sent, shrunk to at most 1024 pixels a side.

    --llm names any chat model that LangChain has a package for, by provider and model: openai:gpt-4.1-mini (pip install
    langchain-openai, environment variable OPENAI_API_KEY), anthropic:claude-sonnet-5, google_genai:gemini-3.5-flash,
    ollama:llama3.2-vision. A server of your own that speaks OpenAI's protocol: --llm openai:MODEL --base-url
    http://localhost:8000/v1. The question and what is found are sent to that provider.

    --json prints {"question": text, "llm": name, "ranked_by": "score" or "cosine", "answer": text, "sources":
    [{"number": from 1, "id": text, "modality": text, "score": number, null with --raw, "cosine": number, "path": where
    the file is, "text": as it was sent, "picture": whether one was sent, "tokens": what it cost, "cited": whether the
    answer cites it}, ...], "cited_but_not_sent": [numbers], "left_out": [{"id", "modality", "reason", "detail"}, ...],
    "tokens": number}. Warnings go to stderr.
    """
    from commonscale.cli import ask_command as cmd
    from commonscale.cli.search_command import parse_quotas

    if not question.strip():
        raise typer.BadParameter("the question is empty; say what to answer", param_hint="QUESTION")
    limits = parse_quotas(minimum or [], "--minimum"), parse_quotas(maximum or [], "--maximum")
    model = cmd.Model(llm, base_url, timeout)
    settings = cmd.Settings(k, raw, images, tokens, *limits, tuple(pictures or ()))
    answering = cmd.open_answering(directory, model, settings, encoder, device)
    if as_json:
        typer.echo(cmd.as_json(question, answering, settings))
    else:
        cmd.answer(question, answering, settings)
