"""Verifying that a retriever's stores return what they are taken for."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.schema import QueryType

from commonscale.core.threads import off_thread
from commonscale.core.types import Question
from commonscale.core.verification import WORDING, Verification
from commonscale.llama_index.batch import BatchRetriever
from commonscale.llama_index.questions import as_bundles


class VerifiedRetriever(BatchRetriever):
    """A retriever whose stores can be verified."""

    def verify(self, questions: Sequence[QueryType] = ()) -> Verification:
        """Compare what the stores return with numpy's cosines, thoroughly (32 questions of 20 hits for each).

        Each store is asked with random unit vectors and with vectors of the documents that these find. A quick form of
        it runs before the first search of every store whose numbers are used or whose order may be wrong, and raises
        ``StoreCheckError``.

        Args:
            questions: tell the length of the vectors where the stores do not; only the first is embedded.

        Returns:
            A report by modality: ``.ok``, and in words as a string; notes as well as errors.
        """
        return self._search.verify(self._telling(questions))

    async def averify(self, questions: Sequence[QueryType] = ()) -> Verification:
        """As ``verify``, off the event loop."""
        return await off_thread(self.verify, questions)

    def _telling(self, questions: Sequence[QueryType]) -> list[Question]:
        asked = list(questions)[:1]
        if not asked and None in self._search.dimensions().values():
            asked = [WORDING]
        return self._embedder.embed(as_bundles(asked)) if asked else []
