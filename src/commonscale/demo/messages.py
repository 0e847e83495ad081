"""From a chat message back to the request that it was made of: how the demo's answerer reads what frameworks send."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from commonscale.answering.types import Request
from commonscale.core.types import IMAGE, TEXT
from commonscale.prompting.instructions import CLOSING, OPENING, condense_text, question_text
from commonscale.prompting.items import PreparedPicture, Prompt, PromptItem, SentItem

_ASKED = question_text("")
_LAST = condense_text((), "").splitlines()[-1]
_LABEL = re.compile(r"\[(\d+)\](?: |$)")


def read_request(parts: Iterable[str | bytes]) -> Request:
    """Read the numbered documents and the question of a message.

    Args:
        parts: the message's texts, and the contents of its pictures, in order; laid out as by
            ``commonscale.prompting.user_parts``, with neighboring texts in one part or in several.

    Returns:
        The request. Without documents its prompt is empty; without a question all of the text is taken for one.
    """
    reading = _Reading()
    for part in parts:
        if isinstance(part, bytes):
            reading.picture(part)
        else:
            for line in part.splitlines():
                reading.line(line)
    return reading.request()


def question_to_rewrite(text: str) -> str | None:
    """Find the question that a model is asked to rewrite, None if it is asked something else."""
    _, found, question = text.rpartition(_LAST)
    return question.strip() if found else None


@dataclass
class _Item:
    words: list[str]
    content: bytes | None = None

    def sent(self, number: int) -> SentItem:
        picture = None if self.content is None else PreparedPicture(content=self.content)
        text = "\n".join(self.words).strip()
        return SentItem(number, PromptItem(str(number), TEXT if picture is None else IMAGE, text), picture, 0, text)


@dataclass
class _Reading:
    items: list[_Item] = field(default_factory=list)
    inside: bool = False
    outside: list[str] = field(default_factory=list)

    def line(self, line: str) -> None:
        label = _LABEL.match(line)
        if not self.inside:
            self.inside = line == OPENING
            if not self.inside:
                self.outside.append(line)
        elif line == CLOSING:
            self.inside = False
        elif label and int(label.group(1)) == len(self.items) + 1:
            self.items.append(_Item([line[label.end() :]]))
        elif self.items:
            self.items[-1].words.append(line)

    def picture(self, content: bytes) -> None:
        if self.inside and self.items:
            self.items[-1].content = content

    def request(self) -> Request:
        text = "\n".join(self.outside).strip()
        _, found, question = text.rpartition(_ASKED)
        sent = tuple(item.sent(number) for number, item in enumerate(self.items, start=1))
        return Request(question.strip() if found else text, Prompt(sent))
