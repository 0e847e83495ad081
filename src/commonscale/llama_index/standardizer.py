"""A node postprocessor that puts any retriever's scores on the common scale."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import BeforeValidator, Field, PlainSerializer
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from commonscale.core.calibration import Calibration, normal_cdf
from commonscale.core.calibration_file import dumps, loads
from commonscale.core.cosines import score_kind, to_cosine
from commonscale.core.errors import InvalidInputError, UnknownScoreKindError
from commonscale.core.ranking import first_of_each
from commonscale.core.recorded import MODALITY_KEY, QUESTION_KEY, scale_of_marked
from commonscale.core.rescoring import rescored
from commonscale.core.types import IMAGE, TEXT, Floats, Hit, Modality
from commonscale.llama_index.modality import DEFAULT_MODALITY_KEY, modality_of
from commonscale.llama_index.questions import bundle_mark
from commonscale.llama_index.recompute import question_vector, recomputed_cosines
from commonscale.llama_index.results import is_ours, recorded, with_score


def _calibration(value: Any) -> Any:
    if isinstance(value, dict):
        return loads(json.dumps(value).encode(), "calibration")
    return Calibration.load(value) if isinstance(value, (str, os.PathLike)) else value


def _as_dict(calibration: Calibration) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(dumps(calibration))
    return document


class SimilarityStandardizer(BaseNodePostprocessor):
    """Rescores the mixed hits of any retriever and sorts them, best first.

    The cosine of each hit comes from the first of these that applies:

    1. Commonscale's own record of it, if the score is still the one that Commonscale gave, and was given for this
       question (where no question is passed, the score alone tells);
    2. ``embed_model``: the question and the node's embedding (or, where it has none, its content) are compared;
    3. ``score_kind``: the hit's score is converted.

    A score tells neither of what it is nor of which store it came from, so nothing is guessed: a hit without
    score, one out of range, one whose score kind was not named, or one that Commonscale scored for another
    question is an error (``embed_model`` computes its cosine with this one). A calibration that corrects cosines (by
    method ``"chance"`` or by centring) needs the question's vector, so ``embed_model`` and the question. A captioned
    image that ``MultiModalVectorIndexRetriever`` found in both stores carries the score of its caption; only
    ``embed_model`` gives it that of its picture.

    Attributes:
        calibration: the common scale; also as the path of its file.
        score_kind: what incoming scores are (a name of ``commonscale.SCORE_KINDS``), for all or by modality.
        embed_model: recomputes cosines; for hits with images a ``MultiModalEmbedding``. Not part of ``to_dict``.
        image_embed_model: the model of the images, where it is another than ``embed_model``. Not part of ``to_dict``.
        probability: give scores in [0, 1] (see ``Calibration.probability``), as ``SimilarityPostprocessor``
            and its cut-offs expect: with its default cut-off of 0.0 it drops every negative score.
        modality_key: metadata key naming the modality of nodes whose class does not tell.
    """

    calibration: Annotated[Calibration, BeforeValidator(_calibration), PlainSerializer(_as_dict)]
    score_kind: str | dict[str, str] | None = Field(default=None, description="What incoming scores are.")
    embed_model: BaseEmbedding | None = Field(default=None, exclude=True, description="Recomputes cosines.")
    image_embed_model: BaseEmbedding | None = Field(default=None, exclude=True, description="That of images.")
    probability: bool = Field(default=False, description="Give scores in [0, 1].")
    modality_key: str = Field(default=DEFAULT_MODALITY_KEY, description="Metadata key that names the modality.")

    def __init__(self, **data: Any) -> None:
        """Set up the postprocessor.

        Args:
            data: the attributes.

        Raises:
            InvalidInputError: if there is an ``image_embed_model`` and no ``embed_model``.
            UnknownScoreKindError: if a score kind has no known name.
        """
        super().__init__(**data)
        if self.image_embed_model is not None and self.embed_model is None:
            raise InvalidInputError(
                "image_embed_model= needs embed_model=, which texts are compared with; if one model embeds both, pass "
                "it as embed_model="
            )
        kinds = self.score_kind.values() if isinstance(self.score_kind, dict) else [self.score_kind]
        for kind in kinds:
            if kind is not None:
                score_kind(kind)

    @classmethod
    def class_name(cls) -> str:
        """Name the class for serialization."""
        return "SimilarityStandardizer"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        mark = None if query_bundle is None else bundle_mark(query_bundle)
        cosines = self._cosines(nodes, query_bundle, mark)
        scores = self._scores(nodes, cosines, query_bundle, mark)
        hits = [
            Hit(node.node.node_id, modality, cosine, float(score), node)
            for node, (cosine, modality), score in zip(nodes, cosines, scores, strict=True)
        ]
        hits.sort(key=lambda hit: -hit.score)
        return [
            with_score(hit.payload.node, hit, mark or _mark_of(hit.payload))
            for hit in first_of_each(hits, lambda hit: hit.id)
        ]

    def _scores(
        self,
        nodes: Sequence[NodeWithScore],
        cosines: Sequence[tuple[float, Modality]],
        query_bundle: QueryBundle | None,
        mark: str | None,
    ) -> Floats:
        """Put cosines on the scale of their question, those of one modality together."""
        scales = [scale_of_marked(self.calibration, mark or _mark_of(node)) for node in nodes]
        groups = list(zip((modality for _, modality in cosines), map(id, scales), strict=True))
        scores = np.empty(len(nodes))
        for group in dict.fromkeys(groups):
            places = [place for place, other in enumerate(groups) if other == group]
            modality, calibration = group[0], scales[places[0]]
            question = None
            if self.embed_model is not None and calibration.corrects(modality):
                question = question_vector(self._models(self.embed_model), modality, query_bundle)
            ids = [nodes[place].node.node_id for place in places]
            values = np.array([cosines[place][0] for place in places])
            scores[places] = rescored(calibration, modality, values, ids, question)
        return normal_cdf(scores) if self.probability else scores

    def _models(self, embed_model: BaseEmbedding) -> dict[Modality, BaseEmbedding]:
        return {TEXT: embed_model, IMAGE: self.image_embed_model or embed_model}

    def _cosines(
        self, nodes: Sequence[NodeWithScore], query_bundle: QueryBundle | None, mark: str | None
    ) -> list[tuple[float, Modality]]:
        """Give each hit's cosine and modality."""
        known = [recorded(node, mark) for node in nodes]
        unknown = [node for node, pair in zip(nodes, known, strict=True) if pair is None]
        if unknown and self.embed_model is not None:
            models = self._models(self.embed_model)
            modalities = [self._modality(node) for node in unknown]
            cosines = recomputed_cosines([node.node for node in unknown], modalities, models, query_bundle)
            found = iter(list(zip(cosines, modalities, strict=True)))
        else:
            found = iter([self._converted(node) for node in unknown])
        return [pair if pair is not None else next(found) for pair in known]

    def _converted(self, node: NodeWithScore) -> tuple[float, Modality]:
        modality = self._modality(node)
        if is_ours(node):
            raise InvalidInputError(
                f"the score {node.score!r} of the {modality!r} node {node.node.node_id!r} is Commonscale's, but was "
                f"not made for the question passed: retrieve for this one, or pass embed_model= to compute the cosine"
            )
        kind = self.score_kind.get(modality) if isinstance(self.score_kind, dict) else self.score_kind
        if kind is None:
            raise UnknownScoreKindError(
                f"what the score {node.score!r} of the {modality!r} node {node.node.node_id!r} means is not known: "
                f"pass score_kind= (see commonscale.SCORE_KINDS), for all or by modality, or embed_model= to recompute"
            )
        if node.score is None:
            raise InvalidInputError(
                f"the node {node.node.node_id!r} has no score, so it cannot be put on the common scale; use a "
                f"retriever that scores its hits, or pass embed_model= to compute the cosine"
            )
        return float(to_cosine([node.score], kind)[0]), modality

    def _modality(self, node: NodeWithScore) -> Modality:
        return modality_of(node.node, self.modality_key, MODALITY_KEY)


def _mark_of(node: NodeWithScore) -> str | None:
    """Give the mark of the question that a hit was scored for, if its score is still that one."""
    return node.node.metadata.get(QUESTION_KEY) if is_ours(node) else None
