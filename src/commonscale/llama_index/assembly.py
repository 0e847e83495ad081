"""From the stores, nodes and models that a user names to a joint search over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.types import MetadataFilters

from commonscale.core.attempts import opened
from commonscale.core.calibration import Calibration, Provenance
from commonscale.core.errors import EncoderMismatchError, InvalidInputError
from commonscale.core.failures import FailurePolicy
from commonscale.core.keys import Stratum
from commonscale.core.prior_checks import warn_of_other_scale
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, TEXT, Modality, Prior
from commonscale.core.unbounded import is_by_text
from commonscale.llama_index.catalog import DocstoreNodes, MappedNodes, NodeCatalog, NodeMap
from commonscale.llama_index.embedding import CommonscaleEmbedding
from commonscale.llama_index.question_embedder import QuestionEmbedder
from commonscale.llama_index.questions import fingerprint_of
from commonscale.llama_index.sources import NodeSource, ScoreKindName, StoreRequest
from commonscale.llama_index.stores import open_source

EmbedModel = Any
"""A LlamaIndex ``BaseEmbedding``, or an encoder of Commonscale's."""


@dataclass(frozen=True)
class Stores:
    """The stores to search, and where their nodes are: two, one of them, or a mixed one.

    Attributes:
        text: store of texts.
        image: store of images.
        mixed: one store of both.
        text_nodes: nodes of the text store.
        image_nodes: nodes of the image store.
        nodes: nodes of the mixed store.
        docstore: docstore of all of them, by node id.
        modalities: modalities of the mixed store.
    """

    text: Any = None
    image: Any = None
    mixed: Any = None
    text_nodes: NodeMap | NodeCatalog | None = None
    image_nodes: NodeMap | NodeCatalog | None = None
    nodes: NodeMap | NodeCatalog | None = None
    docstore: BaseDocumentStore | None = None
    modalities: Sequence[Modality] = (TEXT, IMAGE)

    def by_modality(self) -> dict[Modality, tuple[Any, NodeCatalog | None]]:
        """Give each modality's store and catalog.

        Raises:
            InvalidInputError: if there is no store, or a mixed one beside others.
        """
        single = {TEXT: (self.text, self.text_nodes), IMAGE: (self.image, self.image_nodes)}
        if self.mixed is not None:
            if self.text is not None or self.image is not None:
                raise InvalidInputError(
                    "give store= (texts and images in one) or text_store= and image_store=, not both"
                )
            single = dict.fromkeys(self.modalities, (self.mixed, self.nodes))
        chosen = {m: (store, self._catalog(nodes)) for m, (store, nodes) in single.items() if store is not None}
        if not chosen:
            raise InvalidInputError("give text_store=, image_store=, both, or store= (texts and images in one)")
        return chosen

    def _catalog(self, nodes: NodeMap | NodeCatalog | None) -> NodeCatalog | None:
        if nodes is None:
            return None if self.docstore is None else DocstoreNodes(self.docstore)
        return nodes if isinstance(nodes, (MappedNodes, DocstoreNodes)) else MappedNodes(nodes)  # type: ignore[arg-type]


def as_embedding(model: EmbedModel) -> BaseEmbedding:
    """Give the embedding model; an encoder of Commonscale's is wrapped.

    Raises:
        InvalidInputError: if it is neither.
    """
    return model if isinstance(model, BaseEmbedding) else CommonscaleEmbedding(model)


def assemble(
    stores: Stores,
    models: Mapping[Modality, BaseEmbedding],
    calibration: Calibration | None,
    filters: MetadataFilters | None,
    modality_key: str,
    score_kind: ScoreKindName | Mapping[Modality, ScoreKindName] | None,
    failures: FailurePolicy | None = None,
    check: bool = True,
    prior: Prior | None = None,
    stratum: Stratum = None,
) -> tuple[dict[Modality, NodeSource], JointSearch, QuestionEmbedder]:
    """Open every store and join them in one search.

    Args:
        stores: the stores.
        models: embedding models by modality, as far as given; others than text and image have that of the texts.
        calibration: the common scale, if there is one yet.
        filters: metadata filters for every store.
        modality_key: metadata key that names a node's modality.
        score_kind: what the stores' scores are, for all or by modality; None where stores are known.
        failures: what to do about stores that fail.
        check: whether each store is verified quickly before it is first searched.
        prior: what is known of the modality that a question wants.
        stratum: which stratum questions belong to.

    Returns:
        The sources, the search over them, and what embeds its questions.

    Raises:
        InvalidInputError: if a modality that is searched by vector has no model.
    """
    sources: dict[Modality, NodeSource] = {}
    provenance: dict[Modality, Provenance] = {}
    used: dict[Modality, BaseEmbedding] = {}
    for modality, (store, catalog) in stores.by_modality().items():
        kind = score_kind.get(modality) if isinstance(score_kind, Mapping) else score_kind
        request = StoreRequest(modality, stores.mixed is not None, catalog, filters, modality_key, kind)
        sources[modality] = source = opened(modality, store, partial(open_source, store, request))
        provenance[modality] = source.provenance
        if is_by_text(source):
            continue
        used[modality] = model = _model(models, modality)
        provenance[modality] = _provenance(source.provenance, model, modality)
    embedder = QuestionEmbedder(used, models.get(TEXT))
    search = JointSearch(
        sources,
        calibration,
        provenance=provenance,
        failures=failures,
        check=check,
        prior=prior,
        stratum=stratum,
    )
    warn_of_other_scale(prior, calibration)
    return sources, search, embedder


def _model(models: Mapping[Modality, BaseEmbedding], modality: Modality) -> BaseEmbedding:
    model = models.get(modality, models.get(TEXT))
    if model is None:
        raise InvalidInputError(
            f"modality {modality!r} is searched by vector, so questions must be embedded: pass embed_model="
        )
    return model


def _provenance(recorded: Provenance, model: BaseEmbedding, modality: Modality) -> Provenance:
    mine = fingerprint_of(model)
    theirs = recorded.encoder_fingerprint
    if theirs is None:
        return replace(recorded, encoder_fingerprint=mine)
    # Other classes have no fingerprint to compare: what the index recorded then stands.
    if hasattr(model, "fingerprint") and theirs != mine:
        raise EncoderMismatchError(
            f"the index of modality {modality!r} was built with the encoder {theirs!r}, but questions would be "
            f"embedded with {mine!r}; give the encoder that it was built with"
        )
    return recorded
