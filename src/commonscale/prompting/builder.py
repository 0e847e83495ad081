"""The one place that decides what of a ranking a language model sees."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from commonscale.core.errors import ImageError, SkippedImageWarning
from commonscale.core.ranking import select
from commonscale.core.types import Modality
from commonscale.core.warn import warn
from commonscale.prompting.budget import Budget
from commonscale.prompting.costs import picture_cost
from commonscale.prompting.items import LeftOut, PreparedPicture, Prompt, PromptItem, Reason, SentItem
from commonscale.prompting.pictures import Pictures


class PromptBuilder:
    """Chooses, numbers and prepares ranked documents for a multimodal language model.

    Every modality's minimum is filled first with its best documents, then the rest of the budget goes to the best of
    any modality. Whoever does not fit is left out with the reason, and the next one is tried, so a long passage does
    not bar the short ones below it. What is sent keeps its ranked order. A picture that cannot be used is left out
    with its reason, and the place goes to the next document.
    """

    def __init__(self, budget: Budget | None = None, pictures: Pictures | None = None) -> None:
        """Set up the builder.

        Args:
            budget: how much may be sent; None for no limit but what is ranked.
            pictures: how pictures are read, shrunk and encoded, and which may be read at all; None reads no files and
                no URLs, only pictures whose bytes are given.
        """
        self.budget = budget or Budget()
        self.pictures = pictures or Pictures()

    def build(self, items: Iterable[PromptItem]) -> Prompt:
        """Make the prompt of ranked documents.

        Args:
            items: best first.

        Returns:
            What is sent, numbered in ranked order, and what is not, with reasons. Pictures that could not be used are
            also warned of, once for all.
        """
        ranked = list(items)
        choice = _Choice(self.budget, self.pictures, ranked)
        choice.warm_up()
        if self.budget.minimum:
            choice.fill(self.budget.minimum)
        choice.fill(None)
        return choice.prompt()

    async def abuild(self, items: Iterable[PromptItem]) -> Prompt:
        """Make the prompt without holding up the event loop: pictures are prepared in a thread."""
        return await asyncio.to_thread(self.build, list(items))


@dataclass(frozen=True)
class _Costed:
    picture: PreparedPicture | None
    tokens: int


class _Choice:
    """The choice for one ranking: places that are sent, and places that are not, with reasons."""

    def __init__(self, budget: Budget, pictures: Pictures, ranked: Sequence[PromptItem]) -> None:
        self._budget = budget
        self._pictures = pictures
        self._ranked = ranked
        self._image_tokens = picture_cost(budget.image_tokens)
        self._sent: dict[int, _Costed] = {}
        self._left: dict[int, LeftOut] = {}
        self._counts: Counter[Modality] = Counter()
        seen: set[str] = set()
        for place, item in enumerate(ranked):
            if item.id in seen:
                self._leave(place, Reason.DUPLICATE, f"document {item.id!r} stands higher in the ranking already")
            elif not item.text and item.picture is None:
                self._leave(place, Reason.EMPTY, f"document {item.id!r} has neither words nor a picture")
            seen.add(item.id)

    def warm_up(self) -> None:
        """Prepare the pictures that are sent if none of them is bad and the tokens last, several at once."""
        open_places = [place for place in range(len(self._ranked)) if place not in self._left]
        budget = len(open_places) if self._budget.items is None else self._budget.items
        likely = select(open_places, budget, self._budget.quotas, lambda place: self._ranked[place].modality)
        pictures = [item.picture for place in likely if (item := self._ranked[place]).picture is not None]
        self._pictures.prepare_all(pictures[: self._budget.images])

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

    def _consider(self, place: int, item: PromptItem) -> None:
        budget, most = self._budget, self._budget.maximum.get(item.modality)
        if budget.items is not None and len(self._sent) >= budget.items:
            self._leave(place, Reason.ITEMS, f"{budget.items} documents are sent already")
        elif most is not None and self._counts[item.modality] >= most:
            self._leave(place, Reason.MAXIMUM, f"{most} of modality {item.modality!r} are sent already")
        elif item.picture is not None and budget.images is not None and self._images() >= budget.images:
            self._leave(place, Reason.IMAGES, f"{budget.images} pictures are sent already")
        else:
            self._weigh(place, item)

    def _weigh(self, place: int, item: PromptItem) -> None:
        try:
            picture = None if item.picture is None else self._pictures.prepare(item.picture)
        except ImageError as error:
            self._leave(place, Reason.PICTURE, f"the picture of document {item.id!r} cannot be sent: {error}")
            return
        tokens = self._tokens(item, picture)
        spent = sum(sent.tokens for sent in self._sent.values())
        if self._budget.tokens is not None and spent + tokens > self._budget.tokens:
            left = self._budget.tokens - spent
            self._leave(place, Reason.TOKENS, f"costs {tokens} tokens, and {left} of {self._budget.tokens} are left")
            return
        self._sent[place] = _Costed(picture, tokens)
        self._counts[item.modality] += 1

    def _tokens(self, item: PromptItem, picture: PreparedPicture | None) -> int:
        # The widest label there can be, so that numbering afterwards never costs more than was counted.
        words = f"[{len(self._ranked)}] {item.text}".rstrip()
        return self._budget.text_tokens(words) + (0 if picture is None else self._image_tokens(picture))

    def _images(self) -> int:
        return sum(sent.picture is not None for sent in self._sent.values())

    def _leave(self, place: int, reason: Reason, detail: str) -> None:
        self._left[place] = LeftOut(self._ranked[place], reason, detail)

    def prompt(self) -> Prompt:
        """Number what is sent, and warn of pictures that could not be."""
        places = sorted(self._sent)
        sent = (
            SentItem(number, self._ranked[place], self._sent[place].picture, self._sent[place].tokens)
            for number, place in enumerate(places, start=1)
        )
        prompt = Prompt(tuple(sent), tuple(self._left[place] for place in sorted(self._left)))
        bad = [left.detail for left in prompt.left_out if left.reason is Reason.PICTURE]
        if bad:
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            warn(f"{len(bad)} picture(s) left out of the prompt: {bad[0]}{more}", SkippedImageWarning)
        return prompt
