"""A prior that asks a language model, in few calls and once for each question."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from commonscale.core.concurrency import amap_bounded, map_bounded
from commonscale.core.errors import InvalidInputError, PriorError, PriorWarning
from commonscale.core.types import Floats, Modality, Question
from commonscale.core.warn import warn
from commonscale.priors.answers import DESCRIPTIONS, prompt_of, read_answer
from commonscale.priors.base import Prior
from commonscale.priors.document import field, head, refuse_unknown, write
from commonscale.priors.language_models import model_of, run_here
from commonscale.priors.remembered import Remembered

Shares = list[float] | None

LIMIT = 4.0
"""Most nats, by default: language models say 100% easily, so it is taken for 98%."""


class PromptPrior(Prior):
    """Asks a language model how likely each question wants each modality.

    Many questions go into one prompt, and every question is asked about once: answers are remembered by a hash of the
    question. What cannot be read is asked again, alone. Models are not calibrated; ``calibrated`` finds the factor
    from labels, if there are some.

    Attributes:
        llm: the language model.
        descriptions: what each modality holds, as the model is told.
        batch_size: questions in a prompt.
        workers: prompts at once.
        on_failure: what becomes of questions that the model does not answer.
    """

    kind = "prompt"

    def __init__(
        self,
        llm: Any,
        descriptions: Mapping[Modality, str] = DESCRIPTIONS,
        *,
        batch_size: int = 20,
        workers: int = 1,
        cache_size: int = 100_000,
        on_failure: Literal["flat", "raise"] = "flat",
        strength: float | None = None,
        limit: float = LIMIT,
    ) -> None:
        """Set up the prior; the model is not asked yet.

        Args:
            llm: an LLM of LlamaIndex, a model or chain of LangChain, or a function or coroutine function from prompt
                to answer.
            descriptions: what each modality holds, in a few words; its keys are the modalities.
            batch_size: questions in a prompt, at least 1.
            workers: prompts at once, at least 1. More than one needs a model that threads may share.
            cache_size: most questions remembered; those not asked for longest are dropped.
            on_failure: ``"flat"`` warns and goes on without knowledge of these questions, ``"raise"`` raises.
            strength: units of score for each nat; see ``scaled_to``.
            limit: most nats between two modalities.

        Raises:
            InvalidInputError: if an argument cannot be used.
        """
        super().__init__(tuple(descriptions), strength=strength, limit=limit)
        for name, number in (("batch_size", batch_size), ("workers", workers), ("cache_size", cache_size)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise InvalidInputError(f"{name} must be a whole number of at least 1, got {number!r}")
        if on_failure not in ("flat", "raise"):
            raise InvalidInputError(f'on_failure must be "flat" or "raise", got {on_failure!r}')
        self.llm = llm
        self.descriptions = dict(descriptions)
        self.batch_size = batch_size
        self.workers = workers
        self.on_failure = on_failure
        self._model = model_of(llm)
        self._answers = Remembered(cache_size)

    def evidence(self, questions: Sequence[Question]) -> Floats:
        """Ask about the questions that are not remembered."""
        ask = self._model.ask
        if ask is None:
            return run_here(self.aevidence(questions), self.llm)

        def answered(texts: Sequence[str]) -> list[Shares] | Exception:
            try:
                return read_answer(ask(prompt_of(texts, self.descriptions)), len(texts), self.modalities)
            except Exception as error:  # noqa: BLE001 - any client's error; on_failure decides
                return error

        known = self._answers.known([question.text for question in questions])
        failure = None
        for batches in self._rounds(known):
            failure = self._keep(known, batches, map_bounded(answered, batches, self.workers))
        return self._rows(questions, known, failure)

    async def aevidence(self, questions: Sequence[Question]) -> Floats:
        """As ``evidence``, with the prompts awaited together."""

        async def answered(texts: Sequence[str]) -> list[Shares] | Exception:
            try:
                answer = await self._model.aask(prompt_of(texts, self.descriptions))
                return read_answer(answer, len(texts), self.modalities)
            except Exception as error:  # noqa: BLE001 - any client's error; on_failure decides
                return error

        known = self._answers.known([question.text for question in questions])
        failure = None
        for batches in self._rounds(known):
            failure = self._keep(known, batches, await amap_bounded(answered, batches))
        return self._rows(questions, known, failure)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write settings and answers as JSON, whole or not at all; ``load_prior`` wants the model again.

        Questions are kept as hashes, not in words.
        """
        settings = {name: getattr(self, name) for name in ("descriptions", "batch_size", "workers", "on_failure")}
        write(path, {**head(self), **settings, "cache_size": self._answers.size, "answers": self._answers.dump()})

    @classmethod
    def from_document(cls, document: Mapping[str, Any], llm: Any, strength: float | None, limit: float) -> PromptPrior:
        """Build it from what ``save`` wrote, already parsed."""
        own = {"descriptions", "batch_size", "workers", "on_failure", "cache_size", "answers"}
        refuse_unknown(document, own)
        numbers = {name: field(document, name, int) for name in ("batch_size", "workers", "cache_size")}
        on_failure = field(document, "on_failure", str)
        described = {str(label): str(words) for label, words in field(document, "descriptions", dict).items()}
        made = cls(llm, described, **numbers, on_failure=on_failure, strength=strength, limit=limit)
        made._answers.restore(field(document, "answers", dict), len(described))
        return made

    def _rounds(self, known: Mapping[str, Shares]) -> Any:
        """Give the batches to ask: first all that is not known, then what is still not, one by one."""
        for size in dict.fromkeys((self.batch_size, 1)):
            unknown = [text for text, shares in known.items() if shares is None]
            if unknown:
                yield [unknown[start : start + size] for start in range(0, len(unknown), size)]

    def _keep(
        self, known: dict[str, Shares], batches: Sequence[Sequence[str]], answers: Sequence[list[Shares] | Exception]
    ) -> Exception | None:
        """Take in what was answered; give the last error, if there was one."""
        failure = None
        for texts, answer in zip(batches, answers, strict=True):
            if isinstance(answer, Exception):
                failure = answer
                continue
            for text, shares in zip(texts, answer, strict=True):
                if shares is not None:
                    known[text] = shares
                    self._answers.remember(text, shares)
        return failure

    def _rows(self, questions: Sequence[Question], known: Mapping[str, Shares], failure: Exception | None) -> Floats:
        missing = [text for text, shares in known.items() if shares is None]
        if missing:
            reason = f"it failed: {failure!r}" if failure else "its answer could not be read"
            message = (
                f"the language model of this prior said nothing of {len(missing)} of {len(known)} questions, the first "
                f"is {missing[0]!r} ({reason})"
            )
            if self.on_failure == "raise":
                raise PriorError(f'{message}; see what it answers, or set on_failure="flat"') from failure
            warn(f"{message}; they are ranked without a prior", PriorWarning)
        equal = [1.0] * len(self.modalities)
        shares = np.array([known[question.text] or equal for question in questions], dtype=np.float64)
        with np.errstate(divide="ignore"):
            return np.log(shares.reshape(len(questions), len(self.modalities)))
