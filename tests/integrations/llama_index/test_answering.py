"""From question to answer through LlamaIndex's own query engine and OpenAI-compatible client."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("llama_index.llms.openai_like")

import httpx
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode, TextNode
from llama_index.llms.openai_like import OpenAILike

from chat_server import ChatServer
from commonscale.llama_index import ModalityBalancer, StandardizedMultiModalRetriever
from llama_world import DIMENSION, FixedEmbedding

QUESTION = "what color is the bus?"


def png(color: tuple[int, int, int]) -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\x00" + bytes(color)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def vector(cosine: float, *, image: bool) -> list[float]:
    """A unit vector with this cosine to the question; images and texts lie in different directions."""
    rows = np.zeros(DIMENSION)
    rows[0], rows[2 if image else 1] = cosine, np.sqrt(1 - cosine**2)
    return rows.tolist()


@pytest.fixture
def retriever(tmp_path: Path) -> StandardizedMultiModalRetriever:
    """Texts have cosines around 0.8, images around 0.3; on the common scale they alternate: i0 t0 i1 t1 ..."""
    vectors = {QUESTION: np.eye(DIMENSION)[0].tolist()}
    nodes: list[Any] = []
    for i in range(4):
        path = tmp_path / f"photo{i}.png"
        path.write_bytes(png((i, 0, 255)))
        nodes += [
            TextNode(id_=f"t{i}", text=f"passage {i}"),
            ImageNode(id_=f"i{i}", image_path=str(path), metadata={"title": f"photo {i}"}),
        ]
        vectors[f"passage {i}"] = vector(0.85 - 0.05 * i, image=False)
        vectors[str(path)] = vector(0.35 - 0.02 * i, image=True)
    rng = np.random.default_rng(0)
    questions = [f"unlabeled {i}" for i in range(40)]
    for text in questions:
        q = np.zeros(DIMENSION)
        q[0], q[1], q[2], q[3] = 1.0, rng.normal(0, 0.1), rng.normal(0, 0.1), rng.uniform(0, 0.4)
        vectors[text] = (q / np.linalg.norm(q)).tolist()
    model = FixedEmbedding(vectors=vectors)
    index = MultiModalVectorStoreIndex(nodes, embed_model=model, image_embed_model=model)
    made = StandardizedMultiModalRetriever.from_index(index, similarity_top_k=8)
    made.calibrate(questions, method="standardized")
    return made


def engine(
    retriever: StandardizedMultiModalRetriever, server: ChatServer, client: Any = None, **settings: Any
) -> RetrieverQueryEngine:
    llm = OpenAILike(
        model="any",
        api_base=server.url,
        api_key="none",
        is_chat_model=True,
        context_window=128_000,
        max_retries=0,
        async_http_client=client,
    )
    balancer = ModalityBalancer(minimum={"image": 2}, maximum={"text": 2}, top_n=5)
    return RetrieverQueryEngine.from_args(
        retriever, node_postprocessors=[balancer], llm=llm, multimodal=True, **settings
    )


def sent(server: ChatServer) -> list[bytes | str]:
    """The pictures (their very bytes) and passages of the request, in order."""
    found: list[bytes | str] = []
    for part in server.content:
        if part["type"] == "image_url":
            head, _, data = part["image_url"]["url"].partition(",")
            assert head == "data:image/png;base64"
            found.append(base64.b64decode(data))
        else:  # the client joins neighboring texts
            found.extend(re.findall(r"passage \d", part["text"]))
    return found


def expected(response: Any) -> list[bytes | str]:
    nodes = [hit.node for hit in response.source_nodes]
    return [Path(n.image_path).read_bytes() if isinstance(n, ImageNode) else n.text for n in nodes]


def assert_answered(response: Any, answer: str, server: ChatServer) -> None:
    assert answer == server.answer
    ids = [hit.node.node_id for hit in response.source_nodes]
    assert sorted(ids) == ["i0", "i1", "i2", "t0", "t1"]
    scores = [hit.score for hit in response.source_nodes]
    assert scores == sorted(scores, reverse=True)
    kinds = "".join(name[0] for name in ids)
    assert "it" in kinds
    assert "ti" in kinds  # interleaved: neither all texts first nor all images first
    assert len(server.requests) == 1
    assert sent(server) == expected(response)
    everything = str(server.content)
    assert QUESTION in everything
    assert "title: photo 0" in everything
    assert "commonscale" not in everything


def test_answers_with_texts_and_images(retriever: StandardizedMultiModalRetriever, chat_server: ChatServer) -> None:
    response = engine(retriever, chat_server).query(QUESTION)
    assert_answered(response, str(response), chat_server)


async def test_answers_asynchronously(retriever: StandardizedMultiModalRetriever, chat_server: ChatServer) -> None:
    async with httpx.AsyncClient() as client:
        response = await engine(retriever, chat_server, client).aquery(QUESTION)
    assert_answered(response, str(response), chat_server)


def test_streams_the_answer(retriever: StandardizedMultiModalRetriever, chat_server: ChatServer) -> None:
    response = engine(retriever, chat_server, streaming=True).query(QUESTION)
    answer = "".join(response.response_gen)
    assert_answered(response, answer, chat_server)
