"""Any LlamaIndex vector store as a source, through its ``query``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStore,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from commonscale.core.calibration import Provenance
from commonscale.core.concurrency import amap_bounded, off_loop
from commonscale.core.cosines import to_cosine
from commonscale.core.errors import SourceError, UnknownScoreKindError
from commonscale.core.passing import is_passing
from commonscale.core.threads import off_thread
from commonscale.core.types import Candidates, Hit, Probe, Question
from commonscale.llama_index.catalog import nodes_of
from commonscale.llama_index.restriction import TYPE_KEY, filters_of, watch_of
from commonscale.llama_index.sources import ScoreKindName, StoreRequest, kind_name
from commonscale.llama_index.stored_vectors import stored_vectors


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
        self.store_name = type(store).__name__
        self._kind: ScoreKindName = request.score_kind
        self._catalog = request.catalog if store.stores_text else request.needed_catalog(store)
        self._filters = filters_of(request)
        self._request = request
        self._watch = watch_of(store, request)
        self.provenance = Provenance(score_kind=kind_name(self._kind))
        self._aquery_works: bool | None = None
        if _has_aquery(store):
            self.asearch = self._asearch

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Query the store for each question."""
        return self._read([self._store.query(self._query(question, k)) for question in questions])

    async def _asearch(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """As ``search``, by the store's own ``aquery``, a few questions at once.

        The ``aquery`` of many stores only raises unless they were made with an asynchronous client; such a one is
        searched in a thread.
        """
        if self._aquery_works is False:
            return await off_thread(self.search, questions, k)
        queries = [self._query(question, k) for question in questions]
        try:
            results = await amap_bounded(self._store.aquery, queries)
        except Exception as error:
            if self._aquery_works or is_passing(error):
                raise
            found = await off_thread(self.search, questions, k)
            self._aquery_works = False
            return found
        self._aquery_works = True
        return await off_loop(len(questions), self._read, results)

    def probe(self, questions: Sequence[Question], k: int) -> list[Probe]:
        """Show the store's similarities beside its vectors, for the self-check; without them if it keeps them back."""
        return [self._probe(self._store.query(self._query(question, k))) for question in questions]

    def nodes(self, hits: Sequence[Hit]) -> list[BaseNode]:
        """Give the nodes of hits."""
        if self._catalog is not None:
            return nodes_of(hits, self._catalog)
        if any(hit.payload is None for hit in hits):
            raise SourceError(f"{type(self._store).__name__} returned ids without nodes; pass docstore= or nodes=")
        return [hit.payload for hit in hits]

    def _read(self, results: Sequence[VectorStoreQueryResult]) -> list[Candidates]:
        found = [self._candidates(result) for result in results]
        self._watch(sum(len(candidates.ids) for candidates in found))
        return found

    def _query(self, question: Question, k: int) -> VectorStoreQuery:
        return VectorStoreQuery(
            query_embedding=question.vector_for(self._request.modality).tolist(),
            query_str=question.text,
            similarity_top_k=k,
            filters=self._filters,
        )

    def _probe(self, result: VectorStoreQueryResult) -> Probe:
        ids, nodes, similarities = self._hits(result)
        return Probe(ids, np.asarray(similarities, np.float64), stored_vectors(self._store, ids, nodes), self._kind)

    def _hits(self, result: VectorStoreQueryResult) -> tuple[list[str], list[BaseNode] | None, list[float]]:
        nodes = None if result.nodes is None else list(result.nodes)
        ids = [node.node_id for node in nodes] if nodes is not None else list(result.ids or ())
        if result.similarities is None or len(result.similarities) != len(ids):
            given = "no" if result.similarities is None else len(result.similarities)
            raise SourceError(
                f"{type(self._store).__name__} returned {len(ids)} hits with {given} similarities; "
                f"search it in a mode that scores its hits"
            )
        return ids, nodes, result.similarities

    def _candidates(self, result: VectorStoreQueryResult) -> Candidates:
        ids, nodes, similarities = self._hits(result)
        if nodes is None and self._catalog is not None:
            ids, nodes = self._catalog.resolve(ids)
        self._check_labels(nodes or ())
        cosines = to_cosine(similarities, self._kind)
        order = np.argsort(-cosines, kind="stable").tolist()
        return Candidates([ids[i] for i in order], cosines[order], None if nodes is None else [nodes[i] for i in order])

    def _check_labels(self, nodes: Sequence[BaseNode]) -> None:
        """Refuse a store that does not heed its filter: texts would be ranked as images."""
        request = self._request
        if not request.mixed or request.modality_key == TYPE_KEY:
            return
        for node in nodes:
            label = node.metadata.get(request.modality_key)
            if label != request.modality:
                raise SourceError(
                    f"{type(self._store).__name__} was asked for nodes with {request.modality_key}="
                    f"{request.modality!r} by filters and returned one with {label!r}: it does not heed them, so it "
                    f"cannot hold several modalities; use one store per modality"
                )


def _has_aquery(store: Any) -> bool:
    """Tell whether a store's class has an ``aquery`` of its own; LlamaIndex's calls ``query``, blocking the loop."""
    aquery = getattr(type(store), "aquery", None)
    return inspect.iscoroutinefunction(aquery) and aquery not in (
        BasePydanticVectorStore.aquery,
        VectorStore.aquery,
    )
