"""The wording of an answer with citations, as a LlamaIndex prompt template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.generic_utils import messages_to_prompt as as_one_text
from llama_index.core.base.llms.types import ChatMessage, ContentBlock, MessageRole, TextBlock
from llama_index.core.prompts import BasePromptTemplate

from commonscale.prompting import ANSWER_INSTRUCTIONS
from commonscale.prompting.instructions import CLOSING, OPENING, question_text, with_question

CONTEXT_TEMPLATE = "\n".join([OPENING, "{context_str}", f"{CLOSING}\n", question_text("{query_str}")])
"""The same wording for LlamaIndex's own chat engines, whose templates hold the text of all documents as one string."""


class AnswerTemplate(BasePromptTemplate):
    """Asks a question about numbered documents: instructions as system message, documents and question as the user's.

    For ``chat_content_qa_template`` of LlamaIndex's multimodal engines. Documents never pass through a template
    language, so that nothing written in them can turn into a picture, a message or a role.

    Attributes:
        instructions: the system message.
    """

    instructions: str

    def __init__(self, instructions: str = ANSWER_INSTRUCTIONS, **data: Any) -> None:
        """Set up the template.

        Args:
            instructions: the system message.
            data: fields of LlamaIndex's templates.
        """
        variables = ["context_messages", "query_str"]
        fields = {"metadata": {}, "template_vars": variables, "kwargs": {}, "output_parser": None, **data}
        super().__init__(**fields, instructions=instructions)  # type: ignore[call-arg]  # pydantic takes all fields

    def partial_format(self, **kwargs: Any) -> AnswerTemplate:
        """Give a copy that knows some of the variables already."""
        return self.model_copy(update={"kwargs": {**self.kwargs, **kwargs}})

    def format_messages(self, llm: BaseLLM | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Write the messages.

        Args:
            llm: not used.
            kwargs: ``context_messages``, with the documents as content blocks, and ``query_str``.
        """
        del llm
        values = self._map_all_vars({**self.kwargs, **kwargs})
        blocks = [block for message in values["context_messages"] for block in message.blocks]
        messages = [
            ChatMessage(role=MessageRole.SYSTEM, content=self.instructions),
            ChatMessage(role=MessageRole.USER, blocks=user_blocks(blocks, values["query_str"])),
        ]
        return messages if self.output_parser is None else self.output_parser.format_messages(messages)

    def format(
        self,
        llm: BaseLLM | None = None,
        messages_to_prompt: Callable[[Sequence[ChatMessage]], str] | None = None,
        **kwargs: Any,
    ) -> str:
        """Write the messages as one text, without pictures."""
        kwargs.pop("completion_to_prompt", None)
        return (messages_to_prompt or as_one_text)(self.format_messages(llm, **kwargs))

    def get_template(self, llm: BaseLLM | None = None) -> str:
        """Show what is sent, for logs."""
        del llm
        return "\n".join([self.instructions, "", OPENING, "{context_messages}", CLOSING, "", "{query_str}"])


def user_blocks(documents: Iterable[ContentBlock], question: str) -> list[ContentBlock]:
    """Lay out what a user's message holds.

    Args:
        documents: numbered texts and pictures, in order; none if nothing was found, which the model is then told.
        question: as the user asked it.

    Returns:
        The documents and the question. Neighboring texts come as one block: some clients join texts without a break.
    """
    laid: list[ContentBlock] = []
    for part in with_question(list(documents), question):
        block = TextBlock(text=part) if isinstance(part, str) else part
        if laid and isinstance(block, TextBlock) and isinstance(before := laid[-1], TextBlock):
            laid[-1] = TextBlock(text=f"{before.text}\n{block.text}")
        else:
            laid.append(block)
    return laid
