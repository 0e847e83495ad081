"""What a chain answers: the words, the documents that they rest on, and what was left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.runnables.utils import AddableDict
from typing_extensions import NotRequired, TypedDict

from commonscale.langchain.prompt_items import source_document
from commonscale.prompting.citations import parse_citations
from commonscale.prompting.items import Prompt


class AnswerCitation(TypedDict):
    """A document that an answer cites.

    Attributes:
        number: as written in the answer, and as ``commonscale_number`` in the metadata of the source.
        id: the document's id.
        document: the source.
        spans: start and end of each bracket in the answer that names it.
    """

    number: int
    id: str
    document: Document
    spans: list[tuple[int, int]]


class LeftOutDocument(TypedDict):
    """A retrieved document that the model did not see.

    Attributes:
        id: the document's id.
        reason: a value of ``commonscale.prompting.Reason``, such as ``"tokens"``.
        detail: why, in a sentence.
        document: as it was retrieved.
    """

    id: str
    reason: str
    detail: str
    document: Document


class MultimodalAnswer(TypedDict):
    """What a chain gives.

    Attributes:
        question: as it was asked.
        standalone_question: what was searched for; only of chat chains.
        sources: what the model saw, in ranked order: copies with ``commonscale_number`` and ``commonscale_modality``
            in their metadata, beside what the retriever wrote there (ours: ``commonscale_score`` and
            ``commonscale_cosine``).
        left_out: what was retrieved and not sent, with reasons.
        answer: the model's words.
        citations: the sources that it cites, in the order in which it first does.
        unknown_citations: numbers that it cites although nothing was sent under them.
    """

    question: str
    standalone_question: NotRequired[str]
    sources: list[Document]
    left_out: list[LeftOutDocument]
    answer: str
    citations: list[AnswerCitation]
    unknown_citations: list[int]


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
        self._sources: dict[int, Document] = {}
        self._words: list[str] = []

    def take(self, state: Mapping[str, Any]) -> Iterator[AddableDict]:
        for name in ("question", "standalone_question"):
            if name in state:
                self._asked[name] = state[name]
        if "prompt" in state:
            yield self._found(state["prompt"])
        if state.get("answer"):
            self._words.append(state["answer"])
            yield AddableDict(answer=state["answer"])

    def _found(self, prompt: Prompt) -> AddableDict:
        self._prompt = prompt
        self._sources = {sent.number: source_document(sent) for sent in prompt.sent}
        left_out = [
            LeftOutDocument(id=left.item.id, reason=left.reason.value, detail=left.detail, document=left.item.payload)
            for left in prompt.left_out
        ]
        return AddableDict(self._asked, sources=list(self._sources.values()), left_out=left_out)

    def end(self) -> AddableDict:
        citations = parse_citations("".join(self._words), self._prompt)
        cited = [
            AnswerCitation(
                number=citation.number,
                id=citation.item.id,
                document=self._sources[citation.number],
                spans=list(citation.spans),
            )
            for citation in citations.cited
        ]
        # A model that says nothing still gives an answer, and an empty piece adds nothing to another.
        return AddableDict(answer="", citations=cited, unknown_citations=list(citations.unknown))
