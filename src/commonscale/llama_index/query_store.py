"""Any LlamaIndex vector store as a source, through its ``query``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryResult

from commonscale.core.calibration import Provenance
from commonscale.core.cosines import to_cosine
from commonscale.core.errors import SourceError, UnknownScoreKindError
from commonscale.core.types import Candidates, Hit, Question
from commonscale.llama_index.catalog import nodes_of
from commonscale.llama_index.restriction import filters_of, watch_of
from commonscale.llama_index.sources import ScoreKindName, StoreRequest, kind_name


class QuerySource:
    """Asks a vector store one question at a time and converts its scores by their kind.

    The query names no node ids: ``as_retriever`` of LlamaIndex passes those of image nodes only, which hides
    every text of a mixed store that keeps text. A mixed store is searched once per modality, with a filter on
    the metadata key that names it, since text would starve images in one joint top k. So every node of a mixed
    store must carry its modality there, texts too: one without it is never found. If the first search finds none
    at all, a warning says so.
    """

    def __init__(self, store: Any, request: StoreRequest) -> None:
        """Set up the source.

        Args:
            store: any object with LlamaIndex's ``query(VectorStoreQuery)``.
            request: what to search in it, with the kind of its scores.

        Raises:
            UnknownScoreKindError: if the request does not say what the scores are.
            InvalidInputError: if the store keeps only vectors and there is no catalog.
        """
        if request.score_kind is None:
            raise UnknownScoreKindError(f"the scores of {type(store).__name__} have no known meaning; pass score_kind=")
        self._store = store
        self._kind: ScoreKindName = request.score_kind
        self._catalog = request.catalog if store.stores_text else request.needed_catalog(store)
        self._filters = filters_of(request)
        self._request = request
        self._watch = watch_of(store, request)
        self.provenance = Provenance(score_kind=kind_name(self._kind))

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Query the store for each question."""
        found = [self._candidates(self._store.query(self._query(question, k))) for question in questions]
        self._watch(sum(len(candidates.ids) for candidates in found))
        return found

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Give the nodes of hits."""
        if self._catalog is not None:
            return nodes_of(hits, self._catalog)
        if any(hit.payload is None for hit in hits):
            raise SourceError(f"{type(self._store).__name__} returned ids without nodes; pass docstore= or nodes=")
        return [hit.payload for hit in hits]

    def _query(self, question: Question, k: int) -> VectorStoreQuery:
        return VectorStoreQuery(
            query_embedding=question.vector_for(self._request.modality).tolist(),
            query_str=question.text,
            similarity_top_k=k,
            filters=self._filters,
        )

    def _candidates(self, result: VectorStoreQueryResult) -> Candidates:
        nodes = None if result.nodes is None else list(result.nodes)
        ids = [node.node_id for node in nodes] if nodes is not None else list(result.ids or ())
        if result.similarities is None or len(result.similarities) != len(ids):
            given = "no" if result.similarities is None else len(result.similarities)
            raise SourceError(
                f"{type(self._store).__name__} returned {len(ids)} hits with {given} similarities; "
                f"search it in a mode that scores its hits"
            )
        if nodes is None and self._catalog is not None:
            ids, nodes = self._catalog.resolve(ids)
        cosines = to_cosine(result.similarities, self._kind)
        order = np.argsort(-cosines, kind="stable").tolist()
        return Candidates([ids[i] for i in order], cosines[order], None if nodes is None else [nodes[i] for i in order])
