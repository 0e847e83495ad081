"""Any LangChain retriever, asked as its callers do, and BM25Retriever, asked through its index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig

from commonscale.core.concurrency import ASKED_AT_ONCE
from commonscale.core.errors import InvalidInputError, SourceError
from commonscale.core.threads import off_thread
from commonscale.core.treatments import Scored
from commonscale.stores.bm25 import RankBm25Index
from commonscale.stores.retrieved import WordAsker

Score: TypeAlias = str | Callable[[Document], float]
Deeper: TypeAlias = Callable[[BaseRetriever, int], BaseRetriever]
Name: TypeAlias = Callable[[Document], str]

_NUMBERS_OF_HITS = ("k", "top_k", "similarity_top_k")
_CONFIG = RunnableConfig(max_concurrency=ASKED_AT_ONCE)


class RetrieverAsker:
    """Asks a retriever through a copy of it that gives as many documents as are wanted."""

    concurrent = False

    def __init__(self, retriever: BaseRetriever, score: Score, deeper: Deeper | None, name: Name) -> None:
        """Wrap a retriever.

        Args:
            retriever: the retriever.
            score: where the score is: a metadata key, or a function of the document.
            deeper: gives a retriever for k documents; None if ``k``, ``top_k``, ``similarity_top_k`` or
                ``search_kwargs`` can be set.
            name: gives a document's id.

        Raises:
            InvalidInputError: if the number of documents cannot be set.
        """
        self._retriever = retriever
        self._score = score
        self._deeper = deepened if deeper is None else deeper
        self._name = name
        self._deeper(retriever, 1)

    @property
    def engine(self) -> str:
        """The retriever's class."""
        return type(self._retriever).__name__

    def ask(self, texts: Sequence[str], k: int) -> list[Scored]:
        """Retrieve for each question: one in the caller's thread, many by ``batch``, a few at a time."""
        retriever = self._deeper(self._retriever, k)
        if len(texts) == 1:
            return [self._scored(retriever.invoke(texts[0]))]
        return [self._scored(found) for found in retriever.batch(list(texts), _CONFIG)]

    async def aask(self, texts: Sequence[str], k: int) -> list[Scored]:
        """As ``ask``; retrievers that are not asynchronous are asked in a thread."""
        retriever = self._deeper(self._retriever, k)
        if not _is_asynchronous(retriever):
            # LangChain would take a thread of the event loop's pool, for which the loop waits at its end.
            return await off_thread(self.ask, texts, k)
        if len(texts) == 1:
            return [self._scored(await retriever.ainvoke(texts[0]))]
        return [self._scored(found) for found in await retriever.abatch(list(texts), _CONFIG)]

    def _scored(self, found: Sequence[Document]) -> Scored:
        return Scored([self._name(document) for document in found], [self._number(d) for d in found], found)

    def _number(self, document: Document) -> float:
        number: Any = self._score(document) if callable(self._score) else document.metadata.get(self._score)
        if number is None:
            raise SourceError(
                f"{type(self._retriever).__name__} gave the document {document.id!r} "
                f"({document.page_content[:60]!r}) without metadata[{self._score!r}], so it has no place in the "
                f"ranking; say where scores are with RetrieverSource(retriever, score=...)"
            )
        return float(number)


def _is_asynchronous(retriever: BaseRetriever) -> bool:
    inherited = "_aget_relevant_documents", "ainvoke"
    return any(getattr(type(retriever), name) is not getattr(BaseRetriever, name) for name in inherited)


def deepened(retriever: BaseRetriever, k: int) -> BaseRetriever:
    """Copy a retriever so that it gives ``k`` documents.

    Raises:
        InvalidInputError: if nothing of it is known to say how many it gives.
    """
    for name in _NUMBERS_OF_HITS:
        if name in type(retriever).model_fields:
            return retriever.model_copy(update={name: k})
    arguments = getattr(retriever, "search_kwargs", None)
    if isinstance(arguments, dict):
        return retriever.model_copy(update={"search_kwargs": {**arguments, "k": k}})
    raise InvalidInputError(
        f"{type(retriever).__name__} has none of {', '.join(_NUMBERS_OF_HITS)}, so it cannot be asked for as many "
        f"documents as are needed: pass RetrieverSource(retriever, deeper=...) with a function (retriever, k) that "
        f"gives a retriever for k documents; or lambda retriever, k: retriever, if it always gives all of them"
    )


def is_bm25(retriever: Any) -> bool:
    """Tell whether a retriever is LangChain's BM25Retriever over rank-bm25, or a subclass that retrieves as it does."""
    for cls in type(retriever).__mro__:
        if cls.__name__ == "BM25Retriever" and cls.__module__.startswith("langchain_"):
            own = type(retriever)._get_relevant_documents is cls._get_relevant_documents  # type: ignore[attr-defined]
            return own and all(hasattr(retriever.vectorizer, name) for name in ("doc_freqs", "get_batch_scores"))
    return False


def bm25_asker(retriever: Any, name: Name) -> WordAsker:
    """Make what asks its index; questions are split into words by the retriever's function."""

    def read(row: int) -> tuple[str, Document]:
        document: Document = retriever.docs[row]
        return name(document), document

    split = retriever.preprocess_func
    # Its own function only splits a string; nothing is known of the threads that another may be called from.
    harmless = getattr(split, "__module__", "").startswith("langchain_")
    return WordAsker(RankBm25Index(retriever.vectorizer, split), read, concurrent=harmless)
