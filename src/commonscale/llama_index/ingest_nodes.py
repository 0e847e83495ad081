"""The nodes that texts and pictures become."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, TextNode

from commonscale.core.errors import InvalidInputError
from commonscale.core.types import IMAGE
from commonscale.llama_index.modality import modality_of
from commonscale.stores.ingest_pictures import Picture


def text_node(item: Any, place: int, metadata: dict[str, Any], label: str | None) -> TextNode:
    """Make the node of a text.

    Args:
        item: a string, or a node, which is copied.
        place: its place in what was given, for messages.
        metadata: all of its metadata.
        label: the metadata key that names its modality, hidden from LLMs and embedding models; None if there is none.

    Returns:
        A ``TextNode``: stores give ``Document`` and ``Node`` back as such, or cannot take them (Milvus). A string is
        embedded alone, so all metadata are hidden from embedding models.

    Raises:
        InvalidInputError: if it is neither, has no text, or is an image.
    """
    hidden = [] if label is None else [label]
    if isinstance(item, str):
        node = TextNode(
            text=item,
            metadata=metadata,
            excluded_embed_metadata_keys=list(metadata),
            excluded_llm_metadata_keys=hidden,
        )
    elif isinstance(item, BaseNode):
        if modality_of(item) == IMAGE:
            raise InvalidInputError(
                f"texts[{place}] is an image ({type(item).__name__} {item.node_id!r}); use add_images"
            )
        node = _copied(item, metadata, hidden)
    else:
        raise InvalidInputError(f"texts[{place}] must be a string or a node, got {type(item).__name__}: {item!r:.200}")
    if not node.text.strip():
        raise InvalidInputError(
            f"texts[{place}] has no text ({node.text!r}), so it has no meaning to embed; leave it out"
        )
    return node


def _copied(node: BaseNode, metadata: dict[str, Any], hidden: list[str]) -> TextNode:
    changed = {
        "metadata": metadata,
        "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, *hidden],
        "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, *hidden],
    }
    if isinstance(node, TextNode):
        return node.model_copy(update=changed)
    return TextNode(
        id_=node.node_id,
        text=node.get_content(metadata_mode=MetadataMode.NONE),
        embedding=node.embedding,
        relationships=dict(node.relationships),
        **changed,
    )


def image_node(node_id: str, picture: Picture, caption: Any, metadata: dict[str, Any], label: str | None) -> ImageNode:
    """Make the node of a picture, with its caption as text.

    Raises:
        InvalidInputError: if the caption is no string.
    """
    if not isinstance(caption, str):
        raise InvalidInputError(f"the caption of {picture.name} must be a string, got {caption!r}")
    hidden = [] if label is None else [label]
    return ImageNode(
        id_=node_id,
        text=caption,
        image=picture.base64,
        image_path=picture.path,
        image_url=picture.url,
        metadata=metadata,
        excluded_embed_metadata_keys=hidden,
        excluded_llm_metadata_keys=list(hidden),
    )
