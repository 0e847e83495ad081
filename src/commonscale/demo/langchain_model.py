"""The demo's answerer as a LangChain chat model, for chains that are to run offline. Needs the extra ``langchain``."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from commonscale.answering.types import Answerer
from commonscale.demo.answering import NAME, DrawnWorldAnswerer
from commonscale.demo.messages import question_to_rewrite, read_request


class DrawnWorldChatModel(BaseChatModel):
    """Answers questions about the drawn world from numbered documents, in a word and a citation.

    Stands where a provider's chat model stands in ``create_multimodal_qa_chain`` and its relatives: a real, but tiny
    model that knows no other words. It reads the last human message only, and gives a question that it is to rewrite
    back unchanged. Pictures that are sent as URLs are not looked at.
    """

    _answerer: Answerer = PrivateAttr(default_factory=DrawnWorldAnswerer)

    @property
    def _llm_type(self) -> str:
        return NAME

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager, kwargs
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content="".join(self._pieces(messages))))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        del stop, kwargs
        for piece in self._pieces(messages):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if run_manager is not None:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk

    def _pieces(self, messages: Sequence[BaseMessage]) -> Iterator[str]:
        asked = [message for message in messages if isinstance(message, HumanMessage)][-1]
        rewrite = question_to_rewrite(asked.text)
        if rewrite is not None:
            return iter([rewrite])
        return self._answerer.stream(read_request(_parts(asked)))


def _parts(message: BaseMessage) -> Iterator[str | bytes]:
    for block in message.content_blocks:
        if block["type"] == "text":
            yield block["text"]
        elif block["type"] == "image" and "base64" in block:
            yield base64.b64decode(block["base64"])
