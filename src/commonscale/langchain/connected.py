"""The retriever's fields, and the stores and embeddings that they connect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import Field, InstanceOf, PrivateAttr

from commonscale.core.calibrated_search import Observer
from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.failures import FailurePolicy
from commonscale.core.search import JointSearch
from commonscale.core.threads import off_thread
from commonscale.core.types import IMAGE, TEXT, Prior, Question
from commonscale.core.verification import WORDING, Verification
from commonscale.langchain.fields import refuse_unknown
from commonscale.langchain.wiring import Scale, Settings, Wiring

_KEPT = 8
"""Wirings kept, one per filter: preparing a filter means looking at every document once."""

_settings_of = attrgetter(*Settings._fields)


class ConnectedRetriever(BaseRetriever):
    """A retriever over one store per modality, or a mixed one; see ``StandardizedMultiModalRetriever``."""

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

    failures: InstanceOf[FailurePolicy] = FailurePolicy()
    """What to do about a store that is down or slow: how long to wait, how often to ask, and whether to rank the
    other modality without it. Then every document says so in ``metadata["commonscale_missing"]``."""

    check: bool = True
    """Whether each store is verified quickly before it is first searched (see ``verify``)."""

    calibration: InstanceOf[Calibration] | None = None
    """The common scale: from ``calibrate`` or ``Calibration.load``."""

    prior: InstanceOf[Prior] | None = None
    """What a question's wording tells of the modality it wants (see ``commonscale.priors``)."""

    stratum: str | Callable[[Question], str | None] | None = None
    """Which of the calibration's strata a question belongs to: a key, or a function of the question."""

    _observer: Observer | None = PrivateAttr(default=None)

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
        self._joint()

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign a field; a calibration is checked at once."""
        if name == "calibration":
            if not isinstance(value, Calibration | None):
                raise InvalidInputError(f"calibration must be a Calibration or None, got {type(value).__name__}")
            self._wired().new_search(value)
        super().__setattr__(name, value)

    def verify(self, questions: Sequence[str] = ()) -> Verification:
        """Compare what the stores return with numpy's cosines, thoroughly (32 questions of 20 hits for each).

        Each store is asked with random unit vectors and with vectors of the documents that these find. A quick form of
        it runs before the first search of every store whose numbers are used or whose order may be wrong, and raises
        ``StoreCheckError``.

        Args:
            questions: tell the length of the vectors where the stores do not; only the first is embedded.

        Returns:
            A report by modality: ``.ok``, and in words as a string; notes as well as errors.
        """
        wiring, joint = self._joint()
        asked = list(questions)[:1]
        if not asked and None in joint.dimensions().values():
            asked = [WORDING]
        return joint.verify(wiring.embedder.embed(asked) if asked else ())

    async def averify(self, questions: Sequence[str] = ()) -> Verification:
        """As ``verify``, off the event loop."""
        return await off_thread(self.verify, questions)

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

    def _joint(self, filter: Any = None, failures: FailurePolicy | None = None) -> tuple[Wiring, JointSearch]:
        """Give the wiring of the fields as they are now, and a search on the scale of now, read once for all."""
        wiring = self._wired(filter)
        return wiring, wiring.search_with(self._scale(failures, filter))

    async def _ajoint(self, filter: Any, failures: FailurePolicy | None) -> tuple[Wiring, JointSearch]:
        """As ``_joint``, off the event loop where stores have to be connected, which may ask their servers."""
        wiring = self._known(self._settings(filter))
        if wiring is not None and wiring.is_ready(self._scale(failures, filter)):
            return self._joint(filter, failures)
        return await off_thread(self._joint, filter, failures)

    def _scale(self, failures: FailurePolicy | None, filter: Any) -> Scale:
        """Give what a search needs besides the stores, as it is now."""
        # Of what a filter leaves, the best hits are lower: that is no drift.
        observer = self._observer if filter is None else None
        policy = self.failures if failures is None else failures
        return Scale(self.calibration, policy, self.prior, self.stratum, observer)

    def _wired(self, filter: Any = None) -> Wiring:
        """Give the wiring of the fields as they are now; a copied or changed retriever makes its own."""
        settings = self._settings(filter)
        wiring = self._known(settings)
        if wiring is None:
            checked = next((known.first_use for known in self._wirings if known.same_stores(settings)), None)
            wiring = Wiring(settings, checked)
            self._wirings = (wiring, *self._wirings)[:_KEPT]
        return wiring

    def _known(self, settings: Settings) -> Wiring | None:
        return next((wiring for wiring in self._wirings if wiring.made_from(settings)), None)

    def _settings(self, filter: Any) -> Settings:
        settings = Settings._make(_settings_of(self))
        return settings if filter is None else settings._replace(filter=filter)


def _names(objects: Any) -> str:
    return ", ".join(dict.fromkeys(type(thing).__name__ for thing in objects))
