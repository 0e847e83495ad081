"""From what has happened to HTML; everything that comes from documents, users and models is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from commonscale.app.cards import Card, cards, key_of, label_of, picture_address, shortened
from commonscale.app.prose import prose
from commonscale.app.session import Exchange, Session
from commonscale.core.extras import require
from commonscale.core.types import Hit, Ranking
from commonscale.prompting.items import Prompt, SentItem

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Any:
    jinja2 = require("jinja2", "app")
    return jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(TEMPLATES),
    )


def render(name: str, /, **content: Any) -> str:
    """Fill in a template; all content is escaped but what is marked as HTML already."""
    html: str = _environment().get_template(f"{name}.html.jinja").render(**content)
    # Names of files and models' pieces may hold halves of characters, which no answer of a server can.
    return html.encode("utf-8", "replace").decode("utf-8")


def thread(session: Session) -> str:
    """Render the past exchanges of a conversation."""
    return "".join(exchange(one, "") for one in session.past)


def exchange(one: Exchange | None, model: str) -> str:
    """Render a question with its answer, as far as it has come.

    Args:
        one: the exchange; None for none.
        model: what the language model is called, for the line below the answer.
    """
    if one is None:
        return ""
    safe = require("markupsafe", "app").Markup
    sent = {} if one.prompt is None else {item.number: item for item in one.prompt.sent}
    cited = [] if one.answer is None else one.answer.citations.cited
    return render(
        "exchange",
        one=one,
        model=model,
        answer=safe(prose(one.text, one.prompt or Prompt(()), lambda number: _citation(one.number, number, sent))),
        sources=[_source(one, sent[citation.number]) for citation in cited],
        unknown=[] if one.answer is None else one.answer.citations.unknown,
        found=None if one.rankings is None else len(one.rankings.raw),
        sent=None if one.prompt is None else len(sent),
    )


def hits(one: Exchange | None) -> str:
    """Render what was found: the ranking on the common scale, and the one by raw cosine beside it."""
    if one is None or one.rankings is None:
        return ""
    raw, scaled = one.rankings.raw, one.rankings.standardized
    left: list[Card] | None = None if scaled is None else cards(scaled, one.prompt, raw, raw=False)
    return render(
        "hits",
        scaled=left,
        raw=cards(raw, one.prompt, scaled, raw=True),
        tally=[] if scaled is None else tally(scaled, raw),
        missing=raw.missing,
        label_of=label_of,
    )


def tally(scaled: Ranking, raw: Ranking) -> list[tuple[str, int, int]]:
    """Count the documents of each modality in both rankings: what it is called, on the common scale, by raw cosine."""
    modalities = dict.fromkeys(hit.modality for ranking in (scaled, raw) for hit in ranking)
    return [(label_of(modality), len(scaled.of(modality)), len(raw.of(modality))) for modality in modalities]


def notices(sentences: Sequence[str]) -> str:
    """Render sentences on what is wrong."""
    return render("notices", sentences=sentences) if sentences else ""


def _citation(exchange_number: int, number: int, sent: Mapping[int, SentItem]) -> str:
    known = sent.get(number)
    key = None if known is None else key_of(known.item.id)
    name = "" if known is None else f"{label_of(known.item.modality)} {known.item.id}"
    return render("citation", exchange=exchange_number, number=number, key=key, name=name)


def _source(one: Exchange, sent: SentItem) -> dict[str, Any]:
    item = sent.item
    found = () if one.rankings is None else (*one.rankings.raw, *(one.rankings.standardized or ()))
    hit: Hit | None = next((hit for hit in found if hit.id == item.id), None)
    text, rest = shortened(item.text)
    return {
        "number": sent.number,
        "key": key_of(item.id),
        "id": item.id,
        "modality": item.modality,
        "label": label_of(item.modality),
        "text": text + ("…" if rest else ""),
        "picture": None if hit is None else picture_address(hit),
    }
