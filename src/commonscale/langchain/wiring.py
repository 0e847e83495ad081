"""From the stores and settings of a retriever to sources, their provenance and the questions' embedder."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from langchain_core.embeddings import Embeddings

from commonscale.core.attempts import opened
from commonscale.core.calibrated_search import Observer
from commonscale.core.calibration import Calibration, Provenance
from commonscale.core.cosines import Converter
from commonscale.core.errors import EncoderMismatchError, InvalidInputError
from commonscale.core.failures import FailurePolicy
from commonscale.core.keys import Stratum
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, TEXT, Modality, Prior, Source
from commonscale.core.unbounded import is_by_text
from commonscale.core.verification import FirstUse
from commonscale.langchain.questions import QuestionEmbedder, as_embeddings, fingerprint_of
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import IdKey, View


class Settings(NamedTuple):
    """The retriever's fields that decide what is searched, see there."""

    text_store: Any
    image_store: Any
    store: Any
    embeddings: Any
    image_embeddings: Any
    modalities: Sequence[Modality]
    modality_key: str
    modality_filters: Mapping[Modality, Any] | None
    filter: Any
    id_key: IdKey | None
    score_kind: str | Converter | Mapping[Modality, str | Converter] | None
    check: bool


class Scale(NamedTuple):
    """What a search needs besides the stores; see ``JointSearch``."""

    calibration: Calibration | None
    failures: FailurePolicy
    prior: Prior | None = None
    stratum: Stratum = None
    observer: Observer | None = None


class Wiring:
    """What a retriever searches with.

    Attributes:
        sources: one source per modality.
        embedder: embeds questions for all of them.
        first_use: remembers which of them have been checked.
    """

    def __init__(self, settings: Settings, first_use: FirstUse | None = None) -> None:
        """Connect stores and embeddings.

        Args:
            settings: the retriever's fields.
            first_use: that of a wiring over the same stores, so that none is checked again for another filter.

        Raises:
            InvalidInputError: if there is no store, both kinds are given, or no embeddings are known.
            UnknownScoreKindError: if a store's scores have no known meaning.
            EncoderMismatchError: if a store was made with another encoder than questions are embedded with.
        """
        # A copy: a filter that is changed in place must not go on being served by what was made from the old one.
        self._settings = tuple(copy.deepcopy(value) if _is_plain(value) else value for value in settings)
        self._stores = stores = _stores(settings)
        self.sources: dict[Modality, Source] = {
            m: opened(m, s, partial(source_of, s, _view(settings, m))) for m, s in stores.items()
        }
        by_vector = {m: s for m, s in stores.items() if not is_by_text(self.sources[m])}
        self.embedder = QuestionEmbedder({m: _embeddings(settings, m, s) for m, s in by_vector.items()})
        for modality, store in stores.items():
            self._check_encoder(modality, store)
        self._latest: JointSearch | None = None
        self.first_use = first_use or FirstUse(enabled=settings.check)

    def made_from(self, settings: Settings) -> bool:
        """Tell whether it was made from these settings: the same objects, or equal dicts and lists."""
        if all(map(operator.is_, self._settings, settings)):
            return True
        pairs = zip(self._settings, settings, strict=True)
        return all(mine is theirs or (_is_plain(mine) and mine == theirs) for mine, theirs in pairs)

    def same_stores(self, settings: Settings) -> bool:
        """Tell whether only the filter differs from these settings."""
        return self.made_from(settings._replace(filter=Settings._make(self._settings).filter))

    def search_with(self, scale: Scale) -> JointSearch:
        """Give a search on this scale, which nobody may change: it is given again for an equal one.

        Raises:
            CalibrationMismatchError: if the calibration belongs to another encoder, dimension or score kind.
        """
        # Read once and never changed in place: other threads, and copies of the retriever, may ask for another scale.
        latest = self._latest
        if latest is None or not _is_for(latest, scale):
            self._latest = latest = self.new_search(*scale)
        return latest

    def is_ready(self, scale: Scale) -> bool:
        """Tell whether ``search_with`` asks no store anything."""
        latest = self._latest
        return latest is not None and _is_for(latest, scale)

    def new_search(
        self,
        calibration: Calibration | None = None,
        failures: FailurePolicy | None = None,
        prior: Prior | None = None,
        stratum: Stratum = None,
        observer: Observer | None = None,
    ) -> JointSearch:
        """Make a search, with the calibration checked against what is known of the stores now."""
        search = JointSearch(
            self.sources,
            calibration,
            provenance=self.provenance(),
            failures=failures,
            check=self.first_use,
            prior=prior,
            stratum=stratum,
        )
        search.observer = observer
        return search

    def provenance(self) -> dict[Modality, Provenance]:
        """Say where each modality's cosines come from, as far as it is known now."""
        return {m: self._provenance(m, source) for m, source in self.sources.items()}

    def _provenance(self, modality: Modality, source: Any) -> Provenance:
        kind = getattr(source, "score_kind", None)
        store = self._stores[modality]
        made_by = getattr(store, "encoder_fingerprint", None)
        dimension = getattr(source, "dimension", None)
        asked_by = self.embedder.by_modality.get(modality)
        return Provenance(
            encoder_fingerprint=_fingerprint(asked_by) or made_by or fingerprint_of(asked_by),
            dimension=getattr(store, "dimension", None) if dimension is None else dimension,
            score_kind=getattr(kind, "__name__", "custom") if callable(kind) else kind,
        )

    def _check_encoder(self, modality: Modality, store: Any) -> None:
        made_by = getattr(store, "encoder_fingerprint", None)
        asked_by = _fingerprint(self.embedder.by_modality.get(modality))
        if made_by is not None and asked_by is not None and made_by != asked_by:
            raise EncoderMismatchError(
                f"the {type(store).__name__} of modality {modality!r} was made with encoder {made_by!r}, but questions "
                f"would be embedded with {asked_by!r}; load the encoder of the index"
            )


def _is_for(search: JointSearch, scale: Scale) -> bool:
    return (
        search.calibration is scale.calibration
        and search.failures == scale.failures
        and search.prior is scale.prior
        and search.stratum is scale.stratum
        and search.observer is scale.observer
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _fingerprint(embeddings: Any) -> str | None:
    found = getattr(embeddings, "fingerprint", None)
    return found if isinstance(found, str) else None


def _stores(settings: Settings) -> dict[Modality, Any]:
    separate = {TEXT: settings.text_store, IMAGE: settings.image_store}
    chosen = {modality: store for modality, store in separate.items() if store is not None}
    if (settings.store is None) == (not chosen):
        raise InvalidInputError(
            "give either text_store and image_store, or store for one store that holds all modalities; "
            + ("got none of them" if settings.store is None else f"got store and {sorted(chosen)} stores")
        )
    if settings.store is None:
        return chosen
    modalities = list(settings.modality_filters or settings.modalities)
    if not modalities:
        raise InvalidInputError("a mixed store needs the modalities to search it for: modalities=['text', 'image']")
    return dict.fromkeys(modalities, settings.store)


def _view(settings: Settings, modality: Modality) -> View:
    mixed = settings.store is not None
    kind = settings.score_kind
    return View(
        modality=modality,
        modality_key=settings.modality_key if mixed and not settings.modality_filters else None,
        modality_filter=(settings.modality_filters or {}).get(modality) if mixed else None,
        filter=settings.filter,
        id_key=settings.id_key,
        score_kind=kind.get(modality) if isinstance(kind, Mapping) else kind,
    )


def _embeddings(settings: Settings, modality: Modality, store: Any) -> Embeddings:
    given = settings.image_embeddings if modality == IMAGE and settings.image_embeddings is not None else None
    given = settings.embeddings if given is None else given
    given = getattr(store, "embeddings", None) if given is None else given
    if given is None:
        raise InvalidInputError(
            f"no embeddings are known for modality {modality!r}: the {type(store).__name__} has none of its own; "
            f"give embeddings=... (and image_embeddings=... if pictures have another encoder)"
        )
    return as_embeddings(given)
