"""The check that a LangChain store can be added to, and gives cosines back."""

from __future__ import annotations

from typing import Any

from commonscale.core.cosines import Converter
from commonscale.core.errors import InvalidInputError, SourceUnavailableError
from commonscale.core.passing import is_passing
from commonscale.core.types import Modality
from commonscale.langchain.ingest_batch import Way
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View


def check_store(store: Any, way: Way, modality: Modality, score_kind: str | Converter | None) -> int | None:
    """Check a store before anything is written.

    Args:
        store: the store.
        way: how it takes vectors.
        modality: what is to be put in.
        score_kind: what its scores mean, if it is not known.

    Returns:
        The length of its vectors; None while it has none, or does not say.

    Raises:
        InvalidInputError: if it is no store, cannot be added to, or its settings do not let ids be kept.
        UnknownScoreKindError: if no cosine can be made of its numbers.
        SourceUnavailableError: if it cannot be asked.
    """
    name = type(store).__name__
    source: Any = source_of(store, View(modality, score_kind=score_kind))
    if not (hasattr(store, "add_texts") or hasattr(store, "add")):
        raise InvalidInputError(f"{name} cannot be added to; give a vector store or a commonscale.index.FaissIndex")
    way.refuse(store)
    try:
        if score_kind is None and hasattr(source, "table"):
            _ = source.table.score_kind
        dimension = getattr(source, "dimension", None)
    except Exception as error:
        if not is_passing(error):
            raise
        raise SourceUnavailableError(f"the {name} cannot be asked, so nothing was put in: {error}") from error
    if dimension is None:
        dimension = getattr(store, "dimension", None)
    return dimension
