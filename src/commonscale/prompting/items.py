"""The vocabulary of a prompt: what could be sent, what is sent, and what was left out and why."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from commonscale.core.types import Modality

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput


@dataclass(frozen=True, slots=True, eq=False)
class PromptItem:
    """One ranked document that could be shown to a language model.

    Attributes:
        id: the document's id. Of one modality, it is one document; a picture and a passage may share an id.
        modality: ``"text"``, ``"image"`` or any other label, which quotas count by.
        text: its passage or caption; may be empty where there is a picture.
        picture: its picture, None if it has none: a path, bytes, base64, data URI, http(s) URL or PIL image.
        score: its place on the common scale, if it has one.
        cosine: its raw cosine with the question, if known.
        payload: the framework's node or document, handed through.
    """

    id: str
    modality: Modality
    text: str = ""
    picture: ImageInput | None = field(default=None, repr=False)
    score: float | None = None
    cosine: float | None = None
    payload: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPicture:
    """A picture as it goes to the model: bytes and their type, or an address that the provider is to fetch.

    Attributes:
        content: the encoded picture; None if it is sent as ``url``.
        mime_type: type of ``content``, such as ``"image/jpeg"``; None for a URL.
        width: pixels of ``content``; None for a URL, whose picture nobody has looked at.
        height: as ``width``.
        url: http(s) address; None if there is ``content``.
    """

    content: bytes | None = field(default=None, repr=False)
    mime_type: str | None = None
    width: int | None = None
    height: int | None = None
    url: str | None = None

    @property
    def base64(self) -> str:
        """The content in base64; empty for a URL."""
        return base64.b64encode(self.content or b"").decode("ascii")

    @property
    def data_uri(self) -> str:
        """What an OpenAI-style message holds: a data URI, or the address itself."""
        return self.url or f"data:{self.mime_type};base64,{self.base64}"


class Reason(str, Enum):
    """Why an item was left out."""

    DUPLICATE = "duplicate"
    EMPTY = "empty"
    ITEMS = "items"
    MAXIMUM = "maximum"
    IMAGES = "images"
    TOKENS = "tokens"
    PICTURE = "picture"


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """An item that is not in the prompt.

    Attributes:
        item: what was left out.
        reason: why, for programs.
        detail: why, in one sentence with numbers, for people.
    """

    item: PromptItem
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class SentItem:
    """An item of the prompt.

    Attributes:
        number: from 1, in ranked order; the model cites the item as ``[number]``.
        item: the document.
        picture: its picture as it is sent; None if the item is text only.
        tokens: what the item costs: label, text and picture.
        text: its text as it is sent: made harmless, and cut if it was too long.
        cut: whether the text was cut.
        note: why a passage is sent without its picture, in one sentence; empty if nothing is missing.
    """

    number: int
    item: PromptItem
    picture: PreparedPicture | None
    tokens: int
    text: str
    cut: bool = False
    note: str = ""

    @property
    def label(self) -> str:
        """The number in brackets, as the model reads and cites it."""
        return f"[{self.number}]"


@dataclass(frozen=True, slots=True)
class TextPart:
    """Words of the prompt: an item's label and text."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class PicturePart:
    """A picture of the prompt; the text part with its label stands directly before it."""

    picture: PreparedPicture
    number: int


Part: TypeAlias = TextPart | PicturePart


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What is sent to the model of ranked documents, and what is not.

    Attributes:
        sent: the items in ranked order, numbered from 1.
        left_out: the others, in ranked order, with reasons.
    """

    sent: tuple[SentItem, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def tokens(self) -> int:
        """What all items cost together, as the budget counts."""
        return sum(sent.tokens for sent in self.sent)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Texts and pictures in the order in which the model reads them: each item's label beside its content."""
        parts: list[Part] = []
        for sent in self.sent:
            words = f"{sent.label} {sent.text}".rstrip()
            parts.append(TextPart(words, sent.number))
            if sent.picture is not None:
                parts.append(PicturePart(sent.picture, sent.number))
        return tuple(parts)

    def item(self, number: int) -> PromptItem | None:
        """Give the item that was sent as ``[number]``, None if there was no such number."""
        return next((sent.item for sent in self.sent if sent.number == number), None)
