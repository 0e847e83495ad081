"""Pictures that tools gave, moved to where every provider takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.prompt_values import PromptValue

_PICTURE_TYPES = ("image", "image_url", "input_image")
_LABEL = re.compile(r"\[\d+\]")
_BELOW = "(picture {} is shown below the results)"


def pictures_after_tools(messages: Sequence[BaseMessage] | PromptValue) -> list[BaseMessage]:
    """Move the pictures of tool messages into a message of the user behind them.

        model = RunnableLambda(pictures_after_tools) | ChatOpenAI(...).bind_tools(tools)

    Chat completions of OpenAI, and servers in their style, take only text from tools; Google's client sends the
    pictures before the text that numbers them. Anthropic, and OpenAI's Responses API, take tool messages as they are,
    and this costs nothing but the order there.

    Args:
        messages: a conversation; nothing in it is changed.

    Returns:
        The conversation, in which a tool message says in place of each picture that it is shown below, and a message of
        the user after each run of tool messages shows their pictures, each behind its number.
    """
    given = messages.to_messages() if isinstance(messages, PromptValue) else messages
    moved: list[BaseMessage] = []
    shown: list[Any] = []
    for message in given:
        if isinstance(message, ToolMessage):
            message, pictures = _without_pictures(message)
            shown += pictures
        elif shown:
            moved.append(HumanMessage(shown))
            shown = []
        moved.append(message)
    return [*moved, HumanMessage(shown)] if shown else moved


def _without_pictures(message: ToolMessage) -> tuple[ToolMessage, list[Any]]:
    """Split a tool message into what it says and the blocks that show its pictures, each behind its label."""
    if not isinstance(message.content, list):
        return message, []
    kept: list[Any] = []
    shown: list[Any] = []
    count = 0
    for block in message.content:
        if not (isinstance(block, dict) and block.get("type") in _PICTURE_TYPES):
            kept.append(block)
            continue
        count += 1
        label = _label(kept[-1] if kept else "") or str(count)
        kept.append({"type": "text", "text": _BELOW.format(label)})
        shown += [{"type": "text", "text": f"Picture {label} of the results of {_source(message)}:"}, block]
    return (message.model_copy(update={"content": kept}), shown) if shown else (message, [])


def _label(before: Any) -> str:
    """Give the number that the text before a picture begins with, empty if there is none."""
    text = before.get("text", "") if isinstance(before, dict) else before
    found = _LABEL.match(str(text))
    return found.group() if found else ""


def _source(message: ToolMessage) -> str:
    return f"{message.name or 'a tool'} ({message.tool_call_id})"
