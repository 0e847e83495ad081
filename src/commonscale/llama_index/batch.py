"""Retrieving for many questions at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType
from llama_index_instrumentation import get_dispatcher

from commonscale.core.types import Modality
from commonscale.llama_index.one_modality import OneModalityRetriever
from commonscale.llama_index.questions import as_bundles, bundle_mark
from commonscale.llama_index.results import scored_nodes

dispatcher = get_dispatcher(__name__)


class BatchRetriever(OneModalityRetriever):
    """Retrieves for many questions with one batch search per store; LlamaIndex has no interface for that."""

    minimum: Mapping[Modality, int] | None
    maximum: Mapping[Modality, int] | None

    @dispatcher.span
    def retrieve_batch(self, questions: Sequence[QueryType]) -> list[list[NodeWithScore]]:
        """Retrieve for many questions, in one batch per store.

        Emits the same events as ``retrieve`` for every question.

        Args:
            questions: strings or query bundles.

        Returns:
            One list of nodes per question, as ``retrieve`` gives it.
        """
        bundles = as_bundles(questions)
        _started(questions)
        with self.callback_manager.as_trace("query"):
            rankings = self._search.search_batch(self._embedder.embed(bundles), **self._options())
            answers = []
            for question, bundle, ranking in zip(questions, bundles, rankings, strict=True):
                with self._event(bundle) as event:
                    nodes = scored_nodes(ranking, self._sources, bundle_mark(bundle))
                    nodes = self._handle_recursive_retrieval(bundle, nodes)
                    event.on_end(payload={EventPayload.NODES: nodes})
                dispatcher.event(RetrievalEndEvent(str_or_query_bundle=question, nodes=nodes))
                answers.append(nodes)
        return answers

    @dispatcher.span
    async def aretrieve_batch(self, questions: Sequence[QueryType]) -> list[list[NodeWithScore]]:
        """As ``retrieve_batch``, never blocking the event loop."""
        bundles = as_bundles(questions)
        _started(questions)
        with self.callback_manager.as_trace("query"):
            rankings = await self._search.asearch_batch(await self._embedder.aembed(bundles), **self._options())
            answers = []
            for question, bundle, ranking in zip(questions, bundles, rankings, strict=True):
                with self._event(bundle) as event:
                    nodes = await self._ahandle_recursive_retrieval(bundle, await self._anodes(ranking, bundle))
                    event.on_end(payload={EventPayload.NODES: nodes})
                dispatcher.event(RetrievalEndEvent(str_or_query_bundle=question, nodes=nodes))
                answers.append(nodes)
        return answers

    def _options(self) -> dict[str, Any]:
        return {"k": self.similarity_top_k, "minimum": self.minimum, "maximum": self.maximum, "raw": self.raw}

    def _event(self, bundle: QueryBundle) -> Any:
        return self.callback_manager.event(CBEventType.RETRIEVE, payload={EventPayload.QUERY_STR: bundle.query_str})


def _started(questions: Sequence[QueryType]) -> None:
    for question in questions:
        dispatcher.event(RetrievalStartEvent(str_or_query_bundle=question))
