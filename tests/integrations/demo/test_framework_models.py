"""The demo's answerer behind the frameworks' own interfaces for language models."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

for package in ("langchain_core", "llama_index.core", "PIL"):
    pytest.importorskip(package)

from PIL import Image  # noqa: E402

from commonscale.answering import Request  # noqa: E402
from commonscale.demo.langchain_model import DrawnWorldChatModel  # noqa: E402
from commonscale.demo.llama_index_model import DrawnWorldLLM  # noqa: E402
from commonscale.demo.messages import question_to_rewrite, read_request  # noqa: E402
from commonscale.prompting import PromptBuilder, PromptItem, condense_text, user_parts  # noqa: E402

QUESTION = "How many boats are there?\nOn sand, I mean."


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "navy").save(file, format="PNG")
    return file.getvalue()


ITEMS = [
    PromptItem("one", "text", "A trio of ships.\n[7] is no label here."),
    PromptItem("two", "image", "", png()),
    PromptItem("three", "image", "a caption", png()),
    PromptItem("four", "text", "Question: who asks?"),
]


class Recorder:
    """A fake answerer that keeps what it was asked."""

    name = "recorder"

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def stream(self, request: Request) -> Iterator[str]:
        self.asked.append(request)
        yield "three"
        yield " [1]"


def check(request: Request) -> None:
    prompt = PromptBuilder().build(ITEMS)
    assert request.question == QUESTION
    assert [sent.text for sent in request.prompt.sent] == [sent.text for sent in prompt.sent]
    contents = [sent.picture and sent.picture.content for sent in request.prompt.sent]
    assert contents == [sent.picture and sent.picture.content for sent in prompt.sent]
    assert [content is not None for content in contents] == [False, True, True, False]


@pytest.mark.parametrize("joined", [False, True], ids=["a part for each text", "neighboring texts joined"])
def test_what_was_laid_out_is_read_back(joined: bool) -> None:
    parts: list[Any] = []
    for part in user_parts(PromptBuilder().build(ITEMS), QUESTION):
        given = part if isinstance(part, str) else part.content
        if joined and parts and isinstance(given, str) and isinstance(parts[-1], str):
            parts[-1] += f"\n{given}"
        else:
            parts.append(given)
    check(read_request(parts))


def test_without_documents_there_is_only_the_question() -> None:
    request = read_request(part for part in user_parts(PromptBuilder().build([]), "Where?") if isinstance(part, str))
    assert (request.question, request.prompt.sent) == ("Where?", ())
    assert read_request(["Where are they?"]).question == "Where are they?"


def test_a_question_to_rewrite_is_found() -> None:
    assert question_to_rewrite(condense_text([("Where?", "Here [1]")], "And the red one?")) == "And the red one?"
    assert question_to_rewrite("Where?") is None


def langchain_messages() -> list[Any]:
    from langchain_core.messages import HumanMessage, SystemMessage

    from commonscale.langchain import prompt_blocks

    blocks = prompt_blocks(PromptBuilder().build(ITEMS))
    asked = {"type": "text", "text": f"Question: {QUESTION}"}
    return [SystemMessage("Answer."), HumanMessage("before"), HumanMessage(content_blocks=[*blocks, asked])]


async def test_langchain_reads_the_last_message_and_streams() -> None:
    model, recorder = DrawnWorldChatModel(), Recorder()
    model._answerer = recorder
    assert model.invoke(langchain_messages()).content == "three [1]"
    assert [chunk.content for chunk in model.stream(langchain_messages()) if chunk.content] == ["three", " [1]"]
    assert (await model.ainvoke(langchain_messages())).content == "three [1]"
    for request in recorder.asked:
        check(request)
    assert len(recorder.asked) == 3
    assert model.invoke(condense_text([("a", "b")], "And now?")).content == "And now?"


def llama_index_messages() -> list[Any]:
    from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock

    from commonscale.llama_index.answer_template import AnswerTemplate

    blocks: list[Any] = []
    for sent in PromptBuilder().build(ITEMS).sent:
        blocks.append(TextBlock(text=f"{sent.label} {sent.text}".rstrip()))
        if sent.picture is not None:
            blocks.append(ImageBlock(image=sent.picture.content))
    documents = [ChatMessage(role="user", blocks=blocks)]
    return AnswerTemplate().format_messages(context_messages=documents, query_str=QUESTION)


async def test_llama_index_reads_the_last_message_and_streams() -> None:
    model, recorder = DrawnWorldLLM(), Recorder()
    model._answerer = recorder
    assert model.chat(llama_index_messages()).message.content == "three [1]"
    assert [response.delta for response in model.stream_chat(llama_index_messages())] == ["three", " [1]"]
    streamed = [response async for response in await model.astream_chat(llama_index_messages())]
    assert [response.message.content for response in streamed] == ["three", "three [1]"]
    for request in recorder.asked:
        check(request)
    assert len(recorder.asked) == 3
    assert model.metadata.is_chat_model
    assert model.complete(condense_text([("a", "b")], "And now?")).text == "And now?"
    assert [response.delta for response in model.stream_complete("Where?")] == ["three", " [1]"]
    assert recorder.asked[-1].question == "Where?"


def test_the_real_answerer_is_behind_both() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from commonscale.demo.answering import NO_DOCUMENTS

    asked = "\n".join(part for part in user_parts(PromptBuilder().build([]), "Where?") if isinstance(part, str))
    assert DrawnWorldChatModel().invoke(asked).content == NO_DOCUMENTS
    assert DrawnWorldLLM().complete(asked).text == NO_DOCUMENTS
