"""The chain of a conversation: what is searched for, what is asked, and who keeps the history."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("PIL")

from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from commonscale.core.errors import InvalidInputError
from commonscale.langchain import ImageQuestion, create_multimodal_chat_chain
from commonscale.prompting import CHAT_INSTRUCTIONS, CONDENSE_INSTRUCTIONS

HISTORY = [HumanMessage("which bus is red?"), AIMessage("The one in the yard [2].")]
CONDENSED = "Conversation:\nUser: which bus is red?\nAssistant: The one in the yard [2].\n\nLast question: and blue?"


class Wire:
    """A retriever and two models (fakes) that write down what they are given."""

    def __init__(self, rewritten: str = " which bus is blue? ") -> None:
        self.searched: list[str] = []
        self.condensed: list[list[Any]] = []
        self.asked: list[list[Any]] = []
        self._rewritten = rewritten

    def retrieve(self, question: str) -> list[Document]:
        self.searched.append(question)
        return [Document("a bus", id="b")]

    def condense(self, messages: list[Any]) -> AIMessage:
        self.condensed.append(messages)
        return AIMessage(self._rewritten)

    def answer(self, prompt: Any) -> AIMessage:
        self.asked.append(prompt.to_messages())
        return AIMessage(f"answer {len(self.asked)} [1]")

    def chain(self, **options: Any) -> Runnable[Any, Any]:
        return create_multimodal_chat_chain(self.retrieve, self.answer, condense_llm=self.condense, **options)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def said(messages: list[Any]) -> list[tuple[str, str]]:
    return [(message.type, message.text) for message in messages]


@pytest.mark.parametrize("given", ["which?", {"question": "which?"}, {"question": "which?", "chat_history": []}])
def test_a_first_question_costs_no_call_to_rewrite_it(wire, given):
    answer = wire.chain().invoke(given)
    assert wire.condensed == []
    assert wire.searched == ["which?"]
    assert (answer["question"], answer["standalone_question"]) == ("which?", "which?")
    assert said(wire.asked[0])[0] == ("system", CHAT_INSTRUCTIONS)
    assert len(wire.asked[0]) == 2


@pytest.mark.parametrize(
    "history", [HISTORY, [("human", HISTORY[0].content), ("ai", HISTORY[1].content)], [m.model_dump() for m in HISTORY]]
)
def test_a_question_that_follows_up_is_rewritten_and_searched_for(wire, history):
    answer = wire.chain().invoke({"question": "and blue?", "chat_history": history})
    assert said(wire.condensed[0]) == [("system", CONDENSE_INSTRUCTIONS), ("human", CONDENSED)]
    assert wire.searched == ["which bus is blue?"]
    assert (answer["question"], answer["standalone_question"]) == ("and blue?", "which bus is blue?")
    # The model that answers reads the conversation, and the question in the user's words.
    kinds = [message.type for message in wire.asked[0]]
    assert kinds == ["system", "human", "ai", "human"]
    assert said(wire.asked[0])[1:3] == [("human", "which bus is red?"), ("ai", "The one in the yard [2].")]
    assert said(wire.asked[0])[3][1].endswith("Question: and blue?")
    assert answer["citations"].ids == ["b"]


async def test_asynchronously_and_streaming(wire):
    turn = {"question": "and blue?", "chat_history": HISTORY}
    chunks = [chunk async for chunk in wire.chain().astream(turn)]
    assert set(chunks[0]) == {"question", "standalone_question", "sources", "left_out"}
    assert chunks[0]["standalone_question"] == "which bus is blue?"
    assert "".join(chunk.get("answer", "") for chunk in chunks) == "answer 1 [1]"
    assert (await wire.chain().ainvoke(turn))["answer"] == "answer 2 [1]"
    assert next(wire.chain().stream(turn))["standalone_question"] == "which bus is blue?"
    assert wire.searched == ["which bus is blue?"] * 3


def test_the_same_model_rewrites_if_no_other_is_given():
    wire = Wire()
    answers = iter(["which bus is blue?", "none"])
    chain = create_multimodal_chat_chain(wire.retrieve, lambda messages: next(answers))
    assert chain.invoke({"question": "and blue?", "chat_history": HISTORY})["answer"] == "none"
    assert wire.searched == ["which bus is blue?"]


def test_a_model_that_rewrites_nothing_leaves_the_question():
    wire = Wire(rewritten=" ")
    wire.chain().invoke({"question": "and blue?", "chat_history": HISTORY})
    assert wire.searched == ["and blue?"]


def test_own_instructions(wire):
    chain = wire.chain(instructions="Be brief.", condense_instructions="")
    chain.invoke({"question": "and blue?", "chat_history": HISTORY})
    assert said(wire.condensed[0]) == [("human", CONDENSED)]
    assert said(wire.asked[0])[0] == ("system", "Be brief.")


def test_only_questions_and_answers_count_for_rewriting(wire):
    history = [
        SystemMessage("be kind"),
        AIMessage("Hello!"),
        HumanMessage([{"type": "text", "text": "look"}, {"type": "image", "url": "https://example.org/a.png"}]),
        AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}]),
        ToolMessage("found", tool_call_id="1"),
        AIMessage("A bus."),
        AIMessage("A red one."),
    ]
    wire.chain().invoke({"question": "and blue?", "chat_history": history})
    conversation = "User: \nAssistant: Hello!\nUser: look\nAssistant: A bus.\nA red one."
    assert wire.condensed[0][-1].text == f"Conversation:\n{conversation}\n\nLast question: and blue?"


def test_a_question_that_is_a_picture_is_not_rewritten(wire, tmp_path):
    from PIL import Image

    Image.new("RGB", (3, 3)).save(tmp_path / "a.png")
    question = ImageQuestion(tmp_path / "a.png")
    wire.chain().invoke({"question": question, "chat_history": HISTORY})
    assert wire.condensed == []
    assert wire.searched[0] is question


@pytest.mark.parametrize("history", ["text", {"role": "user"}, [5], [("nobody", "x")]])
def test_a_history_is_a_list_of_messages(wire, history):
    with pytest.raises(InvalidInputError, match="chat_history must be a list of messages"):
        wire.chain().invoke({"question": "q", "chat_history": history})


def test_a_callers_history_stays_as_it_is(wire):
    history = list(HISTORY)
    turn = {"question": "and blue?", "chat_history": history}
    wire.chain().invoke(turn)
    assert turn == {"question": "and blue?", "chat_history": HISTORY}


# LangChain would rather that users kept histories with LangGraph.
@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
@pytest.mark.filterwarnings("ignore:The class `InMemoryChatMessageHistory` was deprecated")
class TestKeptHistory:
    """Two conversations at once, whose history LangChain keeps."""

    @pytest.fixture
    def histories(self) -> dict[str, InMemoryChatMessageHistory]:
        return {name: InMemoryChatMessageHistory() for name in ("ann", "ben")}

    def kept(self, wire: Wire, histories: dict[str, InMemoryChatMessageHistory]) -> Any:
        return RunnableWithMessageHistory(
            wire.chain(),
            lambda session_id: histories[session_id],
            input_messages_key="question",
            history_messages_key="chat_history",
            output_messages_key="answer",
        )

    def check(self, wire: Wire, histories: dict[str, InMemoryChatMessageHistory]) -> None:
        assert said(histories["ann"].messages) == [
            ("human", "red?"),
            ("ai", "answer 1 [1]"),
            ("human", "and blue?"),
            ("ai", "answer 3 [1]"),
        ]
        assert said(histories["ben"].messages) == [("human", "green?"), ("ai", "answer 2 [1]")]
        assert len(wire.condensed) == 1
        assert wire.condensed[0][-1].text == (
            "Conversation:\nUser: red?\nAssistant: answer 1 [1]\n\nLast question: and blue?"
        )
        assert wire.searched == ["red?", "green?", "which bus is blue?"]

    turns = (("ann", "red?"), ("ben", "green?"), ("ann", "and blue?"))

    def test_invoked(self, wire, histories):
        chain = self.kept(wire, histories)
        for name, question in self.turns:
            chain.invoke({"question": question}, {"configurable": {"session_id": name}})
        self.check(wire, histories)

    async def test_streamed(self, wire, histories):
        chain = self.kept(wire, histories)
        for name, question in self.turns:
            async for _ in chain.astream({"question": question}, {"configurable": {"session_id": name}}):
                pass
        self.check(wire, histories)


def test_providers_are_sent_the_history_and_the_documents(provider):
    def small(messages: Any) -> str:
        return "which bus is blue?"

    chain = create_multimodal_chat_chain(Wire().retrieve, provider.model, condense_llm=RunnableLambda(small))
    chain.invoke({"question": "and blue?", "chat_history": HISTORY})
    assert provider.seen == [
        ("system", "text", CHAT_INSTRUCTIONS),
        ("user", "text", "which bus is red?"),
        ("assistant", "text", "The one in the yard [2]."),
        ("user", "text", "<documents>"),
        ("user", "text", "[1] a bus"),
        ("user", "text", "</documents>\n\nQuestion: and blue?"),
    ]
