"""Retrieving one modality: the part of LlamaIndex's multimodal interface that the joint ranking is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType

from commonscale.core.search import JointSearch
from commonscale.core.threads import off_thread
from commonscale.core.types import IMAGE, TEXT, Modality, Ranking
from commonscale.llama_index.image_questions import image_bundle
from commonscale.llama_index.question_embedder import QuestionEmbedder
from commonscale.llama_index.questions import as_bundle, bundle_mark
from commonscale.llama_index.results import scored_nodes
from commonscale.llama_index.sources import NodeSource

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput


class OneModalityRetriever(MultiModalRetriever):
    """Retrieves texts only or images only, with the scores that they have in the joint ranking.

    A modality without a store gives no nodes, as in LlamaIndex's own retriever. Questions that are images are ranked
    on a scale of their own (``calibrate_images``).
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

    def image_to_image_retrieve(self, str_or_query_bundle: QueryType | ImageInput) -> list[NodeWithScore]:
        """Retrieve images for a question that is an image, with the scores of its joint ranking.

        Args:
            str_or_query_bundle: a picture: a path (a string is one), bytes or a PIL image; or a bundle with one in
                ``image_path``.

        Returns:
            The nearest images, best first. The picture itself comes first if it is in the store.

        Raises:
            NotCalibratedError: if there is no calibration for questions that are images; or set ``raw``.
            InvalidInputError: if the model reads no images, or a bundle has none.
        """
        return self._image_to_image_retrieve(image_bundle(str_or_query_bundle))

    async def aimage_to_image_retrieve(self, str_or_query_bundle: QueryType | ImageInput) -> list[NodeWithScore]:
        """As ``image_to_image_retrieve``, asynchronously."""
        return await self._aimage_to_image_retrieve(await off_thread(image_bundle, str_or_query_bundle))

    def image_to_text_retrieve(self, str_or_query_bundle: QueryType | ImageInput) -> list[NodeWithScore]:
        """Retrieve texts for a question that is an image; otherwise as ``image_to_image_retrieve``."""
        return self._retrieve_one(image_bundle(str_or_query_bundle), TEXT)

    async def aimage_to_text_retrieve(self, str_or_query_bundle: QueryType | ImageInput) -> list[NodeWithScore]:
        """As ``image_to_text_retrieve``, asynchronously."""
        return await self._aretrieve_one(await off_thread(image_bundle, str_or_query_bundle), TEXT)

    def retrieve_image(self, image: QueryType | ImageInput) -> list[NodeWithScore]:
        """Retrieve texts and images, in one ranking, for a question that is an image.

        The same as ``retrieve(QueryBundle("", image_path=...))``, with its events; otherwise as
        ``image_to_image_retrieve``.
        """
        return self.retrieve(image_bundle(image))

    async def aretrieve_image(self, image: QueryType | ImageInput) -> list[NodeWithScore]:
        """As ``retrieve_image``, asynchronously."""
        return await self.aretrieve(await off_thread(image_bundle, image))

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._retrieve_one(query_bundle, IMAGE)

    async def _atext_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._aretrieve_one(query_bundle, IMAGE)

    def _image_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._retrieve_one(image_bundle(query_bundle), IMAGE)

    async def _aimage_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._aretrieve_one(await off_thread(image_bundle, query_bundle), IMAGE)

    def _retrieve_one(self, bundle: QueryBundle, modality: Modality) -> list[NodeWithScore]:
        search = self._single(modality)
        if search is None:
            return []
        question = self._embedder.embed([bundle], modalities=[modality])[0]
        ranking = search.search(question, self.similarity_top_k, raw=self.raw)
        return scored_nodes(ranking, self._sources, bundle_mark(bundle))

    async def _aretrieve_one(self, bundle: QueryBundle, modality: Modality) -> list[NodeWithScore]:
        search = self._single(modality)
        if search is None:
            return []
        question = (await self._embedder.aembed([bundle], modalities=[modality]))[0]
        return await self._anodes(await search.asearch(question, self.similarity_top_k, raw=self.raw), bundle)

    def _single(self, modality: Modality) -> JointSearch | None:
        """Give a search of one modality on the common scale; None if there is no store for it."""
        # Made anew for each question, which costs nothing, so it has the calibration and policy assigned last.
        return self._search.only(modality) if modality in self._sources else None

    async def _anodes(self, ranking: Ranking, bundle: QueryBundle) -> list[NodeWithScore]:
        # A docstore may lie behind a network.
        return await off_thread(scored_nodes, ranking, self._sources, bundle_mark(bundle))
