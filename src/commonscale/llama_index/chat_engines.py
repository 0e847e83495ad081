"""LlamaIndex's multimodal chat engines, with texts and pictures in ranked order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.base.response.schema import RESPONSE_TYPE, AsyncStreamingResponse, Response, StreamingResponse
from llama_index.core.chat_engine import MultiModalCondensePlusContextChatEngine, MultiModalContextChatEngine
from llama_index.core.llms import LLM
from llama_index.core.llms.llm import astream_chat_response_to_tokens, stream_chat_response_to_tokens
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore, QueryBundle

from commonscale.core.wording import check_wording
from commonscale.llama_index.answer_template import user_blocks
from commonscale.llama_index.context_window import warn_if_too_long
from commonscale.llama_index.prompt_nodes import prompt_from_nodes


class InterleavedContextChatEngine(MultiModalContextChatEngine):
    """Answers each message of a conversation from what is found for it.

    As LlamaIndex's engine, which puts all pictures before all text and leaves captions out; here texts and pictures
    stand in ranked order, each behind its label.
    """

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        streaming: bool = False,
    ) -> RESPONSE_TYPE:
        """Answer from nodes and the conversation so far."""
        question = query_bundle.query_str
        messages = _messages(
            self._multi_modal_llm, self._system_prompt, self._memory.get(input=question), question, nodes
        )
        return _answer(self._multi_modal_llm, messages, [*nodes, *(additional_source_nodes or ())], streaming)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        streaming: bool = False,
    ) -> RESPONSE_TYPE:
        """Answer from nodes and the conversation so far, asynchronously."""
        question = query_bundle.query_str
        history = await self._memory.aget(input=question)
        messages = _messages(self._multi_modal_llm, self._system_prompt, history, question, nodes)
        return await _aanswer(self._multi_modal_llm, messages, [*nodes, *(additional_source_nodes or ())], streaming)


class InterleavedCondensePlusContextChatEngine(MultiModalCondensePlusContextChatEngine):
    """Makes a question of its own from each message and the conversation, and answers from what is found for that.

    As LlamaIndex's engine, which puts all pictures before all text and leaves captions out; here texts and pictures
    stand in ranked order, each behind its label.
    """

    def _condense_question(self, chat_history: list[ChatMessage], latest_message: str) -> str:
        # A model that says nothing must not make an empty search.
        return super()._condense_question(chat_history, check_wording(latest_message)).strip() or latest_message

    async def _acondense_question(self, chat_history: list[ChatMessage], latest_message: str) -> str:
        condensed = await super()._acondense_question(chat_history, check_wording(latest_message))
        return condensed.strip() or latest_message

    def synthesize(
        self,
        query_str: str,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        streaming: bool = False,
    ) -> RESPONSE_TYPE:
        """Answer from nodes and the conversation so far."""
        history = self._memory.get(input=query_str)
        messages = _messages(self._multi_modal_llm, self._system_prompt, history, query_str, nodes)
        return _answer(self._multi_modal_llm, messages, [*nodes, *(additional_source_nodes or ())], streaming)

    async def asynthesize(
        self,
        query_str: str,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
        streaming: bool = False,
    ) -> RESPONSE_TYPE:
        """Answer from nodes and the conversation so far, asynchronously."""
        history = await self._memory.aget(input=query_str)
        messages = _messages(self._multi_modal_llm, self._system_prompt, history, query_str, nodes)
        return await _aanswer(self._multi_modal_llm, messages, [*nodes, *(additional_source_nodes or ())], streaming)


def _messages(
    llm: LLM, system_prompt: str | None, history: Sequence[ChatMessage], question: str, nodes: list[NodeWithScore]
) -> list[ChatMessage]:
    warn_if_too_long(prompt_from_nodes(nodes), llm, split=False, history=history)
    blocks: list[Any] = []
    for hit in nodes:
        blocks += hit.node.get_content_blocks(metadata_mode=MetadataMode.LLM)
    system = [ChatMessage(role=MessageRole.SYSTEM, content=system_prompt)] if system_prompt else []
    return [*system, *history, ChatMessage(role=MessageRole.USER, blocks=user_blocks(blocks, question))]


def _by_kind(nodes: list[NodeWithScore]) -> dict[str, list[NodeWithScore]]:
    """Give the metadata that LlamaIndex's chat engines give."""
    images = [hit for hit in nodes if isinstance(hit.node, ImageNode)]
    return {"text_nodes": [hit for hit in nodes if not isinstance(hit.node, ImageNode)], "image_nodes": images}


def _answer(llm: LLM, messages: list[ChatMessage], nodes: list[NodeWithScore], streaming: bool) -> RESPONSE_TYPE:
    if streaming:
        tokens = stream_chat_response_to_tokens(llm.stream_chat(messages))
        return StreamingResponse(tokens, nodes, _by_kind(nodes))
    return Response(llm.chat(messages).message.content or "", nodes, _by_kind(nodes))


async def _aanswer(llm: LLM, messages: list[ChatMessage], nodes: list[NodeWithScore], streaming: bool) -> RESPONSE_TYPE:
    if streaming:
        tokens = await astream_chat_response_to_tokens(await llm.astream_chat(messages))
        return AsyncStreamingResponse(tokens, nodes, _by_kind(nodes))
    return Response((await llm.achat(messages)).message.content or "", nodes, _by_kind(nodes))
