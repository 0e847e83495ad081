"""The retriever: text and images of LangChain stores in one ranking."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document

from commonscale.core.calibration import Calibration
from commonscale.core.extras import require
from commonscale.core.failures import FailurePolicy
from commonscale.core.search import JointSearch
from commonscale.core.types import Question
from commonscale.langchain.connected import ConnectedRetriever
from commonscale.langchain.documents import ranked_documents


class StandardizedMultiModalRetriever(ConnectedRetriever):
    """Retrieves text and images in one ranking, each put on a common scale by its modality's statistics.

    Give a store per modality, or one mixed store whose documents carry their modality in their metadata:

        retriever = StandardizedMultiModalRetriever(text_store=texts, image_store=pictures, embeddings=embeddings)
        retriever.calibrate(["what users ask", ...])
        documents = retriever.invoke("a red bus", k=5)

    A store may be a LangChain vector store (see ``commonscale.langchain.STORES``), a
    ``commonscale.index.FaissIndex``, a retriever with scores, such as BM25Retriever (settings: see
    ``RetrieverSource``), or any ``commonscale.Source``. Every document that comes back is a copy whose
    metadata hold ``commonscale_score``, ``commonscale_cosine`` and ``commonscale_modality``, and as
    ``commonscale_question`` a short hash of the question, which tells a ``SimilarityStandardizer`` whose cosine it is.

    ``k``, ``minimum``, ``maximum``, ``raw``, ``filter`` and ``failures`` can also be given to ``invoke`` and its
    relatives, or bound with ``bind``. Threads may share a retriever; a calibration that is swapped in serves the next
    search.
    """

    def calibrate(self, questions: Sequence[str], show_progress: bool = False) -> Calibration:
        """Fit the common scale on unlabeled questions and use it from now on.

        The best hit of each question in each modality stands in for a labeled pair (Yamashita et al. 2025,
        Eq. 3-4). Questions are embedded once and searched in one batch per modality.

        Args:
            questions: questions as users ask them; no labels. At least one, better 100 or more.
            show_progress: show a bar on stderr while they are embedded one by one.

        Returns:
            The calibration; ``save`` it to use it again.

        Raises:
            InvalidInputError: if there are no questions or no documents.
            MissingExtraError: if a progress bar is wanted and tqdm is missing.
        """
        embedded, search = self._asked(questions, show_progress)
        calibration = search.calibrate(embedded)
        self.calibration = calibration
        return calibration

    async def acalibrate(self, questions: Sequence[str], show_progress: bool = False) -> Calibration:
        """As ``calibrate``, off the event loop: by the stores' asynchronous searches where they have them.

        Questions are embedded in a thread: most models that run here block the loop in their asynchronous methods too.
        """
        embedded, search = await asyncio.to_thread(self._asked, questions, show_progress)
        calibration = await search.acalibrate(embedded)
        await asyncio.to_thread(setattr, self, "calibration", calibration)
        return calibration

    def _asked(self, questions: Sequence[str], show_progress: bool) -> tuple[list[Question], JointSearch]:
        """Embed questions to calibrate with, and make the search for it."""
        wiring = self._wired()
        embedded = wiring.embedder.embed(questions, _bar if show_progress else lambda items: items)
        return embedded, wiring.new_search(failures=self.failures)

    def retrieve_batch(
        self,
        questions: Sequence[str],
        k: int | None = None,
        *,
        minimum: Mapping[str, int] | None = None,
        maximum: Mapping[str, int] | None = None,
        raw: bool | None = None,
        filter: Any = None,
        failures: FailurePolicy | None = None,
    ) -> list[list[Document]]:
        """Retrieve for many questions with one batch search per modality.

        Much faster than ``batch``, which invokes the retriever once per question in threads; but no callbacks
        are called. Arguments default to the fields of the same name.

        Returns:
            The documents of each question, best first.
        """
        wiring, joint = self._joint(filter, failures)
        rankings = joint.search_batch(wiring.embedder.embed(questions), **self._choice(k, minimum, maximum, raw))
        return ranked_documents(questions, rankings)

    async def aretrieve_batch(
        self,
        questions: Sequence[str],
        k: int | None = None,
        *,
        minimum: Mapping[str, int] | None = None,
        maximum: Mapping[str, int] | None = None,
        raw: bool | None = None,
        filter: Any = None,
        failures: FailurePolicy | None = None,
    ) -> list[list[Document]]:
        """As ``retrieve_batch``, without blocking the event loop."""
        wiring, joint = await self._ajoint(filter, failures)
        embedded = await wiring.embedder.aembed(questions)
        rankings = await joint.asearch_batch(embedded, **self._choice(k, minimum, maximum, raw))
        # Reading documents may take as long as a look into a docstore far away.
        return await asyncio.to_thread(ranked_documents, questions, rankings)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 (the interface names it)
        k: int | None = None,
        minimum: Mapping[str, int] | None = None,
        maximum: Mapping[str, int] | None = None,
        raw: bool | None = None,
        filter: Any = None,
        failures: FailurePolicy | None = None,
    ) -> list[Document]:
        found = self.retrieve_batch(
            [query], k, minimum=minimum, maximum=maximum, raw=raw, filter=filter, failures=failures
        )
        return found[0]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 (the interface names it)
        k: int | None = None,
        minimum: Mapping[str, int] | None = None,
        maximum: Mapping[str, int] | None = None,
        raw: bool | None = None,
        filter: Any = None,
        failures: FailurePolicy | None = None,
    ) -> list[Document]:
        found = await self.aretrieve_batch(
            [query], k, minimum=minimum, maximum=maximum, raw=raw, filter=filter, failures=failures
        )
        return found[0]


def _bar(questions: Sequence[str]) -> Any:
    return require("tqdm", "encoders").tqdm(questions, unit="question", desc="calibrating")
