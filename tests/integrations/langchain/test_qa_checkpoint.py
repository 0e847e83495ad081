"""Whole answers in LangGraph's checkpoints: what is written comes back, and LangGraph has nothing to warn of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest

pytest.importorskip("PIL")
pytest.importorskip("langgraph")

from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from PIL import Image

from commonscale.langchain import ANSWER_TYPES, ImageQuestion, MultimodalAnswer, create_multimodal_qa_chain
from commonscale.prompting import Budget, Citations, Pictures, Reason

THREAD: Any = {"configurable": {"thread_id": "1"}}


class State(TypedDict):
    question: str
    result: MultimodalAnswer


@pytest.fixture
def events() -> Iterator[list[SerdeEvent]]:
    seen: list[SerdeEvent] = []
    stop = register_serde_event_listener(seen.append)
    yield seen
    stop()


def kept(serializer: JsonPlusSerializer, folder: Path, question: str = "which?") -> tuple[Any, Any]:
    """An answer, and what a checkpoint gives of it."""
    Image.new("RGB", (9, 9)).save(folder / "bus.png")
    documents = [
        Document("a red bus", id="t", metadata={"commonscale_score": 1.5, "commonscale_cosine": 0.3}),
        Document("a caption", id="i", metadata={"image_path": str(folder / "bus.png")}),
        Document("", id="empty"),
        Document("one more"),
    ]
    model = FakeListChatModel(responses=["red [2][1], not blue [7-8]"])
    chain = create_multimodal_qa_chain(lambda _: documents, model, budget=Budget(items=2), pictures=Pictures([folder]))
    given: list[Any] = []

    def ask(state: State) -> dict[str, Any]:
        given.append(chain.invoke(state["question"]))
        return {"result": given[0]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    compiled = graph.compile(checkpointer=InMemorySaver(serde=serializer))
    compiled.invoke(State(question=question), THREAD)  # type: ignore[typeddict-item]
    return given[0], compiled.get_state(THREAD).values["result"]


def plain(value: Any) -> Any:
    """Objects as their classes and fields, tuples as the lists that a checkpoint makes of them."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(type(value), "__dataclass_fields__"):
        fields = {name: plain(getattr(value, name)) for name in type(value).__dataclass_fields__}
        return type(value), fields
    return type(value), value


def test_a_whole_answer_comes_back_as_it_was(tmp_path: Path, events: list[SerdeEvent]) -> None:
    given, read = kept(JsonPlusSerializer(allowed_msgpack_modules=ANSWER_TYPES), tmp_path)
    assert events == []
    assert plain(read) == plain(given)
    assert isinstance(read["citations"], Citations)
    assert read["citations"].ids == ["i", "t"]
    assert read["citations"].unknown == [7, 8]
    assert [left.reason for left in read["left_out"]] == [Reason.EMPTY, Reason.ITEMS]


def test_these_are_all_that_langgraph_does_not_know(tmp_path: Path, events: list[SerdeEvent]) -> None:
    kept(JsonPlusSerializer(allowed_msgpack_modules=True), tmp_path)
    assert {(event["module"], event["name"]) for event in events} == {
        (known.__module__, known.__name__) for known in ANSWER_TYPES
    }


def test_a_question_that_is_a_picture_comes_back_as_its_text(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "asked.png")
    question = ImageQuestion(tmp_path / "asked.png")
    given, read = kept(JsonPlusSerializer(allowed_msgpack_modules=ANSWER_TYPES), tmp_path, question)
    assert given["question"] is question
    assert (type(read["question"]), read["question"]) == (str, str(tmp_path / "asked.png"))


def test_a_strict_langgraph_reads_them_where_the_state_names_the_answer(tmp_path: Path) -> None:
    """In a process of its own, since LangGraph reads the setting when it is imported."""
    code = (
        "import sys; from pathlib import Path\n"
        "from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer\n"
        "from test_qa_checkpoint import kept, plain\n"
        "given, read = kept(JsonPlusSerializer(), Path(sys.argv[1]))\n"
        "assert plain(read) == plain(given), read\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"LANGGRAPH_STRICT_MSGPACK": "true", "PYTHONPATH": str(Path(__file__).parent)},
        check=True,
    )
