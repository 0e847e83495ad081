"""The warning that more is sent to a language model than it says it can read."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW, DEFAULT_NUM_OUTPUTS
from llama_index.core.llms import LLM, ChatMessage

from commonscale.core.errors import ContextWindowWarning
from commonscale.core.warn import warn
from commonscale.prompting import CHAT_INSTRUCTIONS, Prompt, count_text

LLAMA_INDEX_PICTURE = 2125
"""What LlamaIndex counts for any picture when it packs documents into calls."""

_IN_ONE_CALL = "All of it is sent in one call nevertheless, which the model's server may refuse or cut."
_IN_MORE_CALLS = (
    "LlamaIndex, which counts 2125 tokens for each picture, then asks once for every part that fits "
    "(response modes compact, refine and tree_summarize) or cuts off the end (simple_summarize)."
)

_SHORTER_MEMORY = (
    ", or less of the conversation: memory=Memory.from_defaults(chat_store=InMemoryChatStore(), token_limit=...)"
)


def warn_if_too_long(prompt: Prompt, llm: LLM, *, split: bool, history: Sequence[ChatMessage] = ()) -> None:
    """Warn if documents, conversation, instructions and answer do not fit into the context window that a model reports.

    Args:
        prompt: the documents.
        llm: the model that is to read them.
        split: whether the engine packs them into calls by LlamaIndex's count of tokens; otherwise they go out in one
            call, and the count of the budget holds.
        history: earlier messages that are sent too; their words count, and the provider may add some for each.
    """
    window = llm.metadata.context_window
    answer = llm.metadata.num_output
    room = (answer if answer and answer > 0 else DEFAULT_NUM_OUTPUTS) + count_text(CHAT_INSTRUCTIONS)
    pictures = sum(sent.picture is not None for sent in prompt.sent)
    tokens = prompt.tokens
    if split:
        texts = sum(count_text(f"{sent.label} {sent.text}") for sent in prompt.sent)
        tokens = max(tokens, texts + LLAMA_INDEX_PICTURE * pictures)
    earlier = sum(count_text(message.content or "") for message in history)
    if tokens + earlier + room <= window:
        return
    beside = f", {len(history)} earlier messages {earlier}" if history else ""
    warn(
        f"{len(prompt.sent)} documents with {pictures} pictures cost about {tokens} tokens{beside}, instructions and "
        f"answer {room} more, but the context window of {llm.metadata.model_name!r} is {window} as far as its client "
        f"knows. {_IN_MORE_CALLS if split else _IN_ONE_CALL} Give the LLM its true context_window (OpenAI-like clients "
        f"assume {DEFAULT_CONTEXT_WINDOW} where none is given), or send less: "
        f"Budget(tokens={max(1, window - room - earlier)}, ...){_SHORTER_MEMORY if history else ''}",
        ContextWindowWarning,
    )
