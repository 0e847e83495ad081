"""A response synthesizer that asks once, with everything that it is given."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.base.response.schema import RESPONSE_TYPE, AsyncStreamingResponse, StreamingResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import NodeWithScore
from llama_index.core.types import RESPONSE_TEXT_TYPE

from commonscale.llama_index.answer_template import AnswerTemplate
from commonscale.llama_index.context_window import warn_if_too_long
from commonscale.llama_index.prompt_nodes import prompt_from_nodes

_TEMPLATE = "chat_content_qa_template"


class OneCallSynthesizer(BaseSynthesizer):
    """Answers from all documents in a single call of a chat model, in their order, uncut.

    LlamaIndex's own modes pack documents into calls by an estimate of 2,125 tokens for any picture: at the context
    window that OpenAI-like clients assume, 3,900 tokens, that is a call for each picture, or documents cut off. What is
    sent is decided by a ``PromptPreparer`` instead; here a ``ContextWindowWarning`` says where it may be too much.
    Streamed answers keep their text when they end, however they are read.
    """

    def __init__(
        self,
        llm: LLM,
        template: BasePromptTemplate | None = None,
        *,
        streaming: bool = False,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Set up the synthesizer.

        Args:
            llm: a chat model that takes pictures.
            template: from ``context_messages`` and ``query_str`` to messages; None for ``AnswerTemplate()``.
            streaming: whether answers are streamed.
            callback_manager: LlamaIndex's callbacks.

        Raises:
            ValueError: if ``llm`` is no chat model.
        """
        super().__init__(llm=llm, callback_manager=callback_manager, streaming=streaming, multimodal=True)
        self._template = template or AnswerTemplate()

    def _get_prompts(self) -> PromptDictType:
        return {_TEMPLATE: self._template}

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        self._template = prompts_dict.get(_TEMPLATE, self._template)

    def get_response_from_messages(
        self, query_str: str, message_chunks: Sequence[ChatMessage], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Answer from documents as content blocks."""
        ask = self._llm.stream if self._streaming else self._llm.predict
        return ask(self._template, context_messages=message_chunks, query_str=query_str, **response_kwargs)

    async def aget_response_from_messages(
        self, query_str: str, message_chunks: Sequence[ChatMessage], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Answer from documents as content blocks, asynchronously."""
        values = {"context_messages": message_chunks, "query_str": query_str, **response_kwargs}
        if self._streaming:
            return await self._llm.astream(self._template, **values)
        return await self._llm.apredict(self._template, **values)

    def get_response(self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any) -> RESPONSE_TEXT_TYPE:
        """Answer from texts."""
        return self.get_response_from_messages(query_str, _messages(text_chunks), **response_kwargs)

    async def aget_response(
        self, query_str: str, text_chunks: Sequence[str], **response_kwargs: Any
    ) -> RESPONSE_TEXT_TYPE:
        """Answer from texts, asynchronously."""
        return await self.aget_response_from_messages(query_str, _messages(text_chunks), **response_kwargs)

    def synthesize(self, query: Any, nodes: list[NodeWithScore], *args: Any, **kwargs: Any) -> RESPONSE_TYPE:
        """Answer a question from nodes."""
        warn_if_too_long(prompt_from_nodes(nodes), self._llm, split=False)
        return _keeping(super().synthesize(query, nodes, *args, **kwargs))

    async def asynthesize(self, query: Any, nodes: list[NodeWithScore], *args: Any, **kwargs: Any) -> RESPONSE_TYPE:
        """Answer a question from nodes, asynchronously."""
        warn_if_too_long(prompt_from_nodes(nodes), self._llm, split=False)
        return _keeping(await super().asynthesize(query, nodes, *args, **kwargs))


def _messages(texts: Sequence[str]) -> list[ChatMessage]:
    return [ChatMessage(content=text) for text in texts]


def _keeping(response: RESPONSE_TYPE) -> RESPONSE_TYPE:
    """Let a streamed response, also one without documents, keep its text."""
    if isinstance(response, StreamingResponse):
        response.response_gen = _kept(response, response.response_gen)
    elif isinstance(response, AsyncStreamingResponse):
        response.response_gen = _akept(response, response.response_gen)
    return response


def _kept(response: StreamingResponse, tokens: Any) -> Generator[str, None, None]:
    """Hand the tokens through, and keep the whole text in the response when they end."""
    text = ""
    for token in tokens:
        text += token
        yield token
    response.response_txt = text


async def _akept(response: AsyncStreamingResponse, tokens: Any) -> AsyncGenerator[str, None]:
    text = ""
    async for token in tokens:
        text += token
        yield token
    response.response_txt = text
