"""The step from what a model gives to what a chain answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from commonscale.core.errors import InvalidInputError


class AnswerParser(StrOutputParser):
    """Gives the words of a message or text, as LangChain's own does, and structured output as it is."""

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Read what a model gave.

        Raises:
            InvalidInputError: if it is neither words nor an object of ``with_structured_output``.
        """
        return input if _is_structured(input) else super().invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """As ``invoke``, asynchronously."""
        return input if _is_structured(input) else await super().ainvoke(input, config, **kwargs)

    def _transform(self, input: Iterator[Any]) -> Iterator[Any]:
        for piece in input:
            if _is_structured(piece):
                yield piece
            else:
                yield from super()._transform(iter([piece]))

    async def _atransform(self, input: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for piece in input:
            if _is_structured(piece):
                yield piece
            else:
                for words in super()._transform(iter([piece])):
                    yield words


def _is_structured(given: Any) -> bool:
    if isinstance(given, (str, BaseMessage)):
        return False
    if isinstance(given, (Mapping, BaseModel)):
        return True
    raise InvalidInputError(
        f"llm must give a message, a text, or what with_structured_output makes of one, got {type(given).__name__}: "
        f"{given!r:.200}; with_structured_output gives None if the model did not keep to the schema: see its method="
    )
