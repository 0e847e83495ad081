"""A chain that answers a question from the texts and pictures that a retriever finds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from langchain_core.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnablePassthrough,
    RunnableSequence,
)
from langchain_core.runnables.base import RunnableLike, coerce_to_runnable

from commonscale.core.errors import InvalidInputError
from commonscale.core.wording import check_wording
from commonscale.langchain.answer_parser import AnswerParser
from commonscale.langchain.answers import MultimodalAnswer, acollected, collected
from commonscale.langchain.image_questions import words_of
from commonscale.langchain.pictures import ImageKeys
from commonscale.langchain.prompt_items import prompt_items
from commonscale.langchain.request_messages import answer_prompt, prompt_variables
from commonscale.prompting.budget import Budget
from commonscale.prompting.builder import PromptBuilder
from commonscale.prompting.instructions import ANSWER_INSTRUCTIONS
from commonscale.prompting.items import Prompt
from commonscale.prompting.pictures import Pictures

QuestionInput: TypeAlias = str | dict[str, Any]
"""What chains take: the question, or a dict that holds it under ``"question"``."""


def create_multimodal_qa_chain(
    retriever: RunnableLike[Any, Any],
    llm: RunnableLike[Any, Any],
    *,
    budget: Budget | None = None,
    pictures: Pictures | None = None,
    keys: ImageKeys | None = None,
    instructions: str | None = None,
    prompt: RunnableLike[Any, Any] | None = None,
) -> Runnable[QuestionInput, MultimodalAnswer]:
    """Make a chain from a question to an answer with sources and citations.

        chain = create_multimodal_qa_chain(
            retriever, llm, budget=Budget(images=6, tokens=8000), pictures=Pictures(["photos"])
        )
        chain.invoke("which bus is red?")["answer"]

    The chain is built of runnables: ``stream`` gives the sources first, then the answer piece by piece, then the
    citations; the chunks added up are what ``invoke`` gives. Callbacks, tags and the rest of a config reach the
    retriever and the model.

    Args:
        retriever: from a question to documents, best first: any retriever, runnable or function.
        llm: a chat model, or any runnable from messages to a message or a text, such as ``llm.with_fallbacks(...)``. Of
            ``llm.with_structured_output(...)`` the answer is the object, whole at the end of a stream; no citations are
            sought in it.
        budget: how much may be sent; None for all that is retrieved.
        pictures: where pictures may be read from. None reads neither files nor URLs, since what a document's metadata
            name may be written by strangers: only pictures whose bytes the metadata hold are sent.
        keys: where documents keep their pictures and their modality; None for the usual keys.
        instructions: the system message in place of the usual one; empty for none.
        prompt: in place of the usual prompt: a chat prompt template, or a runnable, that makes the messages. It gets
            ``question``, ``documents`` (one message with the numbered documents), ``request`` (one with documents and
            question), ``chat_history``, and whatever else is in the input.

    Returns:
        A runnable from a question (a string, an ``ImageQuestion``, or a dict with ``"question"``) to a
        ``MultimodalAnswer``.

    Raises:
        InvalidInputError: if a part cannot be used. When it runs: if the question is empty, or the retriever gives no
            documents but something else, or the model nothing that can be an answer.
    """
    steps = AnswerSteps(retriever, budget, pictures, keys)
    chain: Runnable[Any, Any] = RunnableSequence(
        RunnableLambda(read_question),
        steps.find(question_of),
        *steps.answer(llm, answer_prompt(instructions, ANSWER_INSTRUCTIONS, prompt)),
        name="multimodal_qa_chain",
    )
    return typed(chain)


class AnswerSteps:
    """The steps that chains have in common, over a state that grows: documents, prompt, answer."""

    def __init__(
        self,
        retriever: RunnableLike[Any, Any],
        budget: Budget | None,
        pictures: Pictures | None,
        keys: ImageKeys | None,
    ) -> None:
        self._retriever = as_runnable(retriever, "retriever")
        self._pictures = pictures or Pictures()
        self._builder = PromptBuilder(budget, self._pictures)
        self._keys = keys

    def find(self, searched: Any) -> Runnable[Any, Any]:
        """Make the step that adds the documents; ``searched`` is a function from the state to the question."""
        return RunnablePassthrough.assign(documents=RunnableLambda(searched) | self._retriever)

    def answer(self, llm: RunnableLike[Any, Any], messages: Runnable[Any, Any]) -> list[Runnable[Any, Any]]:
        """Make the steps that choose what is sent, ask, and give what the chain gives."""
        variables = RunnableLambda(self._variables, self._avariables, name="write_request")
        ask = variables | messages | as_runnable(llm, "llm") | AnswerParser()
        return [
            RunnablePassthrough.assign(prompt=RunnableLambda(self._build, self._abuild, name="build_prompt")),
            RunnablePassthrough.assign(answer=ask),
            RunnableGenerator(collected, acollected, name="collect_answer"),
        ]

    def _build(self, state: Mapping[str, Any]) -> Prompt:
        return self._builder.build(prompt_items(state["documents"], self._keys))

    def _variables(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return prompt_variables(state, self._pictures)

    async def _avariables(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(self._variables, state)

    async def _abuild(self, state: Mapping[str, Any]) -> Prompt:
        return await self._builder.abuild(prompt_items(state["documents"], self._keys))


def read_question(given: QuestionInput) -> dict[str, Any]:
    """Read a chain's input.

    Raises:
        InvalidInputError: if it holds no question, or one whose words are no valid Unicode.
    """
    state = dict(given) if isinstance(given, Mapping) else {"question": given}
    question = state.get("question")
    if not isinstance(question, str) or not question.strip():
        raise InvalidInputError(f"a question is needed, or a dict with one under 'question', got {given!r:.200}")
    check_wording(words_of(question))
    return state


def question_of(state: Mapping[str, Any]) -> str:
    """Give the question of a chain's state."""
    return cast("str", state["question"])


def as_runnable(part: Any, name: str) -> Runnable[Any, Any]:
    """Make a runnable of a part that the user gave.

    Raises:
        InvalidInputError: if it is none, and no function.
    """
    if isinstance(part, Runnable) or callable(part):
        made: Runnable[Any, Any] = coerce_to_runnable(part)
        return made
    raise InvalidInputError(f"{name} must be a runnable or a function, got {type(part).__name__}: {part!r:.200}")


def typed(chain: Runnable[Any, Any]) -> Runnable[QuestionInput, MultimodalAnswer]:
    """Say what a chain takes and gives, for its schemas."""
    return cast(
        "Runnable[QuestionInput, MultimodalAnswer]",
        chain.with_types(input_type=cast("Any", QuestionInput), output_type=cast("Any", MultimodalAnswer)),
    )
