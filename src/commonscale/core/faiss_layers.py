"""What a FAISS index is made of: FAISS's own indexes wrap each other."""

from __future__ import annotations

from typing import Any

from commonscale.core.extras import require


def layers(index: Any) -> list[Any]:
    """Unwrap an index.

    Args:
        index: a ``faiss.Index``, which must outlive what is returned.

    Returns:
        The index, and what it passes questions on to (transformations, refined indexes, maps of ids), each as what it
        is; the last one, an inverted file, a graph or codes, does the search.
    """
    faiss = require("faiss", "faiss")
    found = [faiss.downcast_index(index)]
    while True:
        outer = found[-1]
        if isinstance(outer, (faiss.IndexPreTransform, faiss.IndexIDMap)):
            found.append(faiss.downcast_index(outer.index))
        elif isinstance(outer, faiss.IndexRefine):
            found.append(faiss.downcast_index(outer.base_index))
        else:
            return found


def storage(index: Any) -> Any:
    """Find the layer that holds the vectors, as exactly as they are held."""
    faiss = require("faiss", "faiss")
    for layer in layers(index):
        if isinstance(layer, faiss.IndexRefine):
            return storage(layer.refine_index)
        if isinstance(layer, faiss.IndexHNSW):
            return storage(layer.storage)
    return layer
