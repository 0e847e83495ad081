"""The vectors that any LlamaIndex store holds, where it gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode

from commonscale.core.types import Vector


def stored_vectors(store: Any, ids: Sequence[str], nodes: Sequence[BaseNode] | None) -> Vector | None:
    """Read the vectors of hits: from their nodes, or by one more call of the store's ``get_nodes``.

    Args:
        store: the store.
        ids: node ids of the hits (n).
        nodes: the hits as the store returned them; None if it keeps only vectors.

    Returns:
        Vectors (n, d) as stored; None if the store does not give them.
    """
    given = {node.node_id: node.embedding for node in nodes or ()}
    if any(given.get(node_id) is None for node_id in ids):
        given = {node.node_id: node.embedding for node in _fetched(store, ids)}
    vectors = [given.get(node_id) for node_id in ids]
    if any(vector is None for vector in vectors) or len({len(vector) for vector in vectors if vector}) > 1:
        return None
    return np.array(vectors, np.float32)


def _fetched(store: Any, ids: Sequence[str]) -> Sequence[BaseNode]:
    get_nodes = getattr(store, "get_nodes", None)
    if not callable(get_nodes):
        return ()
    try:
        return get_nodes(node_ids=list(ids)) or ()
    except Exception:  # noqa: BLE001 (many stores do not implement it, or fail at it, each with an error of its own)
        return ()
