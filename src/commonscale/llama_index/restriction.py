"""The filter that a store is searched with: the caller's, and the modality of a mixed store."""

from __future__ import annotations

from collections.abc import Callable

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from commonscale.core.types import IMAGE
from commonscale.llama_index.modality import IMAGE_CLASSES
from commonscale.llama_index.sources import StoreRequest
from commonscale.stores.labels import LabelWatch

TYPE_KEY = "_node_type"
"""The key under which vector stores keep a node's class; as ``modality_key`` it makes the class tell the modality."""


def filters_of(request: StoreRequest, key: Callable[[str], str] = str) -> MetadataFilters | None:
    """Join the caller's filters with that on the modality of a mixed store.

    Args:
        request: what to search.
        key: writes the modality's key as the store needs it; the caller's keys are left as they are.

    Returns:
        Filters that both hold; None if there are none. The caller's are not changed.
    """
    if not request.mixed:
        return request.filters
    own = _modality(request, key(request.modality_key))
    given = request.filters
    if given is None:
        return own
    both = [one.filters if one.condition == FilterCondition.AND else [one] for one in (given, own)]
    return MetadataFilters(filters=[*both[0], *both[1]])


def _modality(request: StoreRequest, key: str) -> MetadataFilters:
    if request.modality_key != TYPE_KEY:
        return MetadataFilters(filters=[MetadataFilter(key=key, value=request.modality)])
    # Every other class is text. Not by IN and NIN: some stores lack them, and OpenSearch's adapter looks for NIN's
    # values as they are among words in lower case.
    image = request.modality == IMAGE
    operator = FilterOperator.EQ if image else FilterOperator.NE
    classes = [MetadataFilter(key=key, value=name, operator=operator) for name in sorted(IMAGE_CLASSES)]
    return MetadataFilters(filters=[*classes], condition=FilterCondition.OR if image else FilterCondition.AND)


def watch_of(store: object, request: StoreRequest) -> LabelWatch:
    """Watch for a mixed store whose nodes do not carry their modality."""
    image, classes = request.modality == IMAGE, " or ".join(sorted(IMAGE_CLASSES))
    by_class = f"of {'the' if image else 'another'} class {'' if image else 'than '}{classes} ({TYPE_KEY!r})"
    return LabelWatch(
        type(store).__name__,
        request.modality_key,
        request.modality,
        mixed=request.mixed,
        filtered=request.filters is not None,
        by_class=by_class if request.modality_key == TYPE_KEY else None,
    )
