"""The common scale of a retriever, and what it does about stores that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from llama_index.core.schema import QueryType

from commonscale.core.calibration import Calibration
from commonscale.core.failures import FailurePolicy, check_policy
from commonscale.core.types import Question
from commonscale.core.unbounded import is_by_text
from commonscale.llama_index.arguments import check_calibration
from commonscale.llama_index.questions import as_bundles
from commonscale.llama_index.verified import VerifiedRetriever


class CalibratedRetriever(VerifiedRetriever):
    """A retriever that learns the common scale from unlabeled questions."""

    @property
    def calibration(self) -> Calibration | None:
        """The common scale in use; assigning another takes effect with the next question."""
        return self._search.calibration

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        check_calibration(calibration)
        self._search.calibration = calibration

    @property
    def failures(self) -> FailurePolicy:
        """What is done about stores that fail; assigning another takes effect with the next question."""
        return self._search.failures

    @failures.setter
    def failures(self, failures: FailurePolicy) -> None:
        self._search.failures = check_policy(failures)

    def calibrate(self, questions: Sequence[QueryType], show_progress: bool = False) -> Calibration:
        """Learn the common scale from unlabeled questions and use it from now on.

        Args:
            questions: questions as users ask them; better 100 or more. Each is embedded once per model, and
                each store is searched in one batch.
            show_progress: show a progress bar while embedding.

        Returns:
            The calibration; keep it with ``calibration.save(path)``.

        Raises:
            InvalidInputError: if there are no questions or no documents.
        """
        return self._search.calibrate(self._asked(questions, show_progress))

    async def acalibrate(self, questions: Sequence[QueryType], show_progress: bool = False) -> Calibration:
        """As ``calibrate``, off the event loop: by the stores' asynchronous searches where they have them.

        Questions are embedded in a thread: most models that run here block the loop in their asynchronous methods.
        """
        return await self._search.acalibrate(await asyncio.to_thread(self._asked, questions, show_progress))

    def _asked(self, questions: Sequence[QueryType], show_progress: bool) -> list[Question]:
        """Embed questions to calibrate with; their dimension is recorded where the store did not know it."""
        embedded = self._embedder.embed(as_bundles(questions), show_progress=show_progress)
        for modality, known in self._search.provenance.items():
            if embedded and known.dimension is None and not is_by_text(self._sources[modality]):
                dimension = len(embedded[0].vector_for(modality))
                self._search.provenance[modality] = replace(known, dimension=dimension)
        return embedded
