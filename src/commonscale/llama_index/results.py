"""From ranked hits to LlamaIndex's nodes with scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, IndexNode, NodeWithScore

from commonscale.core.recorded import COSINE_KEY, MISSING_KEY, MODALITY_KEY, QUESTION_KEY, SCORE_KEY
from commonscale.core.types import Hit, Modality, Ranking
from commonscale.llama_index.sources import NodeSource

KEYS = (COSINE_KEY, MODALITY_KEY, SCORE_KEY, QUESTION_KEY, MISSING_KEY)
"""Metadata of every node returned: cosine, modality, score (also that of ``NodeWithScore``) and question; the last one
only if a modality is missing from the ranking, since its store failed and was skipped."""


def scored_nodes(ranking: Ranking, sources: Mapping[Modality, NodeSource], mark: str) -> list[NodeWithScore]:
    """Give a ranking's hits as nodes with scores, in their order.

    Args:
        ranking: the ranking.
        sources: where their nodes come from, by modality; each is asked once.
        mark: the mark of the question.

    Returns:
        Copies of the nodes with ``KEYS`` in their metadata, hidden from LLMs and embedding models.

    Raises:
        SourceError: if a node cannot be found.
    """
    nodes = {m: iter(source.nodes(ranking.of(m))) for m, source in sources.items()}
    return [with_score(next(nodes[hit.modality]), hit, mark, ranking.missing) for hit in ranking]


def with_score(
    node: BaseNode, hit: Hit, mark: str | None, missing: Mapping[Modality, str] | None = None
) -> NodeWithScore:
    """Give a copy of a node with a hit's score.

    Args:
        node: the node; it stays as it is.
        hit: its place in the ranking.
        mark: the mark of the question that the cosine belongs to; None if it is not known.
        missing: why modalities are missing from the ranking; None leaves what the node says of it.

    Returns:
        The copy with its score. An ``IndexNode`` never scores exactly 0.0: LlamaIndex reads that as missing and
        gives what it points to a score of 1.0, so the smallest positive float stands in for it.
    """
    score = hit.score
    if score == 0.0 and isinstance(node, IndexNode):
        score = math.ulp(0.0)
    metadata = {**node.metadata, COSINE_KEY: hit.cosine, MODALITY_KEY: hit.modality, SCORE_KEY: score}
    if mark is not None:
        metadata[QUESTION_KEY] = mark
    else:
        metadata.pop(QUESTION_KEY, None)
    if missing:
        metadata[MISSING_KEY] = dict(missing)
    elif missing is not None:
        metadata.pop(MISSING_KEY, None)
    copy = node.model_copy()
    # Past pydantic: assigning would validate every field again, for every hit of every question.
    vars(copy).update(
        metadata=metadata,
        excluded_llm_metadata_keys=_with_keys(node.excluded_llm_metadata_keys),
        excluded_embed_metadata_keys=_with_keys(node.excluded_embed_metadata_keys),
        relationships=dict(node.relationships),
    )
    return NodeWithScore(node=copy, score=score)


def is_ours(node: NodeWithScore) -> bool:
    """Tell whether a hit's score is the one that Commonscale gave it, not replaced since."""
    return node.score is not None and node.node.metadata.get(SCORE_KEY) == node.score


def recorded(node: NodeWithScore, mark: str | None) -> tuple[float, Modality] | None:
    """Give the cosine and modality that a score was made from, if it is Commonscale's and of the question asked.

    Args:
        node: a hit of any retriever.
        mark: the mark of the question; None if there is none to compare, so that only the score counts.

    Returns:
        Cosine and modality; None if the node has none for this question.
    """
    metadata: Mapping[str, Any] = node.node.metadata
    if not is_ours(node) or (mark is not None and metadata.get(QUESTION_KEY) != mark):
        return None
    return float(metadata[COSINE_KEY]), str(metadata[MODALITY_KEY])


def _with_keys(keys: Sequence[str]) -> list[str]:
    return [*keys, *(key for key in KEYS if key not in keys)] if keys else list(KEYS)
