"""What the page shows of each ranked document."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from commonscale.answering.items import index_item
from commonscale.app.comparing import Move, moves
from commonscale.core.types import IMAGE, TEXT, Hit, Modality, Ranking
from commonscale.prompting.items import Prompt

LABELS: Mapping[Modality, str] = {TEXT: "Text", IMAGE: "Picture"}
"""What modalities are called; others go by their own name."""

PICTURES = "pictures"
"""Where the page gets pictures, by the key of their document."""

_SHORT = 280  # characters of a passage that are shown before it is unfolded


@dataclass(frozen=True, slots=True)
class Bar:
    """A score as a bar that begins at zero; all bars of a list have the same axis.

    Attributes:
        start: left end, in percent of the axis.
        width: in percent of the axis.
        zero: where zero is, in percent of the axis.
    """

    start: float
    width: float
    zero: float


@dataclass(frozen=True, slots=True)
class Card:
    """One ranked document.

    Attributes:
        key: its id, spelled so that it can stand in an address.
        id: its id.
        place: from 1.
        modality: as the index names it.
        label: as people read it.
        score: its place on the common scale, None where there is none.
        cosine: its raw cosine.
        bar: what it is ranked by, drawn.
        move: where it stands in the other ranking, None if there is none.
        text: its passage or caption, from the start.
        rest: what is left of a long passage.
        picture: the address of its picture, None if it has none.
        number: what answers cite it as, None if it was not sent to the model.
        left_out: why it was not sent, empty if it was.
    """

    key: str
    id: str
    place: int
    modality: Modality
    label: str
    score: str | None
    cosine: str
    bar: Bar
    move: Move | None
    text: str
    rest: str
    picture: str | None
    number: int | None
    left_out: str


def cards(ranking: Ranking, prompt: Prompt | None, other: Ranking | None, *, raw: bool) -> list[Card]:
    """Make the cards of a ranking.

    Args:
        ranking: what is shown.
        prompt: what of it was sent; None if nothing was yet.
        other: what it is compared with, None for nothing.
        raw: whether it is ranked by raw cosine.
    """
    moved = {} if other is None else moves(ranking, other)
    numbers = {} if prompt is None else {sent.item.id: sent.number for sent in prompt.sent}
    reasons = {} if prompt is None else {left.item.id: left.detail for left in prompt.left_out}
    bars = _bars([hit.cosine if raw else hit.score for hit in ranking])
    return [
        _card(place, hit, bar, moved.get(hit.id), numbers.get(hit.id), reasons.get(hit.id, ""), raw=raw)
        for place, (hit, bar) in enumerate(zip(ranking, bars, strict=True), start=1)
    ]


def _card(place: int, hit: Hit, bar: Bar, move: Move | None, number: int | None, left_out: str, *, raw: bool) -> Card:
    text, rest = shortened(hit.payload.text)
    return Card(
        key=key_of(hit.id),
        id=hit.id,
        place=place,
        modality=hit.modality,
        label=label_of(hit.modality),
        score=None if raw else f"{hit.score:+.2f}",
        cosine=f"{hit.cosine:.3f}",
        bar=bar,
        move=move,
        text=text,
        rest=rest,
        picture=picture_address(hit),
        number=number,
        left_out=left_out,
    )


def label_of(modality: Modality) -> str:
    """Give the name of a modality that people read."""
    return LABELS.get(modality, modality.replace("_", " ").capitalize())


def picture_address(hit: Hit) -> str | None:
    """Give the address of a hit's picture on this server, None if it has none."""
    return None if index_item(hit).picture is None else f"{PICTURES}/{key_of(hit.id)}"


def key_of(document: str) -> str:
    """Spell a document's id so that it can stand in an address and in an attribute, whatever it consists of."""
    return base64.urlsafe_b64encode(document.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")


def id_of(key: str) -> str | None:
    """Give back what ``key_of`` spelled, None if it did not."""
    try:
        return base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True).decode(
            "utf-8", "surrogatepass"
        )
    except (binascii.Error, UnicodeError, ValueError):
        return None


def shortened(text: str) -> tuple[str, str]:
    """Cut a long passage in two, between words."""
    words = " ".join(text.split())
    if len(words) <= _SHORT * 1.25:
        return words, ""
    cut = words.rfind(" ", _SHORT // 2, _SHORT)
    cut = _SHORT if cut < 0 else cut
    return words[:cut], words[cut:]


def _bars(values: Sequence[float]) -> Iterator[Bar]:
    low, high = min((0.0, *values)), max((0.0, *values))
    span = (high - low) or 1.0
    zero = 100 * -low / span
    for value in values:
        length = 100 * abs(value) / span
        yield Bar(round(zero - length if value < 0 else zero, 2), round(length, 2), round(zero, 2))
