"""Query clauses of Elasticsearch and OpenSearch, and what their scores mean where no common name says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import Floats


def exact(field: str, value: Any) -> dict[str, Any]:
    """Make the clause that a metadata field has a value.

    A string that was mapped dynamically is text, cut into words, with the whole beside it under ``keyword``; one that
    was declared may be a keyword itself. The plain field counts only in documents without that subfield, since a word
    of a text is not its value.

    Args:
        field: the field, such as ``metadata.modality``.
        value: a string, number or truth value.
    """
    plain = {"term": {field: {"value": value}}}
    if not isinstance(value, str):
        return plain
    whole = f"{field}.keyword"
    alone = {"bool": {"filter": [plain], "must_not": [{"exists": {"field": whole}}]}}
    return {"bool": {"should": [{"term": {whole: {"value": value}}}, alone], "minimum_should_match": 1}}


def clauses(given: Any, name: str) -> list[Any]:
    """Read a filter in the server's own form: a clause or a list of them.

    Raises:
        InvalidInputError: if it is neither.
    """
    if given is None or given in ({}, []):
        return []
    found = list(given) if isinstance(given, (list, tuple)) else [given]
    if not all(isinstance(clause, Mapping) for clause in found):
        raise InvalidInputError(
            f"a filter of {name} must be a query clause such as {{'term': {{'metadata.year': 2024}}}}, or a list of "
            f"them, got {given!r}"
        )
    return found


def plus_one(scores: Floats) -> Floats:
    """Convert 1 + cosine, which scripts return since scores must not be negative."""
    return scores - 1.0


def maximum_inner_product(scores: Floats) -> Floats:
    """Convert the score of a maximum inner product: 1 + ip, or 1 / (1 - ip) where that is negative."""
    with np.errstate(divide="ignore"):
        return np.where(scores >= 1.0, scores - 1.0, 1.0 - 1.0 / scores)
