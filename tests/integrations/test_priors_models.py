"""Priors that ask language models through both frameworks' own clients."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_openai import ChatOpenAI
from llama_index.llms.openai_like import OpenAILike

from chat_server import ChatServer
from commonscale import Question
from commonscale.core.errors import PriorWarning
from commonscale.priors import PromptPrior

ANSWER = "1: text=80 image=20\n2: text=5 image=95"
QUESTIONS = [Question("who wrote it?"), Question("what color is it?")]


def model_of(name: str, server: ChatServer, connections: httpx.AsyncClient) -> object:
    settings = {"model": "any", "api_key": "none", "max_retries": 0}
    if name == "llama-index":
        return OpenAILike(api_base=server.url, is_chat_model=True, async_http_client=connections, **settings)
    model = ChatOpenAI(base_url=server.url, http_async_client=connections, **settings)
    return model if name == "langchain" else model | StrOutputParser()


@pytest.mark.parametrize("name", ["llama-index", "langchain", "a chain"])
async def test_models_of_both_frameworks_are_asked(name: str, chat_server: ChatServer) -> None:
    chat_server.answer = ANSWER
    async with httpx.AsyncClient() as connections:
        model = model_of(name, chat_server, connections)
        answers = [PromptPrior(model).evidence(QUESTIONS), await PromptPrior(model).aevidence(QUESTIONS)]
    for rows in answers:
        np.testing.assert_allclose(np.exp(rows), [[0.8, 0.2], [0.05, 0.95]])
    assert len(chat_server.requests) == 2
    assert '1. "who wrote it?"\n2. "what color is it?"' in chat_server.content[0]["text"]


def test_the_words_of_a_chat_message_are_read() -> None:
    model = FakeListChatModel(responses=[ANSWER])
    np.testing.assert_allclose(np.exp(PromptPrior(model).evidence(QUESTIONS))[0], [0.8, 0.2])


def test_a_server_that_is_down_is_named_in_a_warning() -> None:
    model = ChatOpenAI(model="any", api_key="none", base_url="http://127.0.0.1:9/v1", max_retries=0)
    with pytest.warns(PriorWarning, match="it failed: .*Connection error"):
        assert not PromptPrior(model, strength=1.0).offsets(QUESTIONS)["text"].any()
