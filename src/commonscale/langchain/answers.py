"""What a chain answers: the words, the documents that they rest on, and what was left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Annotated, Any, TypeAlias

from langchain_core.documents import Document
from langchain_core.runnables.utils import AddableDict
from pydantic import GetCoreSchemaHandler, GetPydanticSchema, WithJsonSchema
from pydantic_core import CoreSchema
from typing_extensions import NotRequired, TypedDict

from commonscale.langchain.prompt_items import source_document
from commonscale.prompting.citations import Citation, Citations, Mark, parse_citations
from commonscale.prompting.items import LeftOut, Prompt, PromptItem, Reason

ANSWER_TYPES: tuple[type, ...] = (Citation, Citations, LeftOut, Mark, PromptItem, Reason)
"""The classes of Commonscale in an answer, for what reads no others, such as LangGraph's serializer of checkpoints."""


def _told(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    # Their documents and pictures may be anything, which no schema describes.
    return handler.generate_schema(Any)


CitationsField: TypeAlias = Annotated[
    Citations, GetPydanticSchema(_told), WithJsonSchema({"type": "object", "title": "Citations"})
]
LeftOutField: TypeAlias = Annotated[
    LeftOut, GetPydanticSchema(_told), WithJsonSchema({"type": "object", "title": "LeftOut"})
]


class MultimodalAnswer(TypedDict):
    """What a chain gives.

    Attributes:
        question: as it was asked.
        standalone_question: what was searched for; only of chat chains.
        sources: what the model saw, in ranked order: copies with ``commonscale_number`` and ``commonscale_modality``
            in their metadata, beside what the retriever wrote there (ours: ``commonscale_score`` and
            ``commonscale_cosine``).
        left_out: what was retrieved and not sent, with reasons; ``item.payload`` is the document.
        answer: the model's words; of ``with_structured_output`` its object, which no type checker is told.
        citations: ``ids`` of the sources that it cites, where it does (``cited``), and numbers that it cites although
            nothing was sent under them (``unknown``).
    """

    question: str
    standalone_question: NotRequired[str]
    sources: list[Document]
    left_out: list[LeftOutField]
    answer: str
    citations: CitationsField


def collected(states: Iterator[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Turn the growing state of a chain into what it gives: the sources first, then words, last the citations."""
    answer = _Answer()
    for state in states:
        yield from answer.take(state)
    yield answer.end()


async def acollected(states: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """As ``collected``, asynchronously."""
    answer = _Answer()
    async for state in states:
        for chunk in answer.take(state):
            yield chunk
    yield answer.end()


class _Answer:
    """One answer while it arrives."""

    def __init__(self) -> None:
        self._asked: dict[str, str] = {}
        self._prompt = Prompt(())
        self._words: list[str] = []
        self._object: Any = None

    def take(self, state: Mapping[str, Any]) -> Iterator[AddableDict]:
        for name in ("question", "standalone_question"):
            if name in state:
                self._asked[name] = state[name]
        if "prompt" in state:
            yield self._found(state["prompt"])
        piece = state.get("answer", "")
        if not isinstance(piece, str):
            self._object = _grown(self._object, piece)
        elif piece:
            self._words.append(piece)
            yield AddableDict(answer=piece)

    def _found(self, prompt: Prompt) -> AddableDict:
        self._prompt = prompt
        sources = [source_document(sent) for sent in prompt.sent]
        return AddableDict(self._asked, sources=sources, left_out=list(prompt.left_out))

    def end(self) -> AddableDict:
        if self._object is not None:
            # Once, when it is whole: objects cannot be added up.
            return AddableDict(answer=self._object, citations=Citations())
        # A model that says nothing still gives an answer, and an empty piece adds nothing to another.
        return AddableDict(answer="", citations=parse_citations("".join(self._words), self._prompt))


def _grown(before: Any, piece: Any) -> Any:
    """Give an object as far as it has come: parts of a result with its raw message add up, others come anew."""
    try:
        return piece if before is None else before + piece
    except TypeError:
        return piece
