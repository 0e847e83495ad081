"""LlamaIndex's ChromaVectorStore as a source."""

from __future__ import annotations

from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.types import MetadataFilters
from llama_index.core.vector_stores.utils import legacy_metadata_dict_to_node, metadata_dict_to_node

from commonscale.core.errors import InvalidInputError
from commonscale.llama_index.restriction import filters_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.table_store import NodeTableSource
from commonscale.stores.chroma import ChromaTable
from commonscale.stores.chroma_records import Record, is_local, where_of

_KINDS = {
    "cosine": "exp_neg_cosine_distance",
    "ip": "exp_neg_inner_product_distance",
    "l2": "exp_neg_squared_l2",
}
"""What the store calls similarity, ``exp(-distance)``, by space."""


def open_chroma(store: Any, request: StoreRequest) -> NodeTableSource:
    """Open one modality of a ChromaVectorStore.

    Args:
        store: the store.
        request: what to search in it.

    Raises:
        InvalidInputError: if Chroma cannot filter like that.
    """
    table = ChromaTable(
        lambda: store._collection,
        _where(filters_of(request)),
        number=lambda distances: np.exp(-distances),
        kinds=_KINDS,
    )
    remote = not is_local(store._collection)
    return NodeTableSource(store, table, request, _node, concurrent=True, remote=remote)


def _where(filters: MetadataFilters | None) -> dict[str, Any] | None:
    # Whoever has a store has its package.
    from llama_index.vector_stores.chroma.base import _to_chroma_filter

    try:
        return where_of(None if filters is None else _to_chroma_filter(filters))
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError(
            f"{error} by Chroma; it has ==, !=, >, <, >=, <=, in and nin, joined by and/or; got {filters!r}"
        ) from error


def _node(row_id: str, record: Record) -> BaseNode:
    """Make a node as the store does; records that LlamaIndex did not write become texts."""
    metadata, text = dict(record.metadata or {}), record.document
    try:
        return metadata_dict_to_node(metadata, text=text)
    except (AttributeError, KeyError, TypeError, ValueError):  # A record of older versions, or of somebody else's.
        rest, info, relationships = legacy_metadata_dict_to_node(metadata)
        return TextNode(
            text=text or "",
            id_=row_id,
            metadata=rest,
            start_char_idx=info.get("start"),
            end_char_idx=info.get("end"),
            relationships=relationships,
        )
