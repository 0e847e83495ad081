"""Cosines of question and nodes from their embeddings, where a retriever's scores do not tell."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import BaseNode, ImageNode, ImageType, MetadataMode, Node, QueryBundle

from commonscale.core.cosines import cosines_with
from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE, Modality, Question, Vector
from commonscale.llama_index.question_embedder import QuestionEmbedder


def recomputed_cosines(
    nodes: Sequence[BaseNode],
    modalities: Sequence[Modality],
    models: Mapping[Modality, BaseEmbedding],
    query_bundle: QueryBundle | None,
) -> list[float]:
    """Compute the cosine of the question with each node.

    Args:
        nodes: the nodes; their own embedding is used where they have one, else their content is embedded.
        modalities: the modality of each.
        models: one embedding model per modality.
        query_bundle: the question.

    Returns:
        One cosine per node.

    Raises:
        InvalidInputError: if there is no question, no model for a modality, or a picture cannot be embedded.
    """
    question = _embedded(models, set(modalities), query_bundle)
    cosines = np.empty(len(nodes))
    for modality in dict.fromkeys(modalities):
        if modality not in models:
            raise InvalidInputError(f"there is no embedding model for modality {modality!r}, only for {sorted(models)}")
        places = [i for i, m in enumerate(modalities) if m == modality]
        vectors = _vectors([nodes[i] for i in places], modality, models[modality])
        cosines[places] = cosines_with(question.vector_for(modality), vectors)
    return [float(cosine) for cosine in cosines]


def question_vector(
    models: Mapping[Modality, BaseEmbedding], modality: Modality, query_bundle: QueryBundle | None
) -> Vector:
    """Embed the question for one modality: a unit vector (d,).

    Raises:
        InvalidInputError: if there is no question.
    """
    return _embedded(models, {modality}, query_bundle).vector_for(modality)


def _embedded(
    models: Mapping[Modality, BaseEmbedding], modalities: set[Modality], query_bundle: QueryBundle | None
) -> Question:
    if query_bundle is None:
        raise InvalidInputError("cosines cannot be recomputed without the question; pass query_bundle= or query_str=")
    return QuestionEmbedder(models).embed([query_bundle], modalities=modalities)[0]


def picture_of(node: BaseNode) -> ImageType:
    """Give a node's picture as an embedding model takes it: a path or bytes.

    Raises:
        InvalidInputError: if the node has no picture, or only the URL of one (nothing is downloaded).
    """
    if isinstance(node, ImageNode) and (node.image is not None or node.image_path is not None):
        return node.resolve_image()
    if isinstance(node, Node) and node.image_resource is not None:
        resource = node.image_resource
        if resource.data is not None:
            return BytesIO(base64.b64decode(resource.data))
        if resource.path is not None:
            return str(resource.path)
    raise InvalidInputError(
        f"the node {node.node_id!r} has neither an embedding nor a picture at hand (a path or base64; URLs are not "
        f"downloaded), so its cosine cannot be computed; set node.embedding"
    )


def _vectors(nodes: Sequence[BaseNode], modality: Modality, model: BaseEmbedding) -> list[list[float]]:
    missing = [node for node in nodes if node.embedding is None]
    embedded: list[list[float]] = []
    if missing and modality == IMAGE:
        if not isinstance(model, MultiModalEmbedding):
            raise InvalidInputError(
                f"{type(model).__name__} cannot embed images; pass a MultiModalEmbedding as image_embed_model="
            )
        embedded = model.get_image_embedding_batch([picture_of(node) for node in missing])
    elif missing:
        embedded = model.get_text_embedding_batch([node.get_content(MetadataMode.EMBED) for node in missing])
    rest = iter(embedded)
    return [node.embedding if node.embedding is not None else next(rest) for node in nodes]
