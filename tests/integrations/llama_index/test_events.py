"""The framework's own traces: instrumentation events and callbacks, for one question and for many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent

from commonscale.llama_index import StandardizedMultiModalRetriever
from llama_world import QUESTIONS, World, retriever_over, simple_store


class Recorder(BaseEventHandler):
    events: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Recorder"

    def handle(self, event: Any, **kwargs: Any) -> None:
        if isinstance(event, (RetrievalStartEvent, RetrievalEndEvent)):
            self.events.append(event)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    handler = Recorder()
    root = get_dispatcher()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def debug() -> LlamaDebugHandler:
    return LlamaDebugHandler(print_trace_on_end=False)


@pytest.fixture
def retriever(debug: LlamaDebugHandler) -> StandardizedMultiModalRetriever:
    world = World()
    stores = simple_store(world.text_nodes), simple_store(world.image_nodes)
    return retriever_over(world, stores, raw=True, callback_manager=CallbackManager([debug]))


def assert_traced(questions: list[str], answers: list[list[Any]], recorder: Recorder, debug: LlamaDebugHandler) -> None:
    starts = [event.str_or_query_bundle for event in recorder.events if isinstance(event, RetrievalStartEvent)]
    ends = [event for event in recorder.events if isinstance(event, RetrievalEndEvent)]
    assert starts == [event.str_or_query_bundle for event in ends] == questions
    assert [event.nodes for event in ends] == answers
    traced = debug.get_event_pairs(CBEventType.RETRIEVE)
    assert [start.payload[EventPayload.QUERY_STR] for start, _ in traced] == questions
    assert [end.payload[EventPayload.NODES] for _, end in traced] == answers


def test_one_question(retriever: Any, recorder: Recorder, debug: LlamaDebugHandler) -> None:
    assert_traced(QUESTIONS[:1], [retriever.retrieve(QUESTIONS[0])], recorder, debug)


async def test_one_question_asynchronously(retriever: Any, recorder: Recorder, debug: LlamaDebugHandler) -> None:
    assert_traced(QUESTIONS[:1], [await retriever.aretrieve(QUESTIONS[0])], recorder, debug)


def test_many_questions(retriever: Any, recorder: Recorder, debug: LlamaDebugHandler) -> None:
    assert_traced(QUESTIONS[:3], retriever.retrieve_batch(QUESTIONS[:3]), recorder, debug)


async def test_many_questions_asynchronously(retriever: Any, recorder: Recorder, debug: LlamaDebugHandler) -> None:
    assert_traced(QUESTIONS[:3], await retriever.aretrieve_batch(QUESTIONS[:3]), recorder, debug)
