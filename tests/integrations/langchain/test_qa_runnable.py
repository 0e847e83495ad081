"""The chain as a runnable: configs, callbacks, batches, retries, schemas, prompts, and what it refuses."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")
pytest.importorskip("langchain_openai")

from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator, RunnableLambda
from langchain_openai import ChatOpenAI
from PIL import Image
from pydantic import BaseModel

from chat_server import ChatServer, serve_chat
from commonscale.core.errors import ImageError, InvalidInputError
from commonscale.langchain import ImageQuestion, create_multimodal_chat_chain, create_multimodal_qa_chain
from commonscale.prompting import ANSWER_INSTRUCTIONS, Budget, Pictures

DOCUMENTS = [Document("a red bus", id="b"), Document("a blue car")]


class Shelf(BaseRetriever):
    """Another retriever than ours: no scores, no modalities, and a document without id."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [] if query == "nothing" else [*DOCUMENTS, Document(f"about {query}", id="q")]


class Recorder(BaseCallbackHandler):
    """A real callback handler that writes down what it sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, list[str]]] = []
        self.tokens: list[str] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **options: Any) -> None:
        self.seen.append(("chain", options.get("name"), options["tags"]))

    def on_retriever_start(self, serialized: Any, query: str, **options: Any) -> None:
        self.seen.append(("retriever", query, options["tags"]))

    def on_chat_model_start(self, serialized: Any, messages: list[list[BaseMessage]], **options: Any) -> None:
        self.seen.append(("model", messages[0], options["tags"]))

    def on_llm_new_token(self, token: str, **options: Any) -> None:
        self.tokens.append(token)

    def of(self, kind: str) -> list[Any]:
        return [value for seen, value, _ in self.seen if seen == kind]


def model(*answers: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(answer) for answer in answers]))


def texts(messages: Sequence[BaseMessage]) -> list[str]:
    return [block["text"] for message in messages for block in message.content_blocks]


def test_callbacks_tags_and_names_reach_the_retriever_and_the_model():
    recorder = Recorder()
    config: RunnableConfig = {"callbacks": [recorder], "tags": ["mine"], "run_name": "asked"}
    create_multimodal_qa_chain(Shelf(), model("red [1]")).invoke("which?", config)
    assert recorder.of("chain")[0] == "asked"
    assert recorder.of("retriever") == ["which?"]
    assert texts(recorder.of("model")[0])[1:3] == ["<documents>", "[1] a red bus"]
    assert all("mine" in tags for _, _, tags in recorder.seen)


async def test_callbacks_asynchronously_and_the_chains_own_name():
    recorder = Recorder()
    chain = create_multimodal_qa_chain(Shelf(), model("red [1]")).with_config(tags=["bound"])
    async for _ in chain.astream("which?", {"callbacks": [recorder]}):
        pass
    assert recorder.of("chain")[0] == "multimodal_qa_chain"
    assert recorder.of("retriever") == ["which?"]
    assert "".join(recorder.tokens) == "red [1]"
    assert all("bound" in tags for _, _, tags in recorder.seen)


async def test_events_show_every_step():
    chain = create_multimodal_qa_chain(Shelf(), model("it is red"))
    events = [event async for event in chain.astream_events("which?", version="v2")]
    found = [event for event in events if event["event"] == "on_retriever_end"]
    assert [document.page_content for document in found[0]["data"]["output"]] == [
        "a red bus",
        "a blue car",
        "about which?",
    ]
    streamed = [event["data"]["chunk"].content for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(streamed) == "it is red"
    assert events[-1]["name"] == "multimodal_qa_chain"
    assert events[-1]["data"]["output"]["answer"] == "it is red"


def test_a_picture_and_a_passage_may_share_an_id(tmp_path: Path):
    Image.new("RGB", (9, 9)).save(tmp_path / "7.png")
    found = [
        Document("a passage", id="7"),
        Document("", id="7", metadata={"image_path": str(tmp_path / "7.png")}),
        Document("found twice", id="7"),
    ]
    chain = create_multimodal_qa_chain(lambda _: found, model("picture [2], words [1]"), pictures=Pictures([tmp_path]))
    answer = chain.invoke("which?")
    assert [(source.id, source.page_content) for source in answer["sources"]] == [("7", "a passage"), ("7", "")]
    assert [cited.item.payload for cited in answer["citations"].cited] == [found[1], found[0]]
    assert [left.item.payload for left in answer["left_out"]] == [found[2]]


@pytest.mark.parametrize("create", [create_multimodal_qa_chain, create_multimodal_chat_chain])
def test_a_question_that_no_request_can_hold_is_refused_before_anything_is_done(create: Any):
    recorder = Recorder()
    asked = {"question": "which \ud800?", "chat_history": [("human", "a"), ("ai", "b")]}
    with pytest.raises(InvalidInputError, match=r"'which \\ud800\?' is no valid Unicode"):
        create(Shelf(), model("red")).invoke(asked, {"callbacks": [recorder]})
    assert recorder.of("retriever") == recorder.of("model") == []


class Color(BaseModel):
    """What a structured answer holds."""

    color: str
    numbers: list[int] = []


COLOR = {"color": "red [1]", "numbers": [1, 2]}
SCHEMA = {**Color.model_json_schema(), "title": "Color", "description": "A color."}
STRUCTURED = [
    (Color, "json_schema", Color(**COLOR)),
    (Color, "json_mode", Color(**COLOR)),
    (SCHEMA, "json_mode", COLOR),
]


async def both(chain: Any, asked: Any) -> list[dict[str, Any]]:
    """An answer in one piece and in chunks that are added up, each both ways."""
    chunks = [chunk async for chunk in chain.astream(asked)]
    streamed = [functools.reduce(operator.add, given) for given in (list(chain.stream(asked)), chunks)]
    return [chain.invoke(asked), await chain.ainvoke(asked), *streamed]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serve_chat() as server:
        server.answer = json.dumps(COLOR)
        yield server


def structured(server: ChatServer, schema: Any, **how: Any) -> Runnable[Any, Any]:
    llm = ChatOpenAI(model="any", base_url=server.url, api_key="none", max_retries=0)
    return create_multimodal_qa_chain(Shelf(), llm.with_structured_output(schema, **how))


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize(("schema", "method", "expected"), STRUCTURED)
async def test_structured_output_is_the_answer(server: ChatServer, schema: Any, method: str, expected: Any):
    for answer in await both(structured(server, schema, method=method), "which?"):
        assert answer["answer"] == expected
        assert answer["sources"][0].page_content == "a red bus"
        assert (answer["citations"].cited, answer["citations"].marks) == ((), ())


def test_structured_output_by_a_function_that_the_model_calls_or_not(server: ChatServer):
    chain = structured(server, Color, method="function_calling")
    server.calls = [{"id": "1", "function": {"name": "Color", "arguments": server.answer}}]
    assert chain.invoke("which?")["answer"] == Color(**COLOR)
    with pytest.raises(InvalidInputError, match="with_structured_output gives None"):
        chain.invoke("which?")


async def test_structured_output_with_the_message_that_it_was_made_of(server: ChatServer):
    for answer in await both(structured(server, SCHEMA, method="json_mode", include_raw=True), "which?"):
        assert answer["answer"]["raw"].text == server.answer
        assert (answer["answer"]["parsed"], answer["answer"]["parsing_error"]) == (COLOR, None)


async def test_structured_output_may_be_empty():
    for answer in await both(create_multimodal_qa_chain(Shelf(), RunnableLambda(lambda _: {})), "which?"):
        assert answer["answer"] == {}


@pytest.mark.parametrize("given", [None, 5, ["red"]])
async def test_a_model_that_gives_no_answer_at_all(given: object):
    chain = create_multimodal_qa_chain(Shelf(), RunnableLambda(lambda _: given))
    wanted = rf"llm must give a message, .* got {type(given).__name__}: .*with_structured_output gives None"
    with pytest.raises(InvalidInputError, match=wanted):
        chain.invoke("which?")
    with pytest.raises(InvalidInputError, match=wanted):
        [chunk async for chunk in chain.astream("which?")]


def test_structured_output_rewrites_no_questions():
    llm = RunnableLambda(lambda _: COLOR)
    asked = {"question": "and?", "chat_history": [("human", "which?"), ("ai", "red")]}
    with pytest.raises(InvalidInputError, match=r"got dict: .*give one without as condense_llm"):
        create_multimodal_chat_chain(Shelf(), llm).invoke(asked)
    answer = create_multimodal_chat_chain(Shelf(), llm, condense_llm=model("which bus?")).invoke(asked)
    assert (answer["standalone_question"], answer["answer"]) == ("which bus?", COLOR)


class Busy:
    """Counts how many retrievals run at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, question: str) -> list[Document]:
        self.asked.append(question)
        return [Document(f"about {question}", id=question)]


async def test_batches_keep_the_order_of_the_questions():
    def echo(messages: Any) -> str:
        return texts(messages.to_messages())[-1]

    busy = Busy()
    chain = create_multimodal_qa_chain(busy, echo)
    questions = [f"question {number}" for number in range(5)]
    answers = [*chain.batch(questions, {"max_concurrency": 2}), *await chain.abatch(questions)]
    assert [answer["sources"][0].id for answer in answers] == questions * 2
    assert [answer["answer"] for answer in answers] == [f"</documents>\n\nQuestion: {q}" for q in questions * 2]
    assert sorted(busy.asked) == sorted(questions * 2)


def test_batches_can_return_errors():
    good, bad = create_multimodal_qa_chain(Shelf(), FakeListChatModel(responses=["a"])).batch(
        ["which?", " "], return_exceptions=True
    )
    assert good["answer"] == "a"
    assert isinstance(bad, InvalidInputError)


class Shaky:
    """A model that fails at first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def __call__(self, messages: Any) -> str:
        self.failures -= 1
        if self.failures >= 0:
            raise ConnectionError("no line")
        return "at last"


def test_retries_and_fallbacks():
    retried = create_multimodal_qa_chain(Shelf(), Shaky(1)).with_retry(
        wait_exponential_jitter=False, stop_after_attempt=2
    )
    assert retried.invoke("which?")["answer"] == "at last"
    second = create_multimodal_qa_chain(Shelf(), model("from the second"))
    chain = create_multimodal_qa_chain(Shelf(), Shaky(9))
    assert chain.with_fallbacks([second]).invoke("which?")["answer"] == "from the second"
    # While streaming, the sources are out before a model fails: fallbacks belong to the model.
    guarded = create_multimodal_qa_chain(Shelf(), RunnableLambda(Shaky(9)).with_fallbacks([model("from the third")]))
    assert "".join(chunk.get("answer", "") for chunk in guarded.stream("which?")) == "from the third"
    with pytest.raises(ConnectionError, match="no line"):
        chain.invoke("which?")


class Talker:
    """A model that writes down how far it has come."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def talk(self, messages: Iterator[Any]) -> Iterator[str]:
        list(messages)
        for word in ("a ", "red ", "bus ", "[1]"):
            self.said.append(word)
            yield word

    async def atalk(self, messages: AsyncIterator[Any]) -> AsyncIterator[str]:
        _ = [message async for message in messages]
        for word in self.talk(iter([])):
            yield word


def test_words_come_as_they_are_said():
    talker = Talker()
    stream = create_multimodal_qa_chain(Shelf(), RunnableGenerator(talker.talk)).stream("which?")
    first, word = next(stream), next(stream)
    assert len(first["sources"]) == 3
    assert (word, talker.said) == ({"answer": "a "}, ["a "])
    assert "".join(chunk["answer"] for chunk in stream) == "red bus [1]"


async def test_an_asynchronous_stream_can_be_left():
    talker = Talker()
    said = RunnableGenerator(talker.talk, talker.atalk)
    stream = create_multimodal_qa_chain(Shelf(), said).astream("which?")
    first, word = await anext(stream), await anext(stream)
    assert len(first["sources"]) == 3
    assert word == {"answer": "a "}
    assert len(talker.said) < 4
    await stream.aclose()
    assert len(talker.said) < 4


def test_graph_and_schemas():
    chain = create_multimodal_qa_chain(Shelf(), model())
    names = {node.name for node in chain.get_graph().nodes.values()}
    assert {"read_question", "Shelf", "build_prompt", "GenericFakeChatModel", "collect_answer"} <= names
    assert {kind["type"] for kind in chain.get_input_jsonschema()["anyOf"]} == {"string", "object"}
    shape = chain.get_output_jsonschema()["$defs"]["MultimodalAnswer"]["properties"]
    assert list(shape) == [
        "question",
        "standalone_question",
        "sources",
        "left_out",
        "answer",
        "citations",
    ]
    assert chain.get_name() == "multimodal_qa_chain"


def test_any_retriever_will_do():
    answer = create_multimodal_qa_chain(Shelf(), model("[2] and [3]")).invoke("which?")
    assert [(source.id, source.metadata) for source in answer["sources"]] == [
        ("b", {"commonscale_modality": "text", "commonscale_number": 1}),
        ("#2", {"commonscale_modality": "text", "commonscale_number": 2}),
        ("q", {"commonscale_modality": "text", "commonscale_number": 3}),
    ]
    assert answer["citations"].ids == ["#2", "q"]
    assert [Document("a red bus", id="b"), Document("a blue car")] == DOCUMENTS


def test_a_model_is_told_that_there_are_no_documents():
    recorder = Recorder()
    answer = create_multimodal_qa_chain(Shelf(), model("")).invoke("nothing", {"callbacks": [recorder]})
    assert texts(recorder.of("model")[0])[1:] == [
        "No documents were found for this question.\n\nQuestion: nothing",
    ]
    assert (answer["sources"], answer["answer"], answer["citations"].ids) == ([], "", [])


def test_what_was_cut_is_noted():
    cut = create_multimodal_qa_chain(
        lambda _: [Document("many words " * 50, id="long")], model("-"), budget=Budget(item_tokens=10)
    ).invoke("which?")
    (source,) = cut["sources"]
    assert source.metadata["commonscale_note"].startswith("its text was cut to ")
    assert source.page_content == "many words " * 50


def test_instructions():
    def system(**options: Any) -> list[BaseMessage]:
        recorder = Recorder()
        create_multimodal_qa_chain(Shelf(), model("-"), **options).invoke("which?", {"callbacks": [recorder]})
        return [message for message in recorder.of("model")[0] if isinstance(message, SystemMessage)]

    assert system() == [SystemMessage(ANSWER_INSTRUCTIONS)]
    assert system(instructions="Say {yes}.") == [SystemMessage("Say {yes}.")]
    assert system(instructions="") == []


def test_a_prompt_of_ones_own():
    prompt = ChatPromptTemplate(
        [
            ("system", "Answer in {language}."),
            MessagesPlaceholder("documents"),
            ("human", "Now: {question}"),
        ]
    )
    recorder = Recorder()
    chain = create_multimodal_qa_chain(Shelf(), model("-"), prompt=prompt)
    chain.invoke({"question": "which?", "language": "Frisian"}, {"callbacks": [recorder]})
    assert texts(recorder.of("model")[0]) == [
        "Answer in Frisian.",
        "<documents>",
        "[1] a red bus",
        "[2] a blue car",
        "[3] about which?",
        "</documents>",
        "Now: which?",
    ]

    def written(variables: dict[str, Any]) -> list[BaseMessage]:
        return [*variables["request"], HumanMessage("Please.")]

    recorder = Recorder()
    create_multimodal_qa_chain(Shelf(), model("-"), prompt=written).invoke("which?", {"callbacks": [recorder]})
    assert texts(recorder.of("model")[0])[-2:] == ["</documents>\n\nQuestion: which?", "Please."]


@pytest.fixture
def asked_with(tmp_path: Path) -> Path:
    file = tmp_path / "holiday.png"
    Image.new("RGB", (5, 4), "red").save(file)
    return file


@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_question_that_is_a_picture_is_shown(asked_with, as_bytes):
    recorder = Recorder()
    question = ImageQuestion(asked_with.read_bytes() if as_bytes else asked_with, words="where is this?")
    found: list[str] = []

    def retrieve(asked: str) -> list[Document]:
        found.append(asked)
        return DOCUMENTS

    create_multimodal_qa_chain(retrieve, model("-")).invoke(question, {"callbacks": [recorder]})
    assert isinstance(found[0], ImageQuestion)
    blocks = recorder.of("model")[0][-1].content_blocks
    expected = Pictures().prepare(asked_with.read_bytes())
    assert [block.get("text") for block in blocks[-3:]] == [
        "</documents>\n\nQuestion: where is this?",
        "The picture that the question is about:",
        None,
    ]
    assert (blocks[-1]["base64"], blocks[-1]["mime_type"]) == (expected.base64, "image/png")


def test_a_question_whose_picture_is_gone(tmp_path):
    chain = create_multimodal_qa_chain(Shelf(), model("-"))
    with pytest.raises(ImageError, match=r"picture of the question, .*gone.png"):
        chain.invoke(ImageQuestion(tmp_path / "gone.png"))


@pytest.mark.parametrize("given", ["", "  ", {}, {"question": ""}, {"query": "which?"}, 5, None, {"question": ["a"]}])
def test_a_question_is_needed(given):
    with pytest.raises(InvalidInputError, match="a question is needed"):
        create_multimodal_qa_chain(Shelf(), model("-")).invoke(given)


def test_parts_that_cannot_be_used():
    with pytest.raises(InvalidInputError, match="llm must be a runnable or a function, got str: 'gpt'"):
        create_multimodal_qa_chain(Shelf(), "gpt")
    with pytest.raises(InvalidInputError, match="retriever must be a runnable or a function, got list"):
        create_multimodal_qa_chain(DOCUMENTS, model())
    with pytest.raises(InvalidInputError, match="instructions and prompt are both given"):
        create_multimodal_qa_chain(Shelf(), model(), instructions="a", prompt=lambda variables: [])
    blind = ChatPromptTemplate([("human", "{question}")])
    with pytest.raises(InvalidInputError, match=r"variables \['question'\] and shows no documents"):
        create_multimodal_qa_chain(Shelf(), model(), prompt=blind)
    with pytest.raises(InvalidInputError, match="got one with a str: 'a'"):
        create_multimodal_qa_chain(lambda _: ["a"], model()).invoke("which?")
