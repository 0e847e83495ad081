"""The choice of what is sent of one ranking."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from commonscale.core.errors import ImageError
from commonscale.core.ranking import select
from commonscale.core.types import TEXT, Modality
from commonscale.prompting.budget import Budget
from commonscale.prompting.costs import picture_cost, text_cost
from commonscale.prompting.cutting import shorten
from commonscale.prompting.items import LeftOut, PreparedPicture, Prompt, PromptItem, Reason, SentItem
from commonscale.prompting.pictures import Pictures
from commonscale.prompting.untrusted import neutralize

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput


_AT_ONCE = 8  # pictures prepared ahead, where those that were likely to be sent turned out bad


@dataclass(frozen=True, slots=True)
class _Words:
    text: str
    cut: bool
    tokens: int  # of the text and its label


class Choice:
    """The choice for one ranking: places that are sent, and places that are not, with reasons.

    Budgets are only ever used up, so what was left out once stays out.

    Attributes:
        bad_pictures: what was wrong with pictures that could not be used, in the order in which they were tried.
    """

    def __init__(self, budget: Budget, pictures: Pictures, ranked: Sequence[PromptItem]) -> None:
        """Take up a ranking, best first, of which nothing is chosen yet."""
        self.bad_pictures: list[str] = []
        self._budget = budget
        self._pictures = pictures
        self._ranked = ranked
        self._picture_tokens = picture_cost(budget.image_tokens)
        self._text_tokens = text_cost(budget.text_tokens)
        self._words: dict[int, _Words] = {}
        self._prepared: dict[int, PreparedPicture | ImageError | None] = {}
        self._sent: dict[int, SentItem] = {}
        self._left: dict[int, LeftOut] = {}
        self._by_id: defaultdict[str, list[PromptItem]] = defaultdict(list)
        self._counts: Counter[Modality] = Counter()
        self._images = 0
        self._tokens = 0

    def warm_up(self) -> None:
        """Prepare the pictures that are probably sent, several at once; the others when it is their turn."""
        self._prepare(dict(self._likely_pictures()))

    def _likely_pictures(self) -> Iterator[tuple[int, ImageInput]]:
        most = self._budget.items or len(self._ranked)
        places = select(range(len(self._ranked)), most, self._budget.quotas, lambda place: self._ranked[place].modality)
        images = tokens = 0
        for place in places:
            picture = self._ranked[place].picture
            tokens += self._words_of(place).tokens + (0 if picture is None else self._picture_tokens.typical)
            if self._budget.tokens is not None and tokens > self._budget.tokens:
                return
            if picture is not None and (self._budget.images is None or images < self._budget.images):
                images += 1
                yield place, picture

    def fill(self, limits: Mapping[Modality, int] | None) -> None:
        """Send what fits, best first.

        Args:
            limits: take only so many of each modality, and none of others; None: as many as the budget allows.
        """
        for place, item in enumerate(self._ranked):
            if place in self._sent or place in self._left:
                continue
            if limits is not None and self._counts[item.modality] >= limits.get(item.modality, 0):
                continue
            self._consider(place, item)

    def prompt(self) -> Prompt:
        """Number what is sent, in ranked order."""
        places = enumerate(sorted(self._sent), start=1)
        sent = tuple(replace(self._sent[place], number=number) for number, place in places)
        return Prompt(sent, tuple(self._left[place] for place in sorted(self._left)))

    def _consider(self, place: int, item: PromptItem) -> None:
        budget, most = self._budget, self._budget.maximum.get(item.modality)
        if self._is_sent(item):
            self._leave(place, Reason.DUPLICATE, f"document {item.id!r} is sent already, from another place")
        elif item.picture is None and not item.text.strip():
            self._leave(place, Reason.EMPTY, f"document {item.id!r} has neither words nor a picture")
        elif budget.items is not None and len(self._sent) >= budget.items:
            self._leave(place, Reason.ITEMS, f"{budget.items} documents are sent already")
        elif most is not None and self._counts[item.modality] >= most:
            self._leave(place, Reason.MAXIMUM, f"the maximum of {most} of modality {item.modality!r} is reached")
        else:
            self._weigh(place, item)

    def _is_sent(self, item: PromptItem) -> bool:
        # Stores of different modalities may count from 1 each, and then a picture and a passage of one id are two
        # documents. One document that was found as both looks the same in both.
        sent = self._by_id.get(item.id, ())
        return any(item.modality == other.modality or _look_the_same(item, other) for other in sent)

    def _weigh(self, place: int, item: PromptItem) -> None:
        words = self._words_of(place)
        if (over := self._over(words.tokens)) is not None:
            self._leave(place, Reason.TOKENS, over)
        elif item.picture is None:
            if words.text:
                self._send(place, words)
            else:
                limit = self._budget.item_tokens
                self._leave(place, Reason.TOKENS, f"not one character of it fits into item_tokens={limit}")
        elif isinstance(picture := self._picture(place, item, words), PreparedPicture):
            self._send(place, words, picture)
        else:
            reason, detail = picture
            # A passage was found by its words, and they answer without the picture beside them. A document that was
            # found as a picture would stand there as something else than what was found.
            if item.modality == TEXT and words.text:
                self._send(place, words, note=detail)
            else:
                self._leave(place, reason, detail)

    def _picture(self, place: int, item: PromptItem, words: _Words) -> PreparedPicture | tuple[Reason, str]:
        most = self._budget.images
        if item.picture is None or (most is not None and self._images >= most):
            return Reason.IMAGES, f"the most of {most} pictures is reached"
        try:
            picture = self._foreseen(place) or self._pictures.prepare(item.picture)
        except ImageError as error:
            picture = error
        if isinstance(picture, ImageError):
            detail = f"the picture of document {item.id!r} cannot be sent: {picture}"
            self.bad_pictures.append(detail)
            return Reason.PICTURE, detail
        over = self._over(words.tokens + self._picture_tokens(picture))
        return picture if over is None else (Reason.TOKENS, over)

    def _foreseen(self, place: int) -> PreparedPicture | ImageError | None:
        if place not in self._prepared and self.bad_pictures:
            # Others take the places of bad ones. Several at once: each may be on a server that does not answer.
            later = ((at, item.picture) for at, item in enumerate(self._ranked[place:], place))
            unknown = ((at, given) for at, given in later if given is not None and at not in self._prepared)
            self._prepare(dict(islice(unknown, _AT_ONCE)))
        return self._prepared.get(place)

    def _prepare(self, pictures: Mapping[int, ImageInput]) -> None:
        self._prepared.update(zip(pictures, self._pictures.prepare_all(pictures.values()), strict=True))

    def _over(self, tokens: int) -> str | None:
        if self._budget.tokens is None or self._tokens + tokens <= self._budget.tokens:
            return None
        left = self._budget.tokens - self._tokens
        return f"costs at least {tokens} tokens, and {left} of {self._budget.tokens} are left"

    def _words_of(self, place: int) -> _Words:
        if place not in self._words:
            whole = neutralize(self._ranked[place].text).strip()
            limit = self._budget.item_tokens
            text = whole if limit is None else shorten(whole, limit, self._text_tokens)
            # The widest label there can be, so that numbering afterwards never costs more than was counted.
            tokens = self._text_tokens(f"[{len(self._ranked)}] {text}".rstrip())
            self._words[place] = _Words(text, text != whole, tokens)
        return self._words[place]

    def _send(self, place: int, words: _Words, picture: PreparedPicture | None = None, note: str = "") -> None:
        item = self._ranked[place]
        tokens = words.tokens + (0 if picture is None else self._picture_tokens(picture))
        self._sent[place] = SentItem(0, item, picture, tokens, words.text, words.cut, note)
        self._by_id[item.id].append(item)
        self._counts[item.modality] += 1
        self._images += picture is not None
        self._tokens += tokens

    def _leave(self, place: int, reason: Reason, detail: str) -> None:
        self._left[place] = LeftOut(self._ranked[place], reason, detail)


def _look_the_same(one: PromptItem, other: PromptItem) -> bool:
    picture = one.picture
    # PIL images compare all their pixels.
    comparable = isinstance(picture, (str, bytes, os.PathLike))
    return one.text == other.text and (picture is other.picture or (comparable and picture == other.picture))
