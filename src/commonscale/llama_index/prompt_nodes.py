"""From a prompt to the nodes that LlamaIndex's engines send, and back from those of a response."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, Node, NodeWithScore, TextNode

from commonscale.core.recorded import COSINE_KEY, recorded_number
from commonscale.prompting import LeftOut, PreparedPicture, Prompt, PromptItem, Reason, SentItem, TextPart

PROMPT_KEY = "commonscale_prompt"
"""Metadata key of a prepared node: its number, id, modality, tokens and text, and the size of its picture."""

LEFT_OUT_KEY = "commonscale_left_out"
"""Metadata key of the first prepared node: what was left out, with reasons."""

Engine = Literal["query", "chat", "citation"]
"""What reads the nodes; see ``PromptPreparer``."""

# How CitationQueryEngine begins each of its sources.
_SOURCE = re.compile(r"Source (\d+):")


class PreparedImage(ImageNode):
    """An image node whose words stand directly before its picture, in every metadata mode.

    LlamaIndex's own leaves out the words, and fetches a URL on this machine where the provider is to do so.
    """

    # Chat engines print all nodes into a field of their responses.
    image: str | None = Field(default=None, repr=False)

    @classmethod
    def class_name(cls) -> str:
        """Name the class that LlamaIndex reads it back as."""
        return "ImageNode"

    def get_content_blocks(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> list[Any]:
        """Give the words, if there are any, and the picture."""
        del metadata_mode
        words = [TextBlock(text=self.text)] if self.text else []
        if self.image is None:
            return [*words, ImageBlock(url=self.image_url)]
        return [*words, ImageBlock(image=base64.b64decode(self.image), image_mimetype=self.image_mimetype)]


def prepared_nodes(prompt: Prompt, engine: Engine) -> list[NodeWithScore]:
    """Make the nodes that an engine is to send.

    Args:
        prompt: made of hits (see ``prompt_item``), which stay as they are.
        engine: what reads the nodes.

    Returns:
        New nodes with the ids, scores and metadata of the hits, all metadata hidden from LLMs and embedding models.
    """
    words = {part.number: part.text for part in prompt.parts if isinstance(part, TextPart)}
    left_out = [_left_record(left) for left in prompt.left_out]
    nodes: list[NodeWithScore] = []
    pictures = 0
    for sent in prompt.sent:
        fields = _fields(sent, left_out if not nodes else [])
        pictures += sent.picture is not None
        text = sent.text if engine == "citation" else words[sent.number]
        if sent.picture is not None:
            nodes.append(_image(sent, sent.picture, text, fields))
        if sent.picture is None or engine == "chat":
            # Chat engines put all pictures before all text, so that the text has to say which one is meant.
            beside = f"{sent.label} (picture {pictures}) {sent.text}".rstrip()
            text = text if sent.picture is None else beside
            nodes.append(NodeWithScore(node=TextNode(text=text, **fields), score=sent.item.score))
    return nodes


def _fields(sent: SentItem, left_out: list[dict[str, Any]]) -> dict[str, Any]:
    node: BaseNode = sent.item.payload.node
    metadata = {**node.metadata, PROMPT_KEY: _sent_record(sent)}
    metadata.pop(LEFT_OUT_KEY, None)
    if left_out:
        metadata[LEFT_OUT_KEY] = left_out
    return {
        "id_": node.node_id,
        "metadata": metadata,
        "excluded_llm_metadata_keys": list(metadata),
        "excluded_embed_metadata_keys": list(metadata),
        "relationships": dict(node.relationships),
    }


def _image(sent: SentItem, picture: PreparedPicture, text: str, fields: dict[str, Any]) -> NodeWithScore:
    content = {"image_url": picture.url} if picture.content is None else {"image": picture.base64}
    node = PreparedImage(text=text, image_mimetype=picture.mime_type, **content, **fields)
    return NodeWithScore(node=node, score=sent.item.score)


def _sent_record(sent: SentItem) -> dict[str, Any]:
    item, picture = sent.item, sent.picture
    return {
        "number": sent.number,
        "id": item.id,
        "modality": item.modality,
        "tokens": sent.tokens,
        "text": sent.text,
        "cut": sent.cut,
        "note": sent.note,
        "size": None if picture is None or picture.content is None else [picture.width, picture.height],
    }


def _left_record(left: LeftOut) -> dict[str, Any]:
    item = left.item
    return {
        "id": item.id,
        "modality": item.modality,
        "score": item.score,
        "cosine": item.cosine,
        "reason": left.reason.value,
        "detail": left.detail,
    }


def prompt_from_nodes(hits: Iterable[NodeWithScore]) -> Prompt:
    """Read back what was sent, from the source nodes of a response.

    Args:
        hits: in any order; nodes that no ``PromptPreparer`` has made are passed over.

    Returns:
        The prompt. Sources of ``CitationQueryEngine`` count by the numbers that it gave them. Each item has the text
        and picture that were sent, and as its payload the hit; items that were left out have neither.
    """
    sent: dict[int, SentItem] = {}
    left: dict[tuple[Any, ...], LeftOut] = {}
    for hit in hits:
        metadata = hit.node.metadata
        for record in metadata.get(LEFT_OUT_KEY, ()):
            # By all that is known of each, since a node that an engine has split repeats them.
            left[tuple(record.values())] = _left_back(record)
        if PROMPT_KEY in metadata:
            item = _sent_back(hit, metadata[PROMPT_KEY])
            before = sent.get(item.number)
            if before is None or before.picture is None:
                sent[item.number] = item
    return Prompt(tuple(sent[number] for number in sorted(sent)), tuple(left.values()))


def _sent_back(hit: NodeWithScore, record: Mapping[str, Any]) -> SentItem:
    source = _SOURCE.match(hit.node.get_content(metadata_mode=MetadataMode.NONE))
    number = record["number"] if source is None else int(source.group(1))
    picture = _picture_back(hit.node, record)
    item = PromptItem(
        id=record["id"],
        modality=record["modality"],
        text=record["text"],
        picture=None if picture is None else picture.content or picture.url,
        score=hit.score,
        cosine=recorded_number(hit.node.metadata, COSINE_KEY),
        payload=hit,
    )
    return SentItem(number, item, picture, record["tokens"], record["text"], record["cut"], record["note"])


def _picture_back(node: BaseNode, record: Mapping[str, Any]) -> PreparedPicture | None:
    data: str | bytes | None = None
    if isinstance(node, ImageNode):
        data, mime_type, url = node.image, node.image_mimetype, node.image_url
    elif isinstance(node, Node) and node.image_resource is not None:
        resource = node.image_resource
        data, mime_type, url = resource.data, resource.mimetype, None if resource.url is None else str(resource.url)
    else:
        return None
    if data is None:
        return PreparedPicture(url=url)
    return PreparedPicture(base64.b64decode(data), mime_type, *(record["size"] or (None, None)))


def _left_back(record: Mapping[str, Any]) -> LeftOut:
    item = PromptItem(record["id"], record["modality"], score=record["score"], cosine=record["cosine"])
    return LeftOut(item, Reason(record["reason"]), record["detail"])
