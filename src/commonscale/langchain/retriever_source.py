"""Any LangChain retriever with scores as the source of one modality: BM25 for texts beside vectors for images."""

from __future__ import annotations

from typing import Any, TypeAlias

from langchain_core.retrievers import BaseRetriever

from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError
from commonscale.core.treatments import BM25_TREATMENT, Meaning, Treatment
from commonscale.core.types import TEXT
from commonscale.langchain.retriever_asker import Deeper, RetrieverAsker, Score, bm25_asker, is_bm25
from commonscale.langchain.view import View
from commonscale.stores.retrieved import Asker, RetrievedSource


class RetrieverSource(RetrievedSource):
    """A retriever with scores, to be passed in the place of a store, for one modality.

        StandardizedMultiModalRetriever(text_store=BM25Retriever.from_documents(documents), image_store=images)

    does the same as passing ``RetrieverSource(BM25Retriever...)``; the class is needed for its settings, and for
    retrievers whose documents carry their score in metadata. The modality gets its own statistics, as every other.
    Scores of a retriever for which no ``score_kind`` is named stand in place of cosines, treated so that questions can
    be compared (see ``commonscale.core.treatments``): ``commonscale_cosine`` is then such a score.

    A ``BM25Retriever`` gives documents without scores: they are taken from its index, so that any number of hits can
    be had; a document that shares no word with the question is no hit. Every other retriever is asked by ``invoke`` and
    its relatives, through a copy that gives as many documents as are wanted.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        *,
        score: Score | None = None,
        treatment: str | Treatment | None = None,
        score_kind: str | Converter | None = None,
        deeper: Deeper | None = None,
        remote: bool = False,
    ) -> None:
        """Set up the source; nothing is retrieved yet, and the retriever is never changed.

        Args:
            retriever: the retriever.
            score: where the score of a document is: a metadata key, or a function of the document.
            treatment: how scores are made comparable: a name of ``commonscale.core.treatments.TREATMENTS``, or a
                function of the scores and the number of the question's words. By default BM25 has
                ``"log_per_root_word"``, and other scores stay as they are (``"raw"``).
            score_kind: what the scores are, if they are functions of cosines (see ``commonscale.SCORE_KINDS``).
            deeper: gives a retriever that finds ``k`` documents, from (retriever, k), where that number cannot be set.
            remote: whether it asks another process: it is then tried again after passing failures.

        Raises:
            InvalidInputError: if it is no retriever, its documents have no scores, or no ``k`` can be set.
            UnknownScoreKindError: if no score kind has that name.
        """
        if not isinstance(retriever, BaseRetriever):
            raise InvalidInputError(f"a LangChain retriever is needed, got {retriever!r}"[:300])
        self._settings: dict[str, Any] = {
            "score": score,
            "treatment": treatment,
            "score_kind": score_kind,
            "deeper": deeper,
            "remote": remote,
        }
        self._set_up(retriever, View(TEXT))

    def viewed(self, view: View) -> RetrieverSource:
        """Give the same source for the view's modality, with ids as the view names them.

        Where the view's ``id_key`` names them, several documents may share one: all of them are given.
        """
        viewed = RetrieverSource.__new__(type(self))
        viewed._settings = self._settings
        viewed._set_up(self.retriever, view)
        return viewed

    def _set_up(self, retriever: BaseRetriever, view: View) -> None:
        self.retriever = retriever
        score, treatment, kind, deeper, remote = self._settings.values()
        asker: Asker
        if is_bm25(retriever) and score is None and deeper is None:
            if kind is not None:
                raise InvalidInputError(
                    f"BM25 scores are no cosines, so score_kind={kind!r} cannot hold for {type(retriever).__name__}; "
                    f"name it for the other modality alone: score_kind={{'image': ...}}"
                )
            asker = bm25_asker(retriever, lambda document: view.id_of(document, None))
            treatment = BM25_TREATMENT if treatment is None else treatment
        else:
            where = _needed_score(retriever, score)
            asker = RetrieverAsker(retriever, where, deeper, lambda document: view.id_of(document, None))
        meaning = Meaning(asker.engine, kind, treatment, distinct=view.id_key is None)
        super().__init__(retriever, asker, meaning, remote=remote)


Given: TypeAlias = "BaseRetriever | RetrieverSource"


def open_retriever(given: Given, view: View) -> RetrieverSource:
    """Take a retriever as the source of one modality.

    Args:
        given: the retriever, or one with settings.
        view: the modality, and how documents are named.

    Raises:
        InvalidInputError: if it stands for a mixed store, or its documents have no scores; see ``RetrieverSource``.
    """
    name = given.store_name if isinstance(given, RetrieverSource) else type(given).__name__
    if view.modality_key is not None or view.modality_filter is not None:
        raise InvalidInputError(
            f"a {name} is a retriever, which cannot be searched for one modality at a time; pass one retriever or "
            f"store for each: text_store=..., image_store=..."
        )
    source = given if isinstance(given, RetrieverSource) else RetrieverSource(given, score_kind=view.score_kind)
    return source.viewed(view)


def _needed_score(retriever: BaseRetriever, score: Score | None) -> Score:
    if score is not None:
        return score
    name = type(retriever).__name__
    if hasattr(retriever, "retrievers"):
        raise InvalidInputError(
            f"a {name} joins the ranks of its retrievers, so its documents have no scores that tell a good question "
            f"from a hopeless one; pass one of its retrievers, or the store of one"
        )
    raise InvalidInputError(
        f"a vector store is needed, got a {name}, whose documents come without scores (if their metadata hold some, "
        f"say where: RetrieverSource(retriever, score=...)): this is a retriever; pass its vector store"
        + (" (retriever.vectorstore)" if hasattr(retriever, "vectorstore") else "")
    )
