"""Answers from any chat model of LangChain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from commonscale.answering.failures import Failures
from commonscale.answering.language_model import LanguageModelAnswerer, Parts
from commonscale.answering.limits import Limits
from commonscale.answering.naming import KEYS, chat_model
from commonscale.answering.redaction import secrets_in
from commonscale.answering.types import Turn
from commonscale.core.extras import require
from commonscale.encoders.image_sources import describe
from commonscale.prompting.instructions import ANSWER_INSTRUCTIONS
from commonscale.prompting.items import PreparedPicture

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


_REASONS = ("finish_reason", "stop_reason", "stopReason", "done_reason")
"""Where the integrations of LangChain keep a provider's word for why an answer ends (Ollama's is the last)."""


class ChatModelAnswerer(LanguageModelAnswerer):
    """Answers with a chat model of LangChain, with pictures as standard content blocks.

    Attributes:
        model: the chat model.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        name: str | None = None,
        instructions: str = ANSWER_INSTRUCTIONS,
        limits: Limits | None = None,
        key: str | None = None,
        address: str | None = None,
    ) -> None:
        """Use a model.

        Args:
            model: any; it must read pictures if any are sent.
            name: what to call it; None takes its own name.
            instructions: the system message.
            limits: how long an answer may take.
            key: the environment variable of its API key, for messages.
            address: where it runs, for messages.
        """
        own = getattr(model, "model_name", None) or getattr(model, "model", None) or ""
        failures = Failures(
            name or f"{type(model).__name__} {own}".strip(), key, address, secrets_in(vars(model).values())
        )
        super().__init__(failures, instructions=instructions, limits=limits)
        self.model = model

    @classmethod
    def from_name(
        cls,
        name: str,
        *,
        base_url: str | None = None,
        limits: Limits | None = None,
        instructions: str = ANSWER_INSTRUCTIONS,
        **settings: Any,
    ) -> ChatModelAnswerer:
        """Make the model of a name.

        Args:
            name: ``PROVIDER:MODEL``, such as ``"openai:gpt-4.1-mini"``; the providers are those of LangChain's
                ``init_chat_model``.
            base_url: of a server that speaks the provider's protocol, such as ``"http://localhost:8000/v1"``.
            limits: how long an answer may take; the total is the client's own limit too.
            instructions: the system message.
            **settings: for the model, such as ``temperature`` or ``max_tokens``.

        Raises:
            InvalidInputError: if the name or the URL has another form.
            AnswererError: if the provider is not known, its package is not installed, or there is no key.
            MissingExtraError: if langchain is not installed.
        """
        limits = limits or Limits()
        address = None if base_url is None else describe(base_url)
        provider = name.partition(":")[0]
        failures = Failures(name, KEYS.get(provider), address, secrets_in(settings.values()))
        model = chat_model(name, base_url, failures, {"timeout": limits.total, **settings})
        return cls(model, name=name, instructions=instructions, limits=limits, key=KEYS.get(provider), address=address)

    def _send(self, system: str, history: Sequence[Turn], parts: Parts) -> Iterator[str]:
        ended = False
        for chunk in self.model.stream(_messages(system, history, parts)):
            ended = ended or _says_why_it_ends(chunk)
            yield str(chunk.text)
        self._check_end(ended)

    async def _asend(self, system: str, history: Sequence[Turn], parts: Parts) -> AsyncIterator[str]:
        ended = False
        async for chunk in self.model.astream(_messages(system, history, parts)):
            ended = ended or _says_why_it_ends(chunk)
            yield str(chunk.text)
        self._check_end(ended)


def _says_why_it_ends(chunk: Any) -> bool:
    return any(chunk.response_metadata.get(name) for name in _REASONS)


def _messages(system: str, history: Sequence[Turn], parts: Parts) -> list[Any]:
    kinds = require("langchain_core.messages", "chat")
    messages = [kinds.SystemMessage(system)]
    for turn in history:
        messages += [kinds.HumanMessage(turn.question), kinds.AIMessage(turn.answer)]
    return [*messages, kinds.HumanMessage(content=_content(parts))]


def _content(parts: Parts) -> str | list[dict[str, Any]]:
    """Give texts as one, which every server takes; with pictures, the standard content blocks."""
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        return "\n\n".join(texts)
    return [{"type": "text", "text": part} if isinstance(part, str) else _image(part) for part in parts]


def _image(picture: PreparedPicture) -> dict[str, Any]:
    if picture.url is not None:
        return {"type": "image", "url": picture.url}
    return {"type": "image", "base64": picture.base64, "mime_type": picture.mime_type}
