"""Any LlamaIndex retriever, asked as its callers do."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle

from commonscale.core.concurrency import amap_bounded
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.treatments import Scored
from commonscale.llama_index.bm25 import bm25_class, definer

Score: TypeAlias = str | Callable[[NodeWithScore], float]
Deeper: TypeAlias = Callable[[BaseRetriever, int], BaseRetriever]


class RetrieverAsker:
    """Asks a retriever one question at a time, through a copy of it that gives as many hits as are wanted.

    Every call has a query bundle of its own, so that nothing is written into the caller's.
    """

    concurrent = False

    def __init__(self, retriever: BaseRetriever, score: Score | None, deeper: Deeper | None) -> None:
        """Wrap a retriever.

        Args:
            retriever: the retriever.
            score: where the score is; None for the node's.
            deeper: gives a retriever for k hits; None if ``similarity_top_k`` can be set.

        Raises:
            InvalidInputError: if the number of hits cannot be set.
        """
        self._retriever = retriever
        self._score = score
        self._deeper = deepened if deeper is None else deeper
        self._deeper(retriever, 1)
        if truly_async(retriever):
            self.aask = self._aask

    @property
    def engine(self) -> str:
        """The retriever's class."""
        return type(self._retriever).__name__

    def ask(self, texts: Sequence[str], k: int) -> list[Scored]:
        """Retrieve for each question, in the caller's thread."""
        retriever = self._deeper(self._retriever, k)
        return [self._scored(retriever.retrieve(QueryBundle(text))) for text in texts]

    async def _aask(self, texts: Sequence[str], k: int) -> list[Scored]:
        retriever = self._deeper(self._retriever, k)

        async def one(text: str) -> Scored:
            return self._scored(await retriever.aretrieve(QueryBundle(text)))

        return await amap_bounded(one, texts)

    def _scored(self, found: Sequence[NodeWithScore]) -> Scored:
        return Scored([hit.node.node_id for hit in found], [self._number(h) for h in found], [h.node for h in found])

    def _number(self, hit: NodeWithScore) -> float:
        if callable(self._score):
            return float(self._score(hit))
        number: Any = hit.score if self._score is None else hit.node.metadata.get(self._score)
        if number is None:
            where = "score" if self._score is None else f"metadata[{self._score!r}]"
            raise SourceError(
                f"{type(self._retriever).__name__} gave the node {hit.node.node_id!r} without {where}, so it has no "
                f"place in the ranking; say where scores are with RetrieverSource(retriever, score=...), or use a "
                f"retriever that scores its hits"
            )
        return float(number)


def deepened(retriever: BaseRetriever, k: int) -> BaseRetriever:
    """Copy a retriever so that it gives ``k`` hits; the retrievers that it fuses too.

    Raises:
        InvalidInputError: if it has no ``similarity_top_k``.
    """
    from llama_index.core.retrievers import QueryFusionRetriever

    if not hasattr(retriever, "similarity_top_k"):
        raise InvalidInputError(
            f"{type(retriever).__name__} has no similarity_top_k, so it cannot be asked for as many hits as are "
            f"needed: pass RetrieverSource(retriever, deeper=...) with a function (retriever, k) that gives a "
            f"retriever for k hits; or lambda retriever, k: retriever, if it always gives all of them"
        )
    clone: Any = copy.copy(retriever)
    # BM25Retriever refuses to give more hits than it has documents.
    clone.similarity_top_k = k if bm25_class(retriever) is None else min(k, len(clone.corpus))
    if isinstance(retriever, QueryFusionRetriever):
        clone._retrievers = [deepened(one, k) for one in retriever._retrievers]
    copied: BaseRetriever = clone
    return copied


def truly_async(retriever: BaseRetriever) -> bool:
    """Tell whether ``aretrieve`` leaves the event loop free: inherited ways call the synchronous one on it."""
    from llama_index.core.indices.vector_store import VectorIndexRetriever
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.vector_stores.types import BasePydanticVectorStore

    if isinstance(retriever, QueryFusionRetriever):
        return all(truly_async(one) for one in retriever._retrievers)
    if isinstance(retriever, VectorIndexRetriever):
        return definer(type(retriever._vector_store), "aquery") is not BasePydanticVectorStore
    return definer(type(retriever), "_aretrieve") is not BaseRetriever
