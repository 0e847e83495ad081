"""The one place that decides what of a ranking a language model sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from commonscale.core.errors import SkippedImageWarning
from commonscale.core.warn import warn
from commonscale.prompting.budget import Budget
from commonscale.prompting.choice import Choice
from commonscale.prompting.items import Prompt, PromptItem
from commonscale.prompting.pictures import Pictures


class PromptBuilder:
    """Chooses, numbers and prepares ranked documents for a multimodal language model.

    Every modality's minimum is filled first with its best documents, then the rest of the budget goes to the best of
    any modality. Whoever does not fit is left out with the reason, and the next one is tried, so a long passage does
    not bar the short ones below it. What is sent keeps its ranked order. A picture that cannot be used is left out
    with its reason, and the place goes to the next document; a document of modality ``"text"`` is then sent as its
    words alone, with a note.

    Documents are untrusted: their text is made harmless (see ``commonscale.prompting.neutralize``) before it is sent.

    Attributes:
        budget: how much may be sent.
        pictures: how pictures are read, shrunk and encoded.
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

        Raises:
            InvalidInputError: if the budget's own functions do not give numbers of tokens.
        """
        choice = Choice(self.budget, self.pictures, list(items))
        choice.warm_up()
        if self.budget.minimum:
            choice.fill(self.budget.minimum)
        choice.fill(None)
        if choice.bad_pictures:
            first, *others = choice.bad_pictures
            more = f" (and {len(others)} more)" if others else ""
            warn(f"{len(others) + 1} picture(s) left out of the prompt: {first}{more}", SkippedImageWarning)
        return choice.prompt()

    async def abuild(self, items: Iterable[PromptItem]) -> Prompt:
        """Make the prompt without holding up the event loop: pictures are prepared in a thread."""
        return await asyncio.to_thread(self.build, list(items))
