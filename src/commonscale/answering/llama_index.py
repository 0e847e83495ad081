"""Answers from any LLM of LlamaIndex."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from commonscale.answering.failures import Failures
from commonscale.answering.language_model import LanguageModelAnswerer, Parts
from commonscale.answering.limits import Limits
from commonscale.answering.redaction import secrets_in
from commonscale.answering.types import Turn
from commonscale.core.extras import require
from commonscale.prompting.instructions import ANSWER_INSTRUCTIONS
from commonscale.prompting.items import PreparedPicture

if TYPE_CHECKING:
    from llama_index.core.llms import LLM


class LlamaIndexAnswerer(LanguageModelAnswerer):
    """Answers with a chat model of LlamaIndex, with pictures as its image blocks.

    Attributes:
        llm: the model.
    """

    def __init__(
        self,
        llm: LLM,
        *,
        name: str | None = None,
        instructions: str = ANSWER_INSTRUCTIONS,
        limits: Limits | None = None,
    ) -> None:
        """Use a model.

        Args:
            llm: any that chats; it must read pictures if any are sent.
            name: what to call it; None takes its own name.
            instructions: the system message.
            limits: how long an answer may take.
        """
        key = getattr(llm, "api_key", None)
        secrets = (*secrets_in(vars(llm).values()), *([key] if isinstance(key, str) and key else []))
        failures = Failures(name or f"{type(llm).__name__} {llm.metadata.model_name}".strip(), secrets=secrets)
        super().__init__(failures, instructions=instructions, limits=limits)
        self.llm = llm

    def _send(self, system: str, history: Sequence[Turn], parts: Parts) -> Iterator[str]:
        ended = False
        for response in self.llm.stream_chat(_messages(system, history, parts)):
            ended = ended or _says_why_it_ends(response.raw)
            yield response.delta or ""
        self._check_end(ended)

    async def _asend(self, system: str, history: Sequence[Turn], parts: Parts) -> AsyncIterator[str]:
        ended = False
        async for response in await self.llm.astream_chat(_messages(system, history, parts)):
            ended = ended or _says_why_it_ends(response.raw)
            yield response.delta or ""
        self._check_end(ended)


def _says_why_it_ends(raw: Any) -> bool:
    # The chunks of OpenAI's client; others keep what their provider says in forms of their own.
    return any(getattr(choice, "finish_reason", None) for choice in getattr(raw, "choices", None) or ())


def _messages(system: str, history: Sequence[Turn], parts: Parts) -> list[Any]:
    kinds = require("llama_index.core.llms", "llama-index")
    message, roles = kinds.ChatMessage, kinds.MessageRole
    messages = [message(system, role=roles.SYSTEM)]
    for turn in history:
        messages += [message(turn.question, role=roles.USER), message(turn.answer, role=roles.ASSISTANT)]
    return [*messages, message(role=roles.USER, blocks=[_block(kinds, part) for part in _joined(parts)])]


def _joined(parts: Parts) -> Parts:
    """Make one of neighboring texts: OpenAI's client, among others, joins text blocks without a break."""
    joined: list[str | PreparedPicture] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(before := joined[-1], str):
            joined[-1] = f"{before}\n\n{part}"
        else:
            joined.append(part)
    return joined


def _block(kinds: Any, part: str | PreparedPicture) -> Any:
    if isinstance(part, str):
        return kinds.TextBlock(text=part)
    if part.url is not None:
        return kinds.ImageBlock(url=part.url)
    return kinds.ImageBlock(image=part.content, image_mimetype=part.mime_type)
