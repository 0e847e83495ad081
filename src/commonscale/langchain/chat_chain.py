"""A chain that answers questions of a conversation from the texts and pictures that a retriever finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, convert_to_messages
from langchain_core.runnables import Runnable, RunnableBranch, RunnableLambda, RunnablePassthrough, RunnableSequence
from langchain_core.runnables.base import RunnableLike

from commonscale.core.errors import InvalidInputError
from commonscale.langchain.answer_parser import AnswerParser
from commonscale.langchain.answers import MultimodalAnswer
from commonscale.langchain.image_questions import ImageQuestion
from commonscale.langchain.pictures import ImageKeys
from commonscale.langchain.qa_chain import AnswerSteps, QuestionInput, as_runnable, question_of, read_question, typed
from commonscale.langchain.request_messages import answer_prompt
from commonscale.prompting.budget import Budget
from commonscale.prompting.instructions import CHAT_INSTRUCTIONS, CONDENSE_INSTRUCTIONS, condense_text
from commonscale.prompting.pictures import Pictures


def create_multimodal_chat_chain(
    retriever: RunnableLike[Any, Any],
    llm: RunnableLike[Any, Any],
    *,
    condense_llm: RunnableLike[Any, Any] | None = None,
    budget: Budget | None = None,
    pictures: Pictures | None = None,
    keys: ImageKeys | None = None,
    instructions: str | None = None,
    condense_instructions: str = CONDENSE_INSTRUCTIONS,
    prompt: RunnableLike[Any, Any] | None = None,
) -> Runnable[QuestionInput, MultimodalAnswer]:
    """Make a chain as ``create_multimodal_qa_chain`` does, for questions that follow up on earlier ones.

        chain.invoke({"question": "and the blue one?", "chat_history": [("human", "..."), ("ai", "...")]})

    A question with a history is first rewritten by a model into one that can be searched for; a question without one
    costs no such call. The model that answers sees the history, the documents and the question as it was asked. The
    chain keeps nothing itself: give it the history, or let a ``RunnableWithMessageHistory`` do so, with
    ``input_messages_key="question"``, ``history_messages_key="chat_history"`` and ``output_messages_key="answer"``.

    Args:
        retriever: as for ``create_multimodal_qa_chain``.
        llm: as there.
        condense_llm: the model that rewrites questions, which needs no eyes and may be a small one; None for ``llm``,
            unless that has structured output.
        budget: as there; the history is not counted.
        pictures: as there.
        keys: as there.
        instructions: as there.
        condense_instructions: the system message that tells a model to rewrite a question.
        prompt: as there.

    Returns:
        A runnable from a question, or a dict with ``"question"`` and ``"chat_history"`` (messages, or what LangChain
        turns into them; only words count for rewriting), to a ``MultimodalAnswer`` with ``"standalone_question"``. A
        question that is an ``ImageQuestion`` is not rewritten.

    Raises:
        InvalidInputError: as there; and when it runs, if the history is none.
    """
    steps = AnswerSteps(retriever, budget, pictures, keys)
    rewrite = _Rewriting(condense_instructions).steps(llm if condense_llm is None else condense_llm)
    chain: Runnable[Any, Any] = RunnableSequence(
        RunnableLambda(_read_turn),
        RunnablePassthrough.assign(standalone_question=RunnableBranch((_follows_up, rewrite), question_of)),
        steps.find(_searched),
        *steps.answer(llm, answer_prompt(instructions, CHAT_INSTRUCTIONS, prompt)),
        name="multimodal_chat_chain",
    )
    return typed(chain)


class _Rewriting:
    """The steps from a question with its history to a question of its own."""

    def __init__(self, instructions: str) -> None:
        self._instructions = instructions

    def steps(self, llm: RunnableLike[Any, Any]) -> Runnable[Any, Any]:
        model = as_runnable(llm, "condense_llm")
        words = RunnableLambda(self._messages, name="write_condense") | model | AnswerParser()
        return RunnablePassthrough.assign(rewritten=words) | RunnableLambda(_rewritten)

    def _messages(self, state: Mapping[str, Any]) -> list[BaseMessage]:
        asked = HumanMessage(condense_text(turns_of(state["chat_history"]), state["question"]))
        return [SystemMessage(self._instructions), asked] if self._instructions else [asked]


def turns_of(history: Iterable[BaseMessage]) -> list[tuple[str, str]]:
    """Give the questions of a conversation with their answers, oldest first; other messages are passed over."""
    turns: list[tuple[str, str]] = []
    for message in history:
        if isinstance(message, HumanMessage):
            turns.append((message.text, ""))
        elif isinstance(message, AIMessage) and message.text:
            asked, answered = turns.pop() if turns else ("", "")
            turns.append((asked, f"{answered}\n{message.text}".strip()))
    return turns


def _read_turn(given: QuestionInput) -> dict[str, Any]:
    state = read_question(given)
    history = state.get("chat_history") or []
    if isinstance(history, (str, Mapping)):
        raise InvalidInputError(
            f"chat_history must be a list of messages, got {type(history).__name__}: {history!r:.200}"
        )
    try:
        return {**state, "chat_history": convert_to_messages(history)}
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InvalidInputError(f"chat_history must be a list of messages, got {history!r:.200}: {error}") from error


def _follows_up(state: Mapping[str, Any]) -> bool:
    return bool(state["chat_history"]) and not isinstance(state["question"], ImageQuestion)


def _rewritten(state: Mapping[str, Any]) -> str:
    words = state["rewritten"]
    if not isinstance(words, str):
        raise InvalidInputError(
            f"a model that rewrites questions must give words, got {type(words).__name__}: {words!r:.200}; where llm "
            f"has structured output, give one without as condense_llm"
        )
    # A model that says nothing must not make an empty search.
    return words.strip() or question_of(state)


def _searched(state: Mapping[str, Any]) -> str:
    question: str = state["standalone_question"]
    return question
