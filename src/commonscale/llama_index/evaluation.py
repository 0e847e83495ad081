"""Retrieval quality over texts and images in one ranking, with LlamaIndex's metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, Union, runtime_checkable

from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.bridge.pydantic import Field, SerializeAsAny
from llama_index.core.evaluation.retrieval.base import BaseRetrievalEvaluator, RetrievalEvalMode
from llama_index.core.evaluation.retrieval.metrics import resolve_metrics
from llama_index.core.evaluation.retrieval.metrics_base import BaseRetrievalMetric, RetrievalMetricResult
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore

from commonscale.core.errors import InvalidInputError
from commonscale.core.recorded import MODALITY_KEY
from commonscale.core.types import Modality
from commonscale.llama_index.evaluation_results import JointEvalResult, JointEvaluation
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY, modality_of

Modalities: TypeAlias = Union[Mapping[str, Modality], Callable[[str], Modality]]  # noqa: UP007 - pydantic, Python 3.10
"""Which modality a document has, by its id."""


@runtime_checkable
class LabeledQuestions(Protocol):
    """What ``EmbeddingQAFinetuneDataset`` of llama-index-finetuning has of questions and their expected nodes."""

    queries: dict[str, str]
    relevant_docs: dict[str, list[str]]


class JointRetrieverEvaluator(BaseRetrievalEvaluator):
    """Scores a retriever that gives texts and images in one ranking.

    As LlamaIndex's ``RetrieverEvaluator``, with its metrics and results, where its multimodal evaluator looks at one
    modality at a time: nodes of every class count, in the one list in which they come. Where ``modalities`` tells
    the modality of the expected nodes, each metric is also given by modality: for the expected nodes of that modality,
    at the ranks that they have in the joint list. A node that comes twice counts at its first place; a question for
    which nothing is retrieved scores 0 instead of raising ValueError.

    Attributes:
        metrics: LlamaIndex's metrics; ``from_metric_names`` takes ``hit_rate``, ``mrr``, ``precision``, ``recall``,
            ``ap`` and ``ndcg``.
        retriever: what is scored.
        node_postprocessors: applied to what is retrieved.
        modalities: the modality of each expected node: by id, or as a function of the id. None for joint scores only.
        modality_key: metadata key naming the modality of retrieved nodes whose class does not tell.
    """

    retriever: BaseRetriever = Field(..., description="Retriever to evaluate")
    node_postprocessors: list[SerializeAsAny[BaseNodePostprocessor]] | None = Field(
        default=None, description="Optional postprocessors"
    )
    modalities: Modalities | None = Field(default=None, description="Modality of each expected node")
    modality_key: str = Field(default=DEFAULT_MODALITY_KEY, description="Metadata key that names the modality.")

    @classmethod
    def from_metric_names(cls, metric_names: list[str], **kwargs: Any) -> JointRetrieverEvaluator:
        """Make an evaluator from the names of LlamaIndex's metrics.

        Args:
            metric_names: such as ``["mrr", "recall"]``.
            kwargs: the other attributes.

        Raises:
            ValueError: if there is no metric of a name.
        """
        return cls(metrics=[metric() for metric in resolve_metrics(metric_names)], **kwargs)

    def evaluate(
        self,
        query: str,
        expected_ids: list[str],
        expected_texts: list[str] | None = None,
        mode: RetrievalEvalMode = RetrievalEvalMode.TEXT,
        **kwargs: Any,
    ) -> JointEvalResult:
        """Score the retriever on one question; see ``aevaluate``."""
        result: JointEvalResult = asyncio_run(self.aevaluate(query, expected_ids, expected_texts, mode, **kwargs))
        return result

    async def aevaluate(
        self,
        query: str,
        expected_ids: list[str],
        expected_texts: list[str] | None = None,
        mode: RetrievalEvalMode = RetrievalEvalMode.TEXT,
        **kwargs: Any,
    ) -> JointEvalResult:
        """Score the retriever on one question.

        Args:
            query: the question.
            expected_ids: ids of the nodes that answer it, of any modality.
            expected_texts: handed to the metrics.
            mode: only there to agree with LlamaIndex; there is one list.
            kwargs: not used, as in LlamaIndex.

        Returns:
            LlamaIndex's result (``metric_vals_dict``, ``retrieved_ids``), with ``retrieved_modalities`` and
            ``by_modality``.

        Raises:
            InvalidInputError: if no node is expected, ``mode`` is ``IMAGE``, or ``modalities`` lacks an expected id.
        """
        del kwargs
        if mode != RetrievalEvalMode.TEXT:
            raise InvalidInputError(f"texts and images are scored in one list, got mode={mode!r}; see by_modality")
        expected = list(dict.fromkeys(expected_ids))
        if not expected:
            raise InvalidInputError(f"no expected ids for {query!r}; a question needs at least one to be scored")
        wanted = self._by_modality(expected)
        hits = await self._hits(query)
        ids, texts = _ids_and_texts(hits)

        def scores(of: list[str], of_texts: list[str] | None) -> dict[str, RetrievalMetricResult]:
            return {m.metric_name: _score(m, query, of, ids, of_texts, texts) for m in self.metrics}

        return JointEvalResult(
            query=query,
            expected_ids=expected,
            expected_texts=expected_texts,
            retrieved_ids=ids,
            retrieved_texts=texts,
            retrieved_modalities=[modality_of(hit.node, self.modality_key, MODALITY_KEY) for hit in hits],
            metric_dict=scores(expected, expected_texts),
            by_modality={modality: scores(of, None) for modality, of in wanted.items()},
        )

    async def aevaluate_dataset(
        self,
        dataset: LabeledQuestions | Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]],
        workers: int = 2,
    ) -> JointEvaluation:
        """Score the retriever on many questions.

        Args:
            dataset: questions with the ids of the nodes that answer them: a mapping, pairs, or an
                ``EmbeddingQAFinetuneDataset`` of llama-index-finetuning.
            workers: how many questions are asked at the same time.

        Returns:
            The results in order, and their means.

        Raises:
            InvalidInputError: as ``aevaluate``, or if there is no question, or ``workers`` is below 1.
        """
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise InvalidInputError(f"workers must be an integer of at least 1, got {workers!r}")
        pairs = _pairs(dataset)
        turns = asyncio.Semaphore(workers)

        async def one(query: str, expected_ids: Sequence[str]) -> JointEvalResult:
            async with turns:
                return await self.aevaluate(query, list(expected_ids))

        tasks = [asyncio.ensure_future(one(*pair)) for pair in pairs]
        try:
            return JointEvaluation(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()  # After an error, so that nothing is asked that nobody waits for.
            await asyncio.gather(*tasks, return_exceptions=True)

    def evaluate_dataset(
        self,
        dataset: LabeledQuestions | Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]],
        workers: int = 2,
    ) -> JointEvaluation:
        """Score the retriever on many questions; see ``aevaluate_dataset``."""
        result: JointEvaluation = asyncio_run(self.aevaluate_dataset(dataset, workers))
        return result

    async def _aget_retrieved_ids_and_texts(
        self, query: str, mode: RetrievalEvalMode = RetrievalEvalMode.TEXT
    ) -> tuple[list[str], list[str]]:
        del mode
        hits = await self._hits(query)
        return [hit.node.node_id for hit in hits], [
            hit.node.get_content(metadata_mode=MetadataMode.NONE) for hit in hits
        ]

    async def _hits(self, query: str) -> list[NodeWithScore]:
        hits = await self.retriever.aretrieve(query)
        for postprocessor in self.node_postprocessors or ():
            hits = await postprocessor.apostprocess_nodes(hits, query_str=query)
        first: dict[str, NodeWithScore] = {}
        for hit in hits:
            first.setdefault(hit.node.node_id, hit)
        return list(first.values())

    def _by_modality(self, expected: list[str]) -> dict[Modality, list[str]]:
        if self.modalities is None:
            return {}
        find = self.modalities.get if isinstance(self.modalities, Mapping) else self.modalities
        wanted: dict[Modality, list[str]] = {}
        for node_id in expected:
            modality = find(node_id)
            if modality is None:
                raise InvalidInputError(f"modalities does not tell the modality of the expected node {node_id!r}")
            wanted.setdefault(modality, []).append(node_id)
        return wanted


def _ids_and_texts(hits: list[NodeWithScore]) -> tuple[list[str], list[str]]:
    nodes = [hit.node for hit in hits]
    return [node.node_id for node in nodes], [node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes]


def _score(
    metric: BaseRetrievalMetric,
    query: str,
    expected: list[str],
    retrieved: list[str],
    expected_texts: list[str] | None,
    texts: list[str],
) -> RetrievalMetricResult:
    if not retrieved:  # LlamaIndex's metrics raise here, and one empty answer would end a whole evaluation.
        return RetrievalMetricResult(score=0.0)
    return metric.compute(query, expected, retrieved, expected_texts, texts)


def _pairs(dataset: Any) -> list[tuple[str, Sequence[str]]]:
    pairs: list[tuple[str, Sequence[str]]]
    if isinstance(dataset, LabeledQuestions):
        pairs = [(query, dataset.relevant_docs[key]) for key, query in dataset.queries.items()]
    else:
        pairs = list(dataset.items() if isinstance(dataset, Mapping) else dataset)
    if not pairs:
        raise InvalidInputError("no questions to score the retriever on")
    return pairs
