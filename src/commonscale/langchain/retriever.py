"""The retriever: text and images of LangChain stores in one ranking."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document

from commonscale.core.failures import FailurePolicy
from commonscale.encoders.images import ImageInput
from commonscale.langchain.documents import ranked_documents
from commonscale.langchain.image_questions import ImageQuestion
from commonscale.langchain.kept import KeptRetriever


class StandardizedMultiModalRetriever(KeptRetriever):
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

    A picture is asked with as ``invoke(ImageQuestion("holiday.jpg"))`` or ``retrieve_image("holiday.jpg")``, once
    ``calibrate_images`` has learned the scale of such questions.

    ``k``, ``minimum``, ``maximum``, ``raw``, ``filter`` and ``failures`` can also be given to ``invoke`` and its
    relatives, or bound with ``bind``. Threads may share a retriever; a calibration that is swapped in serves the next
    search.
    """

    def retrieve_image(self, image: ImageInput, **options: Any) -> list[Document]:
        """Retrieve texts and images, in one ranking, for a question that is an image.

        The same as ``invoke(ImageQuestion(image))``, with its callbacks.

        Args:
            image: a path (a string is one), bytes, an open file or a PIL image.
            **options: ``config``, and whatever ``invoke`` takes, such as ``k``.

        Returns:
            The documents, best first. The picture itself comes first among the images if it is in the store.

        Raises:
            NotCalibratedError: if there is no calibration for questions that are images; call ``calibrate_images``, or
                give ``raw=True``.
            InvalidInputError: if embeddings read no images.
        """
        return self.invoke(ImageQuestion(image), **options)

    async def aretrieve_image(self, image: ImageInput, **options: Any) -> list[Document]:
        """As ``retrieve_image``, asynchronously."""
        return await self.ainvoke(await asyncio.to_thread(ImageQuestion, image), **options)

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

        A question may be an ``ImageQuestion``. Much faster than ``batch``, which invokes the retriever once per
        question in threads; but no callbacks are called. Arguments default to the fields of the same name.

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
