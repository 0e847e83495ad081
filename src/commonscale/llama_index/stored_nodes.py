"""Nodes as stores keep them, where LlamaIndex cannot read what it wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def readable(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a store keeps of a node a text where it has none.

    LlamaIndex reads an ``ImageDocument`` as ``TextNode``, which fails if it was written without a caption.

    Args:
        metadata: flat metadata with ``_node_content`` and ``_node_type``; they are not changed.

    Returns:
        Metadata that ``metadata_dict_to_node`` reads: the same, unless they are those of such a document.
    """
    if metadata.get("_node_type") != "ImageDocument" or not metadata.get("_node_content"):
        return metadata
    content = json.loads(metadata["_node_content"])
    if not isinstance(content, dict) or content.get("text_resource") is not None:
        return metadata
    return {**metadata, "_node_content": json.dumps({**content, "text_resource": {"text": content.get("text") or ""}})}
