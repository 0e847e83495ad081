"""Retrieving one modality: the part of LlamaIndex's multimodal interface that the joint ranking is not."""

from __future__ import annotations

from collections.abc import Mapping

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType

from commonscale.core.errors import InvalidInputError
from commonscale.core.search import JointSearch
from commonscale.core.threads import off_thread
from commonscale.core.types import IMAGE, TEXT, Modality, Ranking
from commonscale.llama_index.questions import IMAGE_QUESTION, QuestionEmbedder, as_bundle, bundle_mark
from commonscale.llama_index.results import scored_nodes
from commonscale.llama_index.sources import NodeSource


class OneModalityRetriever(MultiModalRetriever):
    """Retrieves texts only or images only, with the scores that they have in the joint ranking.

    A modality without a store gives no nodes, as in LlamaIndex's own retriever. Questions that are images are
    refused with an error that says what to do.
    """

    _sources: Mapping[Modality, NodeSource]
    _search: JointSearch
    _embedder: QuestionEmbedder
    similarity_top_k: int
    raw: bool

    def text_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Retrieve texts only, with the scores that they have in the joint ranking."""
        return self._retrieve_one(as_bundle(str_or_query_bundle), TEXT)

    async def atext_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """As ``text_retrieve``, asynchronously."""
        return await self._aretrieve_one(as_bundle(str_or_query_bundle), TEXT)

    def text_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Retrieve images only, with the scores that they have in the joint ranking."""
        return self._text_to_image_retrieve(as_bundle(str_or_query_bundle))

    async def atext_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """As ``text_to_image_retrieve``, asynchronously."""
        return await self._atext_to_image_retrieve(as_bundle(str_or_query_bundle))

    def image_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Refuse: questions that are images are not ranked; the error says what to do."""
        raise _image_question(str_or_query_bundle)

    async def aimage_to_image_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Refuse, as ``image_to_image_retrieve`` does."""
        raise _image_question(str_or_query_bundle)

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._retrieve_one(query_bundle, IMAGE)

    async def _atext_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._aretrieve_one(query_bundle, IMAGE)

    def _image_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        raise _image_question(query_bundle)

    async def _aimage_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        raise _image_question(query_bundle)

    def _retrieve_one(self, bundle: QueryBundle, modality: Modality) -> list[NodeWithScore]:
        search = self._single(modality)
        if search is None:
            return []
        question = self._embedder.embed([bundle])[0]
        ranking = search.search(question, self.similarity_top_k, raw=self.raw)
        return scored_nodes(ranking, self._sources, bundle_mark(bundle))

    async def _aretrieve_one(self, bundle: QueryBundle, modality: Modality) -> list[NodeWithScore]:
        search = self._single(modality)
        if search is None:
            return []
        question = (await self._embedder.aembed([bundle]))[0]
        return await self._anodes(await search.asearch(question, self.similarity_top_k, raw=self.raw), bundle)

    def _single(self, modality: Modality) -> JointSearch | None:
        """Give a search of one modality on the common scale; None if there is no store for it."""
        # Made anew for each question, which costs nothing, so it has the calibration and policy assigned last.
        return self._search.only(modality) if modality in self._sources else None

    async def _anodes(self, ranking: Ranking, bundle: QueryBundle) -> list[NodeWithScore]:
        # A docstore may lie behind a network.
        return await off_thread(scored_nodes, ranking, self._sources, bundle_mark(bundle))


def _image_question(question: QueryType) -> InvalidInputError:
    path = question if isinstance(question, str) else question.image_path
    return InvalidInputError(IMAGE_QUESTION.format(path=path))
