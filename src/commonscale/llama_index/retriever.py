"""The retriever: text and images in one ranking, as LlamaIndex nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.indices import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores.types import MetadataFilters

from commonscale.core.calibration import Calibration
from commonscale.core.failures import FailurePolicy
from commonscale.core.keys import Stratum
from commonscale.core.types import IMAGE, TEXT, Modality, Prior
from commonscale.llama_index.arguments import check_calibration, check_numbers
from commonscale.llama_index.assembly import EmbedModel, Stores, as_embedding, assemble
from commonscale.llama_index.catalog import NodeCatalog, NodeMap
from commonscale.llama_index.kept import KeptRetriever
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY
from commonscale.llama_index.opening import settings_of
from commonscale.llama_index.questions import bundle_mark
from commonscale.llama_index.results import scored_nodes
from commonscale.llama_index.sources import ScoreKindName


class StandardizedMultiModalRetriever(KeptRetriever):
    """Ranks texts and images together, on a scale learned from unlabeled questions.

    Each store is searched with the question's embedding; scores become true cosines, cosines are put on the common
    scale that ``calibrate`` has learned (see ``Calibration``), and the best hits of both modalities are returned, best
    first. A document found in both (a captioned
    image) comes once, at its best. A picture is asked with by ``retrieve_image``, or as the ``image_path`` of a query
    bundle, once ``calibrate_images`` has learned the scale of such questions. Scores may be negative: use
    ``SimilarityStandardizer(probability=True)`` before a cut-off in [0, 1].

    Nodes come as copies that carry ``commonscale_cosine``, ``commonscale_modality`` and ``commonscale_score``
    in metadata, and in ``commonscale_question`` a short hash of the question, by which ``SimilarityStandardizer``
    knows whose cosine it is; all hidden from LLMs and embedding models. Query bundles are never written to; an
    embedding that is already in one is used as ``embed_model``'s.

    Attributes:
        similarity_top_k: how many hits.
        minimum: at least this many hits per modality, as far as it has them.
        maximum: at most this many hits per modality.
        raw: rank by raw cosine instead, for comparison.
    """

    def __init__(
        self,
        *,
        embed_model: EmbedModel | None = None,
        image_embed_model: EmbedModel | None = None,
        text_store: Any = None,
        image_store: Any = None,
        store: Any = None,
        text_nodes: NodeMap | NodeCatalog | None = None,
        image_nodes: NodeMap | NodeCatalog | None = None,
        nodes: NodeMap | NodeCatalog | None = None,
        docstore: BaseDocumentStore | None = None,
        modalities: Sequence[Modality] = (TEXT, IMAGE),
        similarity_top_k: int = 10,
        calibration: Calibration | None = None,
        minimum: Mapping[Modality, int] | None = None,
        maximum: Mapping[Modality, int] | None = None,
        raw: bool = False,
        filters: MetadataFilters | None = None,
        modality_key: str = DEFAULT_MODALITY_KEY,
        score_kind: ScoreKindName | Mapping[Modality, ScoreKindName] | None = None,
        failures: FailurePolicy | None = None,
        check: bool = True,
        prior: Prior | None = None,
        stratum: Stratum = None,
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        """Set up the retriever.

        Args:
            embed_model: embeds questions; a LlamaIndex embedding or a Commonscale encoder. Not needed for a modality
                that is searched by words (a retriever).
            image_embed_model: embeds questions for the image store, where it was built with another model.
            text_store: vector store of texts: a LlamaIndex store, ``commonscale.index.FaissIndex``, a core
                ``Source``, or a retriever with scores, such as BM25Retriever (settings: see ``RetrieverSource``).
            image_store: vector store of images; without it, or without ``text_store``, one modality is ranked.
            store: one store of both, instead; each modality is searched in it by a filter of its own. In a store that
                is not known (see ``score_kind``) that filter can only be on ``modality_key``: every node, texts too,
                must carry its modality there, and one without it is never found.
            text_nodes: nodes of a text store that keeps only vectors, by the store's id or in row order.
            image_nodes: the same for the image store.
            nodes: the same for the mixed store.
            docstore: docstore of all nodes, instead, for stores whose ids are node ids.
            modalities: the modalities of a mixed store; nodes of others are never found.
            similarity_top_k: how many hits, at least 1.
            calibration: the common scale; or call ``calibrate``.
            minimum: see the attributes.
            maximum: see the attributes.
            raw: see the attributes.
            filters: metadata filters for every store.
            modality_key: metadata key naming the modality of nodes whose class does not tell.
            score_kind: what the similarities of an unknown store are (a name of ``commonscale.SCORE_KINDS`` or a
                function to cosines), for all stores or by modality.
            failures: what to do about a store that is down or slow: how long to wait, how often to ask, and whether
                to rank the other modality without it. Then every node says so in its metadata, under
                ``commonscale_missing``. Failures raise by default; a server is asked up to three times.
            check: whether each store is verified quickly before it is first searched (see ``verify``).
            prior: what a question's wording tells of the modality it wants (see ``commonscale.priors``).
            stratum: which of the calibration's strata a question belongs to: a key, or a function of the question.
            callback_manager: LlamaIndex's callbacks.
            object_map: what ``IndexNode``s point to.
            verbose: print what ``IndexNode``s lead to, as LlamaIndex does.

        Raises:
            InvalidInputError: if stores, nodes or models are missing or do not fit, ``similarity_top_k`` or a quota is
                impossible, or the calibration is none.
            UnknownScoreKindError: if the meaning of a store's scores is not known.
            CalibrationMismatchError: if the calibration was made for another model or score kind.
        """
        check_calibration(calibration)
        check_numbers(similarity_top_k, minimum, maximum)
        super().__init__(callback_manager=callback_manager, object_map=object_map, verbose=verbose)
        models: dict[Modality, BaseEmbedding] = {}
        if embed_model is not None:
            models = dict.fromkeys((TEXT, IMAGE), as_embedding(embed_model))
        if image_embed_model is not None and image_embed_model is not embed_model:
            models[IMAGE] = as_embedding(image_embed_model)
        stores = Stores(text_store, image_store, store, text_nodes, image_nodes, nodes, docstore, modalities)
        self._sources, self._search, self._embedder = assemble(
            stores, models, calibration, filters, modality_key, score_kind, failures, check, prior, stratum
        )
        self.similarity_top_k = similarity_top_k
        self.minimum = minimum
        self.maximum = maximum
        self.raw = raw

    @classmethod
    def from_index(cls, index: VectorStoreIndex, **settings: Any) -> StandardizedMultiModalRetriever:
        """Make a retriever over the stores, nodes and models of an index.

        Args:
            index: a ``MultiModalVectorStoreIndex``, or a ``VectorStoreIndex`` over a mixed store.
            settings: any argument of the constructor; those given replace the index's.

        Returns:
            The retriever.

        Raises:
            InvalidInputError: if the index is another one, or its nodes cannot be told apart.
        """
        return cls(**settings_of(index, settings))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        question = self._embedder.embed([query_bundle])[0]
        ranking = self._search.search(question, **self._options())
        return scored_nodes(ranking, self._sources, bundle_mark(query_bundle))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        question = (await self._embedder.aembed([query_bundle]))[0]
        return await self._anodes(await self._search.asearch(question, **self._options()), query_bundle)
