"""Language models of either framework, or plain functions, as functions from prompt to answer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from commonscale.core.errors import InvalidInputError
from commonscale.core.threads import off_thread

T = TypeVar("T")


class Model(NamedTuple):
    """A language model: from prompt to answer.

    Attributes:
        ask: waits for the answer; None if the model is a coroutine function.
        aask: awaits it.
    """

    ask: Callable[[str], str] | None
    aask: Callable[[str], Awaitable[str]]


def model_of(llm: Any) -> Model:
    """Find out how to ask a language model.

    Args:
        llm: an LLM of LlamaIndex (``complete``), a chat model, LLM or chain of LangChain (``invoke``), or a function or
            coroutine function from prompt to answer.

    Raises:
        InvalidInputError: if it is none of them.
    """
    for name in ("complete", "invoke"):
        if callable(getattr(llm, name, None)) and not isinstance(llm, type):
            return _of_methods(getattr(llm, name), getattr(llm, f"a{name}", None))
    if not callable(llm) or isinstance(llm, type):
        raise InvalidInputError(
            f"llm must be a LlamaIndex LLM, a LangChain model or a function from prompt to answer, got {llm!r}"
        )
    if awaits(llm):
        return Model(None, _awaited(llm))
    return _of_methods(llm, None)


def awaits(function: Any) -> bool:
    """Say whether a function, or an object that is called like one, is a coroutine function."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def run_here(waiting: Coroutine[Any, Any, T], asked: object) -> T:
    """Run a coroutine to its end, in an event loop of its own.

    Args:
        waiting: the coroutine.
        asked: whose it is, for the message.

    Raises:
        InvalidInputError: if this thread runs an event loop already, which it would block.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(waiting)
    waiting.close()
    raise InvalidInputError(
        f"{asked!r} is a coroutine function, and a synchronous search inside a running event loop cannot await it; "
        f"use the asynchronous search, or give a plain function"
    )


def text_of(answer: Any) -> str:
    """Take the words out of an answer: a string, or what the frameworks wrap around it.

    Raises:
        InvalidInputError: if there are none.
    """
    if isinstance(answer, str):
        return answer
    # LlamaIndex: CompletionResponse.text. LangChain: AIMessage.text, which joins the blocks of its content.
    for name in ("text", "content"):
        words = getattr(answer, name, None)
        if isinstance(words, str):
            return str(words)
    raise InvalidInputError(f"the language model must answer with text, got {type(answer).__name__}")


def _of_methods(ask: Callable[[str], Any], aask: Callable[[str], Awaitable[Any]] | None) -> Model:
    def asked(prompt: str) -> str:
        return text_of(ask(prompt))

    async def in_thread(prompt: str) -> str:
        return await off_thread(asked, prompt)

    return Model(asked, in_thread if aask is None else _awaited(aask))


def _awaited(aask: Callable[[str], Awaitable[Any]]) -> Callable[[str], Awaitable[str]]:
    async def asked(prompt: str) -> str:
        return text_of(await aask(prompt))

    return asked
