"""From ranked hits to LlamaIndex's nodes with scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore

from commonscale.core.types import Hit, Modality
from commonscale.llama_index.sources import NodeSource

COSINE_KEY = "commonscale_cosine"
MODALITY_KEY = "commonscale_modality"
SCORE_KEY = "commonscale_score"
KEYS = (COSINE_KEY, MODALITY_KEY, SCORE_KEY)
"""Metadata of every node returned: raw cosine, modality, and the score (also that of ``NodeWithScore``)."""


def scored_nodes(hits: Sequence[Hit], sources: Mapping[Modality, NodeSource]) -> list[NodeWithScore]:
    """Give hits as nodes with scores, in their order.

    Args:
        hits: ranked hits.
        sources: where their nodes come from, by modality; each is asked once.

    Returns:
        Copies of the nodes with the three metadata keys, hidden from LLMs and embedding models.

    Raises:
        SourceError: if a node cannot be found.
    """
    nodes = {m: iter(source.nodes([hit for hit in hits if hit.modality == m])) for m, source in sources.items()}
    return [with_score(next(nodes[hit.modality]), hit) for hit in hits]


def with_score(node: BaseNode, hit: Hit) -> NodeWithScore:
    """Give a copy of a node with a hit's score.

    Args:
        node: the node; it stays as it is.
        hit: its place in the ranking.

    Returns:
        The copy with its score. An ``IndexNode`` never scores exactly 0.0: LlamaIndex reads that as missing and
        gives what it points to a score of 1.0, so the smallest positive float stands in for it.
    """
    score = hit.score
    if score == 0.0 and isinstance(node, IndexNode):
        score = math.ulp(0.0)
    copy = node.model_copy()
    # Past pydantic: assigning would validate every field again, for every hit of every question.
    vars(copy).update(
        metadata={**node.metadata, COSINE_KEY: hit.cosine, MODALITY_KEY: hit.modality, SCORE_KEY: hit.score},
        excluded_llm_metadata_keys=_with_keys(node.excluded_llm_metadata_keys),
        excluded_embed_metadata_keys=_with_keys(node.excluded_embed_metadata_keys),
        relationships=dict(node.relationships),
    )
    return NodeWithScore(node=copy, score=score)


def recorded(node: NodeWithScore) -> tuple[float, Modality] | None:
    """Give the cosine and modality that a score was made from, if it is one of Commonscale's and still in force.

    Args:
        node: a hit of any retriever.

    Returns:
        Cosine and modality; None if the node carries none, or its score has been replaced since.
    """
    metadata: Mapping[str, Any] = node.node.metadata
    if node.score is None or metadata.get(SCORE_KEY) != node.score:
        return None
    return float(metadata[COSINE_KEY]), str(metadata[MODALITY_KEY])


def _with_keys(keys: Sequence[str]) -> list[str]:
    return [*keys, *(key for key in KEYS if key not in keys)] if keys else list(KEYS)
