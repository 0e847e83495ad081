"""A prior that asks a function of the user's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from commonscale.core.concurrency import amap_bounded
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, TEXT, Floats, Modality, Question
from commonscale.priors.base import LIMIT, Prior
from commonscale.priors.document import head, write
from commonscale.priors.language_models import awaits, run_here

Opinion: TypeAlias = "Mapping[Modality, float] | float | None"
"""What a function says of one question: a number by modality, or one number for the first modality, or nothing."""

Gives = Literal["probabilities", "log-odds"]


class FunctionPrior(Prior):
    """Asks a function for each question's probabilities or log-odds.

    The function gets the question's text. It returns a number for each modality; or one number, of the first
    modality (against the second, of two); or None where it knows nothing.

        FunctionPrior(lambda text: 0.05 if "photo" in text else None)      # the probability of "text"
        FunctionPrior(rules, ("text", "image", "table"), gives="log-odds")

    A coroutine function is awaited, by synchronous searches in an event loop of their own.

    Attributes:
        function: the function.
        gives: what its numbers are.
    """

    kind = "function"

    def __init__(
        self,
        function: Callable[[str], Any],
        modalities: Sequence[Modality] = (TEXT, IMAGE),
        *,
        gives: Gives = "probabilities",
        strength: float | None = None,
        limit: float = LIMIT,
    ) -> None:
        """Set up the prior.

        Args:
            function: from a question's text to an ``Opinion``, or a coroutine function that does.
            modalities: the labels that it tells apart.
            gives: ``"probabilities"``: numbers of at least 0, in proportion to how probable each modality is if all
                were wanted equally often; a single number lies in [0, 1]. ``"log-odds"``: log-likelihoods up to a
                constant; a single number is the log-odds of the first of two modalities.
            strength: units of score for each nat; see ``scaled_to``.
            limit: most nats between two modalities.

        Raises:
            InvalidInputError: if an argument cannot be used.
        """
        super().__init__(modalities, strength=strength, limit=limit)
        if not callable(function):
            raise InvalidInputError(f"function must be callable with a question's text, got {function!r}")
        if gives not in ("probabilities", "log-odds"):
            raise InvalidInputError(f'gives must be "probabilities" or "log-odds", got {gives!r}')
        self.function = function
        self.gives: Gives = gives
        self._awaits = awaits(function)

    def evidence(self, questions: Sequence[Question]) -> Floats:
        """Ask the function for each question."""
        if self._awaits:
            return run_here(self.aevidence(questions), self.function)
        return self._rows([(question.text, self.function(question.text)) for question in questions])

    async def aevidence(self, questions: Sequence[Question]) -> Floats:
        """As ``evidence``: awaited if the function is a coroutine function, else in a thread."""
        if not self._awaits:
            return await asyncio.to_thread(self.evidence, questions)
        asked: Callable[[str], Awaitable[Opinion]] = self.function
        texts = [question.text for question in questions]
        return self._rows(list(zip(texts, await amap_bounded(asked, texts), strict=True)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write its settings as JSON, whole or not at all; ``load_prior`` wants the function again."""
        write(path, {**head(self), "gives": self.gives})

    def _rows(self, opinions: Sequence[tuple[str, Opinion]]) -> Floats:
        rows = [self._row(text, opinion) for text, opinion in opinions]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.modalities))

    def _row(self, text: str, opinion: Opinion) -> list[float]:
        if opinion is None:
            return [0.0] * len(self.modalities)
        if isinstance(opinion, Mapping):
            if set(opinion) != set(self.modalities):
                raise self._error(text, opinion, f"a number for each of {self.modalities}")
            numbers = [self._number(text, opinion, opinion[modality]) for modality in self.modalities]
        else:
            number = self._number(text, opinion, opinion)
            if len(self.modalities) != 2:
                raise self._error(text, opinion, f"a mapping, since there are {len(self.modalities)} modalities")
            numbers = [number, 1.0 - number] if self.gives == "probabilities" else [number, 0.0]
        if self.gives == "log-odds":
            return numbers
        if min(numbers) < 0 or not 0 < sum(numbers) < np.inf:
            raise self._error(text, opinion, "probabilities: at least 0, not all 0, a single one at most 1")
        with np.errstate(divide="ignore"):
            return [float(value) for value in np.log(numbers)]

    def _number(self, text: str, opinion: Opinion, value: Any) -> float:
        if isinstance(value, (int, float, np.integer, np.floating)) and not np.isnan(value):
            return float(value)
        raise self._error(text, opinion, "numbers")

    def _error(self, text: str, opinion: Opinion, needed: str) -> InvalidInputError:
        return InvalidInputError(
            f"the function of this prior gave {opinion!r} for question {text!r}; it must give {needed} "
            f"(or None where it knows nothing)"
        )
