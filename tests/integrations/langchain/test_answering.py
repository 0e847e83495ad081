"""From a question to an answer: retriever | prompt | chat model, through the real OpenAI client."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_openai")
pytest.importorskip("PIL")

from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnablePassthrough
from langchain_openai import ChatOpenAI

from chat_server import ChatServer
from commonscale.langchain import ModalityBalancer, StandardizedMultiModalRetriever, to_content_blocks

QUESTION = "what stands in the yard"


@pytest.fixture
def chain(pictured: StandardizedMultiModalRetriever, chat_server: ChatServer) -> Any:
    chat_server.answer = "a bus made of tin"
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Answer from the context."), MessagesPlaceholder("context"), ("human", "{question}")]
    )
    context = pictured | ModalityBalancer(maximum={"image": 4}) | to_content_blocks | as_message
    model = ChatOpenAI(model="vision", base_url=chat_server.url, api_key="x", max_retries=0)
    return {"context": context, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()


def as_message(blocks: list[Any]) -> list[HumanMessage]:
    return [HumanMessage(content_blocks=blocks)]


def expected_parts(documents: list[Document]) -> list[tuple[str, str]]:
    parts = []
    for document in documents:
        if document.page_content:
            parts.append(("text", document.page_content))
        path = document.metadata.get("image_path")
        if path:
            kind = "jpeg" if path.endswith("jpg") else "png"
            content = base64.b64encode(Path(path).read_bytes()).decode()
            parts.append(("image_url", f"data:image/{kind};base64,{content}"))
    return parts


def received_parts(server: ChatServer) -> list[tuple[str, str]]:
    for part in server.content:
        # Nothing that only LangChain knows may reach the server.
        assert set(part) == {"type", "text"} or set(part) == {"type", "image_url"}
    return [
        ("text", part["text"]) if part["type"] == "text" else (part["type"], part["image_url"]["url"])
        for part in server.content
    ]


def check_request(server: ChatServer, retriever: StandardizedMultiModalRetriever) -> None:
    chosen = ModalityBalancer(maximum={"image": 4})(retriever.invoke(QUESTION))
    context = expected_parts(chosen)
    assert {kind for kind, _ in context} == {"text", "image_url"}
    assert received_parts(server) == [("text", "Answer from the context."), *context, ("text", QUESTION)]
    assert len(server.requests) == 1


def test_pictures_and_passages_arrive_in_ranked_order(chain, pictured, chat_server):
    assert chain.invoke(QUESTION) == "a bus made of tin"
    check_request(chat_server, pictured)


async def test_asynchronously(chain, pictured, chat_server):
    assert await chain.ainvoke(QUESTION) == "a bus made of tin"
    check_request(chat_server, pictured)


def test_streaming(chain, pictured, chat_server):
    pieces = [piece for piece in chain.stream(QUESTION) if piece]
    assert len(pieces) > 1
    assert "".join(pieces) == "a bus made of tin"
    assert chat_server.requests[0]["stream"] is True
    check_request(chat_server, pictured)


async def test_streaming_asynchronously(chain, pictured, chat_server):
    pieces = [piece async for piece in chain.astream(QUESTION) if piece]
    assert "".join(pieces) == "a bus made of tin"
    check_request(chat_server, pictured)


def test_plain_prompt_of_one_message(pictured, chat_server):
    """The shortest form: retriever, a function that writes the message, chat model."""

    def prompt(documents: list[Document]) -> list[HumanMessage]:
        blocks = [*to_content_blocks(documents), {"type": "text", "text": QUESTION}]
        return [HumanMessage(content_blocks=blocks)]

    model = ChatOpenAI(model="vision", base_url=chat_server.url, api_key="x", max_retries=0)
    answer = (pictured | prompt | model).invoke(QUESTION)
    assert answer.text == chat_server.answer
    assert received_parts(chat_server) == [*expected_parts(pictured.invoke(QUESTION)), ("text", QUESTION)]
