"""What a chat model is asked, as LangChain messages: the numbered documents, the question, what to do with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.messages.content import ContentBlock
from langchain_core.prompts import BasePromptTemplate, ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableLike, coerce_to_runnable

from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.encoders.image_sources import form_of
from commonscale.langchain.image_questions import ImageQuestion, words_of
from commonscale.langchain.pictures import prepared_block
from commonscale.prompting.instructions import CLOSING, NO_DOCUMENTS, OPENING, user_parts
from commonscale.prompting.items import PreparedPicture, Prompt, TextPart
from commonscale.prompting.pictures import Pictures

_ABOUT_A_PICTURE = "what do the documents tell about the picture below?"
_PICTURE_BELOW = "The picture that the question is about:"
_SHOWN = {"request", "documents"}


def prompt_blocks(prompt: Prompt) -> list[ContentBlock]:
    """Turn a prompt into LangChain's standard content blocks.

    Args:
        prompt: what ``PromptBuilder.build`` chose.

    Returns:
        The numbered documents in ranked order, a text block before each picture, between a block that opens them and
        one that closes them; or one block that says that there are none.
    """
    if not prompt.sent:
        return _blocks([NO_DOCUMENTS])
    documents = [part.text if isinstance(part, TextPart) else part.picture for part in prompt.parts]
    return _blocks([OPENING, *documents, CLOSING])


def answer_prompt(instructions: str | None, default: str, prompt: RunnableLike[Any, Any] | None) -> Runnable[Any, Any]:
    """Make the step that writes the messages.

    Args:
        instructions: the system message; None for the default, empty for none.
        default: the default instructions.
        prompt: what the user wants in its place.

    Raises:
        InvalidInputError: if there are both instructions and a prompt, or the prompt shows no documents.
    """
    if prompt is None:
        system = default if instructions is None else instructions
        messages = [SystemMessage(system)] if system else []
        return ChatPromptTemplate(
            [*messages, MessagesPlaceholder("chat_history", optional=True), MessagesPlaceholder("request")]
        )
    if instructions is not None:
        raise InvalidInputError(
            "instructions and prompt are both given; instructions are the system message of the usual prompt: write "
            "them into your own prompt, or leave that out"
        )
    if isinstance(prompt, BasePromptTemplate):
        variables = {*prompt.input_variables, *prompt.optional_variables}
        if not variables & _SHOWN:
            raise InvalidInputError(
                f"the prompt has the variables {sorted(variables)} and shows no documents; put "
                f"MessagesPlaceholder('request') (documents and question) or MessagesPlaceholder('documents') into it"
            )
    return coerce_to_runnable(prompt)


def prompt_variables(state: Mapping[str, Any], pictures: Pictures) -> dict[str, Any]:
    """Give what a prompt can show: the input, and the messages ``documents`` and ``request``.

    Args:
        state: the question, in words or an ``ImageQuestion``; what is sent under ``"prompt"``; anything else.
        pictures: shrinks the picture of the question, which stands last in the request.

    Raises:
        ImageError: if the question's picture cannot be read.
    """
    prompt: Prompt = state["prompt"]
    question: str = state["question"]
    asked = words_of(question) or _ABOUT_A_PICTURE
    request = _blocks(user_parts(prompt, asked))
    # The same blocks, so that pictures are not encoded twice.
    documents = [*request[:-1], *_blocks([CLOSING])] if prompt.sent else _blocks([NO_DOCUMENTS])
    if isinstance(question, ImageQuestion):
        request += _blocks([_PICTURE_BELOW, _picture_of(question, pictures)])
    messages = {"documents": [_human(documents)], "request": [_human(request)]}
    return {"chat_history": [], **state, "question": asked, **messages}


def _human(blocks: Sequence[ContentBlock]) -> HumanMessage:
    return HumanMessage(content_blocks=list(blocks))


def _blocks(parts: Iterable[str | PreparedPicture]) -> list[ContentBlock]:
    blocks = [{"type": "text", "text": part} if isinstance(part, str) else prepared_block(part) for part in parts]
    return cast("list[ContentBlock]", blocks)


def _picture_of(question: ImageQuestion, pictures: Pictures) -> PreparedPicture:
    held = question.picture
    if form_of(held) != "path":
        return pictures.prepare(held)
    # The asker named this file, no document's metadata did: it may lie outside the folders of documents.
    try:
        return pictures.prepare(Path(held).read_bytes())
    except (OSError, ValueError) as error:
        raise ImageError(f"the picture of the question, {held!r}, cannot be read: {error}") from error
