"""What a response cites, and what the language model was sent for it."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.response.schema import AsyncStreamingResponse, Response, StreamingResponse
from llama_index.core.chat_engine.types import AgentChatResponse, StreamingAgentChatResponse

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.prompt_nodes import prompt_from_nodes
from commonscale.prompting import Citations, Prompt, parse_citations

AnyResponse = Response | StreamingResponse | AsyncStreamingResponse | AgentChatResponse | StreamingAgentChatResponse
"""What LlamaIndex's query and chat engines return."""

_RESPONSES = (Response, StreamingResponse, AsyncStreamingResponse, AgentChatResponse, StreamingAgentChatResponse)


def prompt_of(response: AnyResponse) -> Prompt:
    """Read back what a language model was sent for a response.

    Args:
        response: of an engine with a ``PromptPreparer``; a streamed one need not have ended.

    Returns:
        What was sent, by number, and what was left out and why; empty if no document was sent. Each item's payload is
        its source node.

    Raises:
        InvalidInputError: if it is no response of an engine.
    """
    _check(response)
    return prompt_from_nodes(response.source_nodes)


def citations_of(response: AnyResponse, answer: str | None = None) -> Citations:
    """Find the citations of a response.

    Args:
        response: of an engine with a ``PromptPreparer``; a streamed one must have ended.
        answer: its words, where a stream was read in a way that keeps none (``response_gen`` of LlamaIndex's own
            synthesizers).

    Returns:
        The documents that the answer cites, with ids and places, and numbers that it cites though they were not sent.

    Raises:
        InvalidInputError: if it is no response of an engine, or its words are not there yet.
    """
    _check(response)
    return parse_citations(_words(response) if answer is None else answer, prompt_of(response))


def _check(response: Any) -> None:
    if not isinstance(response, _RESPONSES):
        raise InvalidInputError(
            f"a response of a query or chat engine is needed, got {type(response).__name__}: {response!r:.200}"
        )


def _words(response: AnyResponse) -> str:
    if isinstance(response, (StreamingResponse, AsyncStreamingResponse)):
        words = response.response_txt
        if words is None:
            raise InvalidInputError(
                "the stream has not ended, or was read in a way that keeps no text: read it to its end first, and "
                "give its text as citations_of(response, answer)"
            )
        return words
    if isinstance(response, StreamingAgentChatResponse) and not response.is_done and not response.response:
        raise InvalidInputError("the stream has not ended: read it to its end first")
    return response.response or ""
