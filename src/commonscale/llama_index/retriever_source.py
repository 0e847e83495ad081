"""Any LlamaIndex retriever with scores as the source of one modality: BM25 for texts beside vectors for images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import BaseNode

from commonscale.core.calibration import Provenance
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.treatments import BM25_TREATMENT, Meaning, Treatment
from commonscale.core.types import Hit
from commonscale.llama_index.bm25 import bm25_asker, is_bm25, node_of
from commonscale.llama_index.retriever_asker import Deeper, RetrieverAsker, Score
from commonscale.llama_index.sources import ScoreKindName, StoreRequest
from commonscale.stores.retrieved import Asker, RetrievedSource

_PER_QUESTION = ("reciprocal_rerank", "relative_score", "dist_based_score")


class RetrieverSource(RetrievedSource):
    """A retriever with scores, to be passed in the place of a store, for one modality.

        StandardizedMultiModalRetriever(text_store=BM25Retriever.from_defaults(nodes=nodes), image_store=images,
                                        embed_model=clip)

    does the same as passing ``RetrieverSource(BM25Retriever...)``; the class is needed only for its settings. The
    modality gets its own statistics, as every other. Scores of a retriever for which no ``score_kind`` is named stand
    in place of cosines, treated so that questions can be compared (see ``commonscale.core.treatments``):
    ``commonscale_cosine`` is then such a score.

    A ``BM25Retriever`` is asked through its index, so that any number of hits can be had; a node that shares no word
    with the question is no hit. Every other retriever is asked by ``retrieve`` (asynchronously by ``aretrieve``, where
    its class has a way of its own), through a copy that gives as many hits as are wanted.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        *,
        treatment: str | Treatment | None = None,
        score_kind: ScoreKindName | None = None,
        score: Score | None = None,
        deeper: Deeper | None = None,
        remote: bool = False,
    ) -> None:
        """Set up the source; nothing is retrieved yet, and the retriever is never changed.

        Args:
            retriever: the retriever.
            treatment: how scores are made comparable: a name of ``commonscale.core.treatments.TREATMENTS``, or a
                function of the scores and the number of the question's words. By default BM25 has
                ``"log_per_root_word"``, and other scores stay as they are (``"raw"``).
            score_kind: what the scores are, if they are functions of cosines (see ``commonscale.SCORE_KINDS``).
            score: where the score is, if not in ``NodeWithScore.score``: a metadata key, or a function of the node.
            deeper: gives a retriever that finds ``k`` hits, from (retriever, k), where no ``similarity_top_k`` can be
                set.
            remote: whether it asks another process: it is then tried again after passing failures.

        Raises:
            InvalidInputError: if it is no retriever of one modality with scores that can be compared from question to
                question, or no ``k`` can be set.
            UnknownScoreKindError: if it searches a vector store, whose scores may be anything, and nothing says what.
        """
        _check(retriever, treatment, score_kind, score)
        own = is_bm25(retriever) and score is None and deeper is None
        if own and score_kind is not None:
            raise InvalidInputError(
                f"BM25 scores are no cosines, so score_kind={score_kind!r} cannot hold for {type(retriever).__name__}; "
                f"name it for the other modality alone: score_kind={{'image': ...}}"
            )
        asker: Asker = bm25_asker(retriever) if own else RetrieverAsker(retriever, score, deeper)
        if own and treatment is None:
            treatment = BM25_TREATMENT
        super().__init__(retriever, asker, Meaning(asker.engine, score_kind, treatment), remote=remote)

    @property
    def provenance(self) -> Provenance:
        """What computes the scores, and their treatment; calibrations of other ones are refused."""
        return Provenance(score_kind=self.score_kind)

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Give the nodes of hits."""
        return [node_of(hit.payload) for hit in hits]


Given: TypeAlias = "BaseRetriever | RetrieverSource"


def open_retriever(given: Given, request: StoreRequest) -> RetrieverSource:
    """Take a retriever as the source of one modality.

    Args:
        given: the retriever, or one with settings.
        request: the modality, and what else was asked.

    Raises:
        InvalidInputError: if it stands for a mixed store, or filters are to be applied to it; see ``RetrieverSource``.
        UnknownScoreKindError: see ``RetrieverSource``.
    """
    name = given.store_name if isinstance(given, RetrieverSource) else type(given).__name__
    if request.mixed:
        raise InvalidInputError(
            f"{name} is a retriever, which cannot be searched for one modality at a time; pass one retriever or store "
            f"for each: text_store=, image_store="
        )
    if request.filters is not None:
        raise InvalidInputError(
            f"{name} is a retriever, to which filters= cannot be applied; give them to the retriever itself"
        )
    if isinstance(given, RetrieverSource):
        return given
    return RetrieverSource(given, score_kind=request.score_kind)


def _check(retriever: Any, treatment: object, score_kind: object, score: object) -> None:
    """Refuse what is no retriever of one modality with scores that can be compared from question to question."""
    from llama_index.core.indices.vector_store import VectorIndexRetriever
    from llama_index.core.retrievers import QueryFusionRetriever

    name = type(retriever).__name__
    if not isinstance(retriever, BaseRetriever):
        raise InvalidInputError(f"a LlamaIndex retriever is needed, got {retriever!r}"[:300])
    if isinstance(retriever, MultiModalRetriever):
        raise InvalidInputError(f"{name} retrieves several modalities; pass the stores or retrievers of each instead")
    if isinstance(retriever, QueryFusionRetriever) and retriever.mode in _PER_QUESTION:
        raise InvalidInputError(
            f"{name} in mode {_value(retriever.mode)!r} gives scores that are normalized per question, so they do not "
            f"tell a good question from a hopeless one and cannot be calibrated; pass one of its retrievers instead"
        )
    if isinstance(retriever, VectorIndexRetriever):
        mode = _value(retriever._vector_store_query_mode)
        if score_kind is not None and mode != "default":
            raise InvalidInputError(f"{name} in mode {mode!r} gives no function of the cosine; leave score_kind= out")
        if score_kind is None and treatment is None and score is None:
            raise UnknownScoreKindError(
                f"{name} searches a {type(retriever._vector_store).__name__}, whose scores may be anything: pass that "
                f"store itself (index.vector_store), or say what they are with score_kind="
            )


def _value(mode: Any) -> str:
    return str(getattr(mode, "value", mode))
