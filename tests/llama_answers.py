"""Texts and photographs as LlamaIndex nodes in a calibrated retriever, and what a request to a chat model holds."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode, ImageNode, MediaResource, Node, NodeWithScore, TextNode
from llama_index.llms.openai_like import OpenAILike
from PIL import Image

from commonscale.llama_index import StandardizedMultiModalRetriever
from llama_world import DIMENSION, FixedEmbedding, simple_store

QUESTION = "what color is the bus?"
OTHER = "where does it stop?"
RANKED = ["t0", "i0", "i1", "t1", "i2", "i3", "t2", "t3"]
"""What the retriever gives for either question: photographs among the passages."""

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]


def photo(color: tuple[int, int, int], size: tuple[int, int] = (1600, 1200)) -> bytes:
    """A photograph of one color, larger than it is to be sent."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "JPEG")
    return file.getvalue()


def corpus(folder: Path) -> list[BaseNode]:
    """Four passages and four pictures, one in each form in which LlamaIndex keeps one; the last one is refused."""
    (folder / "photos").mkdir(exist_ok=True)
    for i in (0, 2):
        (folder / "photos" / f"photo{i}.jpg").write_bytes(photo(COLORS[i]))
    (folder / "secret.jpg").write_bytes(photo(COLORS[3]))
    return [
        *(TextNode(id_=f"t{i}", text=f"passage {i}") for i in range(4)),
        ImageNode(id_="i0", image_path=str(folder / "photos/photo0.jpg"), metadata={"title": "photo 0"}),
        ImageNode(id_="i1", image=base64.b64encode(photo(COLORS[1])).decode(), text="a captioned photo"),
        Node(
            id_="i2",
            image_resource=MediaResource(path=folder / "photos/photo2.jpg"),
            text_resource=MediaResource(text="a photo in a Node"),
        ),
        ImageNode(id_="i3", image_path=str(folder / "secret.jpg")),
    ]


def vector(cosine: float, *, image: bool) -> list[float]:
    """A unit vector with this cosine to either question; images and texts lie in different directions."""
    rows = np.zeros(DIMENSION)
    rows[0], rows[2 if image else 1] = cosine, np.sqrt(1 - cosine**2)
    return rows.tolist()


def retriever_of(nodes: Sequence[BaseNode]) -> StandardizedMultiModalRetriever:
    """A calibrated retriever; texts have cosines around 0.8, images around 0.3, and mix on the common scale."""
    places = {node.node_id: node for node in nodes}
    for node_id, node in places.items():
        i = int(node_id[1:])
        node.embedding = vector(0.35 - 0.02 * i if node_id[0] == "i" else 0.85 - 0.05 * i, image=node_id[0] == "i")
    vectors = {text: np.eye(DIMENSION)[0].tolist() for text in (QUESTION, OTHER)}
    rng = np.random.default_rng(0)
    questions = [f"unlabeled {i}" for i in range(40)]
    for text in questions:
        q = np.zeros(DIMENSION)
        q[0], q[1], q[2], q[3] = 1.0, rng.normal(0, 0.1), rng.normal(0, 0.1), rng.uniform(0, 0.4)
        vectors[text] = (q / np.linalg.norm(q)).tolist()
    texts = {node_id: node for node_id, node in places.items() if node_id[0] == "t"}
    images = {node_id: node for node_id, node in places.items() if node_id[0] == "i"}
    retriever = StandardizedMultiModalRetriever(
        embed_model=FixedEmbedding(vectors=vectors),
        text_store=simple_store(list(texts.values())),
        image_store=simple_store(list(images.values())),
        text_nodes=texts,
        image_nodes=images,
        similarity_top_k=8,
    )
    retriever.calibrate(questions, method="standardized")
    return retriever


def chat_model(url: str, client: Any = None, context_window: int | None = 128_000) -> OpenAILike:
    """The real client of an OpenAI-compatible server; without a window it assumes its own default, 3,900 tokens."""
    window = {} if context_window is None else {"context_window": context_window}
    return OpenAILike(
        model="any", api_base=url, api_key="none", is_chat_model=True, max_retries=0, async_http_client=client, **window
    )


def parts_of(request: dict[str, Any]) -> list[str | Image.Image]:
    """Texts and pictures of a request's last message, in the order in which the model reads them."""
    content = request["messages"][-1]["content"]
    if isinstance(content, str):
        return [content]
    parts: list[str | Image.Image] = []
    for part in content:
        if part["type"] == "text":
            parts.append(part["text"])
        else:
            head, _, data = part["image_url"]["url"].partition(",")
            assert head.startswith("data:image/")
            parts.append(Image.open(io.BytesIO(base64.b64decode(data))))
    return parts


def documents_of(request: dict[str, Any]) -> list[tuple[str, Image.Image | None]]:
    """The numbered documents between the tags of a request: words with label, and the picture that follows them."""
    found: list[tuple[str, Image.Image | None]] = []
    for part in parts_of(request):
        if isinstance(part, str):
            inside = part.partition("<documents>")[2] or part
            words = re.findall(r"^\[\d+\].*?(?=\n\[\d+\]|\Z)", inside.partition("</documents>")[0], re.M | re.S)
            found += [(text.strip(), None) for text in words]
        else:
            words, picture = found.pop()
            assert picture is None, "two pictures behind one label"
            found.append((words, part))
    return found


def color_of(picture: Image.Image | None) -> int | None:
    """Which of ``COLORS`` a picture has, as its index."""
    if picture is None:
        return None
    middle = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    distances = [sum(abs(a - b) for a, b in zip(middle, color, strict=True)) for color in COLORS]
    assert min(distances) < 20
    return distances.index(min(distances))


def ids_of(hits: Sequence[NodeWithScore]) -> list[str]:
    """Ids of hits, in order."""
    return [hit.node.node_id for hit in hits]
