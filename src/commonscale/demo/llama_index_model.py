"""The demo's answerer as a LlamaIndex language model, for engines that are to run offline.

Needs the extra ``llama-index``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    ImageBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from commonscale.answering.types import Answerer
from commonscale.demo.answering import NAME, DrawnWorldAnswerer
from commonscale.demo.messages import question_to_rewrite, read_request

WINDOW = 1_000_000
"""Tokens: it reads each document by itself, so that the whole may be of any length."""


class DrawnWorldLLM(CustomLLM):
    """Answers questions about the drawn world from numbered documents, in a word and a citation.

    Stands where a provider's model stands in ``create_multimodal_query_engine`` and its relatives: a real, but tiny
    model that knows no other words. It reads the last message of the user only, and gives a question that it is to
    rewrite back unchanged. Pictures that are sent as URLs are not looked at.
    """

    _answerer: Answerer = PrivateAttr(default_factory=DrawnWorldAnswerer)

    @classmethod
    def class_name(cls) -> str:
        """Name the class for serialization."""
        return "DrawnWorldLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What engines want to know of it."""
        return LLMMetadata(model_name=NAME, is_chat_model=True, context_window=WINDOW)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer the last message of the user."""
        del kwargs
        return _response("".join(self._pieces(_parts(messages))))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer the last message of the user, piece by piece."""
        del kwargs
        return self._streamed(_parts(messages))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a text without pictures."""
        del formatted, kwargs
        return CompletionResponse(text="".join(self._pieces([prompt])))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Answer a text without pictures, piece by piece."""
        del formatted, kwargs
        return (
            CompletionResponse(text=str(response.message.content), delta=response.delta)
            for response in self._streamed([prompt])
        )

    def _streamed(self, parts: Sequence[str | bytes]) -> ChatResponseGen:
        answer = ""
        for piece in self._pieces(parts):
            answer += piece
            yield _response(answer, piece)

    def _pieces(self, parts: Sequence[str | bytes]) -> Iterator[str]:
        rewrite = question_to_rewrite("\n".join(part for part in parts if isinstance(part, str)))
        if rewrite is not None:
            return iter([rewrite])
        return self._answerer.stream(read_request(parts))


def _response(answer: str, piece: str | None = None) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=answer), delta=piece)


def _parts(messages: Sequence[ChatMessage]) -> list[str | bytes]:
    asked = [message for message in messages if message.role == MessageRole.USER][-1]
    parts: list[str | bytes] = []
    for block in asked.blocks:
        if isinstance(block, TextBlock):
            parts.append(block.text)
        elif isinstance(block, ImageBlock) and block.url is None:
            parts.append(block.resolve_image().read())
    return parts
