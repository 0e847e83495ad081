"""The retriever: text and images of LangChain stores in one ranking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import Field, InstanceOf, PrivateAttr

from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.core.types import IMAGE, TEXT
from commonscale.langchain.documents import ranked_documents
from commonscale.langchain.fields import refuse_unknown
from commonscale.langchain.wiring import Settings, Wiring

_KEPT = 8
"""Wirings kept, one per filter: preparing a filter means looking at every document once."""

_settings_of = attrgetter(*Settings._fields)


class StandardizedMultiModalRetriever(BaseRetriever):
    """Retrieves text and images in one ranking, each put on a common scale by its modality's statistics.

    Give a store per modality, or one mixed store whose documents carry their modality in their metadata:

        retriever = StandardizedMultiModalRetriever(text_store=texts, image_store=pictures, embeddings=embeddings)
        retriever.calibrate(["what users ask", ...])
        documents = retriever.invoke("a red bus", k=5)

    A store may be a LangChain vector store (see ``commonscale.langchain.STORES``), a
    ``commonscale.index.FaissIndex`` or any ``commonscale.Source``. Every document that comes back is a copy whose
    metadata hold ``commonscale_score``, ``commonscale_cosine`` and ``commonscale_modality``, and as
    ``commonscale_question`` a short hash of the question, which tells a ``SimilarityStandardizer`` whose cosine it is.

    ``k``, ``minimum``, ``maximum``, ``raw`` and ``filter`` can also be given to ``invoke`` and its relatives, or
    bound with ``bind``. Threads may share a retriever; a calibration that is swapped in serves the next search.
    """

    text_store: Any = None
    """Store of the texts."""

    image_store: Any = None
    """Store of the images."""

    store: Any = None
    """One store of all modalities, in place of the two."""

    embeddings: Any = None
    """What questions are embedded with: LangChain embeddings or an encoder; by default each store's own."""

    image_embeddings: Any = None
    """What questions to the images are embedded with, if that differs."""

    k: int = Field(default=10, ge=1)
    """How many documents to return, of all modalities together."""

    minimum: Mapping[str, int] | None = None
    """At least this many documents of a modality, if it has them, such as ``{"image": 2}``."""

    maximum: Mapping[str, int] | None = None
    """At most this many documents of a modality."""

    raw: bool = False
    """Rank by raw cosine instead, for comparison; needs no calibration."""

    modalities: Sequence[str] = (TEXT, IMAGE)
    """The modalities of the mixed store."""

    modality_key: str = "modality"
    """Metadata key that holds a document's modality in the mixed store."""

    modality_filters: Mapping[str, Any] | None = None
    """Filters, in the mixed store's own form, that choose each modality's documents, in place of ``modality_key``."""

    filter: Any = None
    """Which documents may be found at all, in the store's own form: FAISS takes a dict or a function of the
    metadata; InMemoryVectorStore, FaissIndex and sources a function of the document or a dict of values."""

    id_key: str | Callable[[Document], str] | None = None
    """Metadata key, or function of a document, that gives its id, for stores that do not return ids."""

    score_kind: Any = None
    """What an unknown store's scores mean (one of ``commonscale.SCORE_KINDS``, or a function from scores to
    cosines), for all stores or by modality."""

    calibration: InstanceOf[Calibration] | None = None
    """The common scale: from ``calibrate`` or ``Calibration.load``."""

    _wirings: tuple[Wiring, ...] = PrivateAttr(default=())

    def __init__(self, **fields: Any) -> None:
        """Connect the stores; nothing is searched or embedded yet.

        Args:
            **fields: the fields above.

        Raises:
            pydantic.ValidationError: if a field has a wrong type.
            InvalidInputError: if a keyword names no field, or stores or embeddings are missing or cannot be used
                together.
            UnknownScoreKindError: if a store's scores have no known meaning.
            CalibrationMismatchError: if the calibration belongs to another encoder, dimension or score kind.
        """
        refuse_unknown(type(self), fields)
        super().__init__(**fields)
        self._wired().search_with(self.calibration)

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign a field; a calibration is checked at once."""
        if name == "calibration":
            if not isinstance(value, Calibration | None):
                raise InvalidInputError(f"calibration must be a Calibration or None, got {type(value).__name__}")
            self._wired().new_search(value)
        super().__setattr__(name, value)

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
        wiring = self._wired()
        embedded = wiring.embedder.embed(questions, _bar if show_progress else lambda items: items)
        calibration = wiring.new_search().calibrate(embedded)
        self.calibration = calibration
        return calibration

    async def acalibrate(self, questions: Sequence[str], show_progress: bool = False) -> Calibration:
        """As ``calibrate``, in a thread."""
        return await asyncio.to_thread(self.calibrate, questions, show_progress)

    def retrieve_batch(
        self,
        questions: Sequence[str],
        k: int | None = None,
        *,
        minimum: Mapping[str, int] | None = None,
        maximum: Mapping[str, int] | None = None,
        raw: bool | None = None,
        filter: Any = None,
    ) -> list[list[Document]]:
        """Retrieve for many questions with one batch search per modality.

        Much faster than ``batch``, which invokes the retriever once per question in threads; but no callbacks
        are called. Arguments default to the fields of the same name.

        Returns:
            The documents of each question, best first.
        """
        wiring = self._wired(filter)
        # The calibration is read once for all, so no ranking mixes two.
        joint = wiring.search_with(self.calibration)
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
    ) -> list[list[Document]]:
        """As ``retrieve_batch``, without blocking the event loop."""
        wiring = self._wired(filter)
        joint = wiring.search_with(self.calibration)
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
    ) -> list[Document]:
        found = self.retrieve_batch([query], k, minimum=minimum, maximum=maximum, raw=raw, filter=filter)
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
    ) -> list[Document]:
        found = await self.aretrieve_batch([query], k, minimum=minimum, maximum=maximum, raw=raw, filter=filter)
        return found[0]

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        """Name stores and embeddings for tracing."""
        params = super()._get_ls_params(**kwargs)
        stores = [s for s in (self.text_store, self.image_store, self.store) if s is not None]
        embeddings = self._wired().embedder.by_modality.values()
        params["ls_vector_store_provider"] = _names(stores)
        params["ls_embedding_provider"] = _names(embeddings)
        return params

    def _choice(self, k: Any, minimum: Any, maximum: Any, raw: Any) -> dict[str, Any]:
        given = {"k": k, "minimum": minimum, "maximum": maximum, "raw": raw}
        return {name: getattr(self, name) if value is None else value for name, value in given.items()}

    def _wired(self, filter: Any = None) -> Wiring:
        """Give the wiring of the fields as they are now; a copied or changed retriever makes its own."""
        settings = Settings._make(_settings_of(self))
        if filter is not None:
            settings = settings._replace(filter=filter)
        known = self._wirings
        for wiring in known:
            if wiring.made_from(settings):
                return wiring
        wiring = Wiring(settings)
        self._wirings = (wiring, *known)[:_KEPT]
        return wiring


def _names(objects: Any) -> str:
    return ", ".join(dict.fromkeys(type(thing).__name__ for thing in objects))


def _bar(questions: Sequence[str]) -> Any:
    return require("tqdm", "encoders").tqdm(questions, unit="question", desc="calibrating")
