"""The filter that a store is searched with: the caller's, and the modality of a mixed store."""

from __future__ import annotations

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from commonscale.core.types import IMAGE
from commonscale.llama_index.sources import StoreRequest
from commonscale.stores.labels import LabelWatch

TYPE_KEY = "_node_type"
"""The key under which vector stores keep a node's class; as ``modality_key`` it makes the class tell the modality."""


def filters_of(request: StoreRequest) -> MetadataFilters | None:
    """Join the caller's filters with that on the modality of a mixed store.

    Args:
        request: what to search.

    Returns:
        Filters that both hold; None if there are none. The caller's are not changed.
    """
    if not request.mixed:
        return request.filters
    own = MetadataFilter(key=request.modality_key, value=label_of(request))
    given = request.filters
    if given is None:
        return MetadataFilters(filters=[own])
    if given.condition == FilterCondition.AND:
        return MetadataFilters(filters=[*given.filters, own])
    return MetadataFilters(filters=[given, own])


def label_of(request: StoreRequest) -> str:
    """Give what the metadata of a mixed store hold for the searched modality."""
    if request.modality_key == TYPE_KEY:
        return "ImageNode" if request.modality == IMAGE else "TextNode"
    return request.modality


def watch_of(store: object, request: StoreRequest) -> LabelWatch:
    """Watch for a mixed store whose nodes do not carry their modality."""
    return LabelWatch(
        type(store).__name__,
        request.modality_key,
        label_of(request),
        mixed=request.mixed,
        filtered=request.filters is not None,
    )
