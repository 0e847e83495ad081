"""Which modality a node has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import BaseNode, ImageNode, Node

from commonscale.core.types import IMAGE, TEXT, Modality

DEFAULT_MODALITY_KEY = "modality"
"""Metadata key that may name a node's modality, where its class does not tell."""

IMAGE_CLASSES = frozenset({"ImageNode", "ImageDocument"})
"""Class names of image nodes, as vector stores keep them under ``_node_type``."""


def modality_of(node: BaseNode, *keys: str) -> Modality:
    """Tell a node's modality.

    An ``ImageNode`` is an image, captioned or not (it is also a ``TextNode``, so this is asked first); so is a
    ``Node`` with an image resource (``ImageDocument`` is one). Any other node has the modality that its
    metadata names, and without one it is text. Stores that lose an image's class on the way
    (``ImageDocument`` comes back as ``TextNode``) need that metadata.

    Args:
        node: the node.
        keys: metadata keys that may name it; the first that does counts.

    Returns:
        ``"image"``, ``"text"``, or what the metadata says.
    """
    if isinstance(node, ImageNode) or (isinstance(node, Node) and node.image_resource is not None):
        return IMAGE
    return next((str(named) for key in keys if (named := node.metadata.get(key))), TEXT)


def modality_of_metadata(metadata: Mapping[str, Any], key: str = DEFAULT_MODALITY_KEY) -> Modality | None:
    """Tell a modality from what a vector store keeps of a node beside its vector.

    Args:
        metadata: flat metadata with ``_node_type``.
        key: the metadata key.

    Returns:
        As ``modality_of``; None if only the node itself can tell (class ``Node``, which may hold any media).
    """
    kind = metadata.get("_node_type")
    if kind in IMAGE_CLASSES:
        return IMAGE
    if named := metadata.get(key):
        return str(named)
    return None if kind in (None, "Node") else TEXT
