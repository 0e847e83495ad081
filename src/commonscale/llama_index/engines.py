"""Engines that answer from texts and pictures in one ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.memory import BaseMemory
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.answer_template import AnswerTemplate
from commonscale.llama_index.chat_engines import InterleavedCondensePlusContextChatEngine, InterleavedContextChatEngine
from commonscale.llama_index.chat_store import chat_memory
from commonscale.llama_index.one_call import OneCallSynthesizer
from commonscale.llama_index.preparer import PromptPreparer
from commonscale.prompting import ANSWER_INSTRUCTIONS, CHAT_INSTRUCTIONS, CONDENSE_INSTRUCTIONS, Budget, Pictures

_CONDENSE = CONDENSE_INSTRUCTIONS + "\n\nConversation:\n{chat_history}\n\nLast question: {question}"


def create_multimodal_query_engine(
    retriever: BaseRetriever,
    llm: LLM,
    *,
    budget: Budget | None = None,
    pictures: Pictures | None = None,
    instructions: str = ANSWER_INSTRUCTIONS,
    streaming: bool = False,
    node_postprocessors: Sequence[BaseNodePostprocessor] = (),
    callback_manager: CallbackManager | None = None,
) -> RetrieverQueryEngine:
    """Make a query engine that answers from texts and pictures, with citations.

    The documents go out in ranked order, each behind its number, in one call whatever the context window that the
    client assumes (a ``ContextWindowWarning`` says if that is too small); LlamaIndex's response modes may split or cut
    them. ``citations_of`` and ``prompt_of`` read the response.

    Args:
        retriever: a ``StandardizedMultiModalRetriever``, or any other.
        llm: a chat model that takes pictures.
        budget: how much may be sent; None for all that is retrieved.
        pictures: how pictures are read, shrunk and encoded, and from where; None reads no files and no URLs.
        instructions: the system message.
        streaming: whether answers are streamed.
        node_postprocessors: applied before the budget, such as rerankers.
        callback_manager: LlamaIndex's callbacks, for a counter of tokens or a tracer; becomes the model's own too, as
            with LlamaIndex's synthesizers. None for those of ``Settings``, and leaves the model's as they are.

    Returns:
        The engine: ``query``, ``aquery``, and all else that a ``RetrieverQueryEngine`` does.

    Raises:
        InvalidInputError: if the model is no chat model, or an argument is of another kind than said.
    """
    _check(retriever, llm)
    synthesizer = OneCallSynthesizer(
        llm, AnswerTemplate(instructions), streaming=streaming, callback_manager=callback_manager
    )
    return RetrieverQueryEngine(
        retriever, synthesizer, [*node_postprocessors, PromptPreparer(budget, pictures)], callback_manager
    )


def create_multimodal_chat_engine(
    retriever: BaseRetriever,
    llm: LLM,
    *,
    condense: bool = True,
    budget: Budget | None = None,
    pictures: Pictures | None = None,
    instructions: str = CHAT_INSTRUCTIONS,
    memory: BaseMemory | None = None,
    chat_history: list[ChatMessage] | None = None,
    node_postprocessors: Sequence[BaseNodePostprocessor] = (),
) -> InterleavedCondensePlusContextChatEngine | InterleavedContextChatEngine:
    """Make a chat engine that answers from texts and pictures, with citations.

    One engine holds one conversation. Earlier documents are not sent again, only earlier messages.

    Args:
        retriever: a ``StandardizedMultiModalRetriever``, or any other.
        llm: a chat model that takes pictures.
        condense: whether each message after the first is first made a question that can be searched for without the
            conversation, which is one more call; otherwise the message is searched for as it is.
        budget: how much may be sent with each message; None for all that is retrieved.
        pictures: how pictures are read, shrunk and encoded, and from where; None reads no files and no URLs.
        instructions: the system message.
        memory: LlamaIndex's memory of the conversation; None for one in lists, as long as the context window allows,
            where LlamaIndex's own engines open a database (``InMemoryChatStore``).
        chat_history: earlier messages; not together with ``memory``, which holds its own.
        node_postprocessors: applied before the budget, such as rerankers.

    Returns:
        The engine: ``chat``, ``stream_chat``, ``achat`` and ``astream_chat``.

    Raises:
        InvalidInputError: if the model is no chat model, or an argument is of another kind than said.
    """
    _check(retriever, llm)
    if memory is not None and chat_history:
        raise InvalidInputError(
            f"memory and {len(chat_history)} messages of chat_history are both given; put the messages into the memory"
        )
    if memory is None:
        memory = chat_memory(llm.metadata.context_window, chat_history or ())
    settings: dict[str, Any] = {
        "multi_modal_llm": llm,
        "memory": memory,
        "system_prompt": instructions,
        "node_postprocessors": [*node_postprocessors, PromptPreparer(budget, pictures)],
    }
    engine: Any
    if condense:
        prompt = PromptTemplate(_CONDENSE)
        engine = InterleavedCondensePlusContextChatEngine.from_defaults(retriever, condense_prompt=prompt, **settings)
    else:
        engine = InterleavedContextChatEngine.from_defaults(retriever, **settings)
    made: InterleavedCondensePlusContextChatEngine | InterleavedContextChatEngine = engine
    return made


def _check(retriever: Any, llm: Any) -> None:
    if not isinstance(retriever, BaseRetriever):
        raise InvalidInputError(f"retriever must be a LlamaIndex retriever, got {retriever!r}")
    if not isinstance(llm, LLM):
        raise InvalidInputError(f"llm must be a LlamaIndex LLM, such as OpenAILike(...), got {llm!r}")
    if not llm.metadata.is_chat_model:
        raise InvalidInputError(
            f"{llm.metadata.model_name!r} is set up as a model that completes text, which cannot be given pictures; "
            f"use a chat model (OpenAILike: is_chat_model=True)"
        )
