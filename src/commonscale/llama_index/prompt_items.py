"""From LlamaIndex's nodes to what a prompt is made of."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING

from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, Node, NodeWithScore

from commonscale.core.recorded import COSINE_KEY, MODALITY_KEY, recorded_number
from commonscale.llama_index.modality import modality_of
from commonscale.prompting import PromptItem

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageInput


def prompt_item(hit: NodeWithScore, modality_key: str, mode: MetadataMode) -> PromptItem:
    """Describe a retrieved node as an item of a prompt; the hit itself is its payload.

    Args:
        hit: a node of any class.
        modality_key: metadata key naming the modality of nodes whose class does not tell.
        mode: which metadata stand with the text; ``MetadataMode.LLM`` for those that the node does not hide from LLMs.
    """
    node = hit.node
    return PromptItem(
        id=node.node_id,
        modality=modality_of(node, modality_key, MODALITY_KEY),
        text=_words(node, mode),
        picture=_picture(node),
        score=hit.score,
        cosine=recorded_number(node.metadata, COSINE_KEY),
        payload=hit,
    )


def _words(node: BaseNode, mode: MetadataMode) -> str:
    # A Node without text gives no content at all, even if its metadata say what the picture is.
    return node.get_content(metadata_mode=mode) or node.get_metadata_str(mode=mode)


def _picture(node: BaseNode) -> ImageInput | None:
    """Give what stands for a node's picture, in the order in which LlamaIndex looks for it."""
    if isinstance(node, ImageNode):
        if node.image is not None:
            return _decoded(node.image.encode("utf-8", "surrogatepass"))
        path = node.image_path or (None if node.image_url else node.metadata.get("file_path"))
        # A Path, so that no name of a file can be taken for a URL or for contents.
        return Path(path) if path else node.image_url
    if isinstance(node, Node) and node.image_resource is not None:
        resource = node.image_resource
        if resource.data is not None:
            return _decoded(resource.data)
        return resource.path or (None if resource.url is None else str(resource.url))
    return None


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return text  # No picture begins like this, and whoever opens it says so, once for all kinds of damage.
