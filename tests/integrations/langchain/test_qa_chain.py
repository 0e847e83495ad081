"""The question answering chain through the real packages of three providers, down to the bodies of their requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL")

from langchain_core.documents import Document

from chat_providers import Part, Provider, serve_provider
from commonscale.core.errors import SkippedImageWarning
from commonscale.encoders.images import ImageOptions
from commonscale.langchain import StandardizedMultiModalRetriever, create_multimodal_qa_chain
from commonscale.prompting import ANSWER_INSTRUCTIONS, Budget, Pictures
from loopback import serve_file

# Google's client makes a subclass of aiohttp's session, which aiohttp would rather it did not.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

QUESTION = "what stands in the yard"
ANSWER = "a bus [2] and a [9] tin can [1][2]"


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures([tmp_path])


@pytest.fixture
def chain(pictured: StandardizedMultiModalRetriever, provider: Provider, pictures: Pictures) -> Any:
    provider.server.answer = ANSWER
    return create_multimodal_qa_chain(pictured, provider.model, pictures=pictures)


def expected(documents: list[Document], pictures: Pictures) -> list[Part]:
    """What a provider is to be sent: numbered documents in ranked order, each picture right behind its number."""
    parts = [("system", "text", ANSWER_INSTRUCTIONS), ("user", "text", "<documents>")]
    for number, document in enumerate(documents, start=1):
        parts.append(("user", "text", f"[{number}] {document.page_content}".rstrip()))
        if "image_path" in document.metadata:
            picture = pictures.prepare(document.metadata["image_path"])
            parts.append(("user", "image", f"data:{picture.mime_type};base64,{picture.base64}"))
    return [*parts, ("user", "text", f"</documents>\n\nQuestion: {QUESTION}")]


def check(answer: dict[str, Any], provider: Provider, found: list[Document], pictures: Pictures) -> None:
    assert {document.metadata["commonscale_modality"] for document in found} == {"text", "image"}
    assert provider.seen == expected(found, pictures)
    assert len(provider.server.requests) == 1
    assert answer["question"] == QUESTION
    assert answer["answer"] == ANSWER
    numbered = [
        document.model_copy(update={"metadata": {**document.metadata, "commonscale_number": number}})
        for number, document in enumerate(found, start=1)
    ]
    assert answer["sources"] == numbered
    assert all(isinstance(source.metadata["commonscale_score"], float) for source in answer["sources"])
    citations = answer["citations"]
    assert [(cited.number, cited.item.id) for cited in citations.cited] == [(2, found[1].id), (1, found[0].id)]
    assert citations.cited[0].item.payload == found[1]
    assert [ANSWER[start:end] for start, end in citations.cited[0].spans] == ["[2]", "[2]"]
    assert citations.unknown == (9,)
    assert answer["left_out"] == []


def test_documents_arrive_numbered_in_ranked_order(chain, provider, pictured, pictures):
    check(chain.invoke(QUESTION), provider, pictured.invoke(QUESTION), pictures)


async def test_asynchronously(chain, provider, pictured, pictures):
    check(await chain.ainvoke({"question": QUESTION}), provider, await pictured.ainvoke(QUESTION), pictures)


def check_chunks(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Sources first, then words, last the citations; the sum is the answer."""
    first, *words, last = chunks
    assert set(first) == {"question", "sources", "left_out"}
    assert [set(chunk) for chunk in words] == [{"answer"}] * len(words)
    assert len(words) > 3
    assert all(chunk["answer"] for chunk in words)
    assert set(last) == {"answer", "citations"}
    total: Any = first
    for chunk in [*words, last]:
        total = total + chunk
    return total


def test_streaming(chain, provider, pictured, pictures):
    check(check_chunks(list(chain.stream(QUESTION))), provider, pictured.invoke(QUESTION), pictures)


async def test_streaming_asynchronously(chain, provider, pictured, pictures):
    chunks = [chunk async for chunk in chain.astream(QUESTION)]
    check(check_chunks(chunks), provider, pictured.invoke(QUESTION), pictures)


def test_a_budget_leaves_out_and_says_why(pictured, provider, pictures):
    chain = create_multimodal_qa_chain(
        pictured, provider.model, budget=Budget(images=1, maximum={"text": 1}), pictures=pictures
    )
    answer = chain.invoke(QUESTION)
    found = pictured.invoke(QUESTION)
    kept = [next(d for d in found if d.metadata["modality"] == modality) for modality in ("text", "image")]
    kept.sort(key=found.index)
    assert [source.id for source in answer["sources"]] == [document.id for document in kept]
    assert provider.seen == expected(kept, pictures)
    dropped = [document for document in found if document not in kept]
    assert [left.item.payload for left in answer["left_out"]] == dropped
    assert {(left.item.modality, left.reason) for left in answer["left_out"]} == {
        ("text", "maximum"),
        ("image", "images"),
    }


def test_a_bad_picture_drops_out_with_a_note(pictured, provider, pictures, tmp_path):
    found = pictured.invoke(QUESTION)
    bad = next(document for document in found if document.metadata["modality"] == "image")
    Path(bad.metadata["image_path"]).write_bytes(b"no picture")
    chain = create_multimodal_qa_chain(pictured, provider.model, pictures=pictures)
    with pytest.warns(SkippedImageWarning, match=f"of document '{bad.id}' cannot be sent"):
        answer = chain.invoke(QUESTION)
    assert provider.seen == expected([document for document in found if document is not bad], pictures)
    assert [(left.item.id, left.reason) for left in answer["left_out"]] == [(bad.id, "picture")]


def test_without_permission_no_file_is_sent(pictured, provider):
    with pytest.warns(SkippedImageWarning, match="no file may be read"):
        answer = create_multimodal_qa_chain(pictured, provider.model).invoke(QUESTION)
    assert {kind for _, kind, _ in provider.seen} == {"text"}
    assert {left.reason for left in answer["left_out"]} == {"picture"}


def web_document(url: str) -> list[Document]:
    return [Document("a tram", id="w", metadata={"modality": "image", "image_url": url})]


@pytest.mark.parametrize("name", ["openai", "responses", "anthropic"])
def test_urls_are_passed_on_if_allowed(name, loopback_only):
    with serve_provider(name) as provider:
        chain = create_multimodal_qa_chain(
            lambda _: web_document("https://example.org/tram.png"), provider.model, pictures=Pictures(urls="pass")
        )
        chain.invoke(QUESTION)
        assert provider.seen[2:4] == [
            ("user", "text", "[1] a tram"),
            ("user", "url", "https://example.org/tram.png"),
        ]


def test_googles_client_fetches_urls_from_here(pictures, tmp_path, loopback_only):
    """What docs/langchain-qa.md warns of: "pass" does not keep this machine from fetching."""
    Path(tmp_path / "a.png").write_bytes(tiny_png())
    allowed = ImageOptions(allow_private_addresses=True)
    with serve_provider("google") as provider, serve_file(tiny_png(), "image/png") as (address, asked):
        chain = create_multimodal_qa_chain(
            lambda _: web_document(f"{address}/a.png"), provider.model, pictures=Pictures(urls="pass", options=allowed)
        )
        chain.invoke(QUESTION)
        assert len(asked) == 1
        assert asked[0].startswith("python-requests")
        assert provider.seen[3][:2] == ("user", "image")


def test_urls_are_downloaded_if_asked_for(pictures, tmp_path, provider):
    (tmp_path / "a.png").write_bytes(tiny_png())
    allowed = ImageOptions(allow_private_addresses=True)
    with serve_file(tiny_png(), "image/png") as (address, asked):
        download = Pictures(urls="download", options=allowed)
        chain = create_multimodal_qa_chain(
            lambda _: web_document(f"{address}/a.png"), provider.model, pictures=download
        )
        chain.invoke(QUESTION)
        chain.invoke(QUESTION)
        assert len(asked) == 1
    picture = pictures.prepare(tmp_path / "a.png")
    assert provider.seen[3] == ("user", "image", f"data:image/png;base64,{picture.base64}")


def tiny_png() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), "red").save(buffer, "PNG")
    return buffer.getvalue()
