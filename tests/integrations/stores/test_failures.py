"""Real stores whose server is down, silent, or dies between the two modalities, in both frameworks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from commonscale import Calibration, FailurePolicy, ModalityCalibration, ModalityStatistics
from commonscale.core.errors import MissingModalityWarning, SourceUnavailableError
from commonscale.core.passing import PASSING, is_passing
from store_suite import chroma, forms, postgres
from store_suite.corpus import QUESTIONS, Corpus
from store_suite.kind import Place
from store_suite.loopback import Loopback, closed_port, serve_loopback

FRAMEWORKS = ["llama_index", "langchain"]
MODES = ["sync", "async"]
K = 5
ONCE = FailurePolicy(attempts=1)
SKIP = FailurePolicy(attempts=1, on_failure="skip")


@dataclass
class Bench:
    """A corpus whose texts are in memory, and retrievers over it and a store of images."""

    framework: str
    corpus: Corpus = field(default_factory=Corpus)

    @property
    def calibration(self) -> Calibration:
        """The exact one."""
        return Calibration(
            {m: ModalityCalibration(ModalityStatistics(*s, 40)) for m, s in self.corpus.statistics().items()}
        )

    def texts(self) -> dict[str, Any]:
        """The texts in the framework's own store in memory, as a retriever's arguments."""
        items = self.corpus.of("text")
        if self.framework == "langchain":
            from langchain_core.vectorstores import InMemoryVectorStore

            in_memory = InMemoryVectorStore(forms.lc_embeddings())
            forms.add_documents(in_memory, items)
            return {"text_store": in_memory}
        from llama_index.core.vector_stores import SimpleVectorStore

        simple = SimpleVectorStore()
        forms.add_nodes(simple, items)
        return {"text_store": simple, "text_nodes": {node.node_id: node for node in forms.nodes(items)}}

    def retriever(self, stores: dict[str, Any], failures: FailurePolicy) -> Any:
        """A calibrated retriever."""
        settings: dict[str, Any] = {**stores, "calibration": self.calibration, "failures": failures}
        if self.framework == "langchain":
            from commonscale.langchain import StandardizedMultiModalRetriever as ForLangChain

            return ForLangChain(k=K, embeddings=forms.lc_embeddings(questions=self.corpus.vectors), **settings)
        from commonscale.llama_index import StandardizedMultiModalRetriever as ForLlamaIndex
        from llama_world import FixedEmbedding

        model = FixedEmbedding(vectors=self.corpus.vectors)
        return ForLlamaIndex(similarity_top_k=K, embed_model=model, **settings)

    async def ask(self, mode: str, retriever: Any, question: str = QUESTIONS[0]) -> list[Any]:
        """Retrieve nodes or documents for a question."""
        names = ("retrieve", "aretrieve") if self.framework == "llama_index" else ("invoke", "ainvoke")
        if mode == "sync":
            # Not in the thread of an event loop that is running: some synchronous stores make one of their own.
            found = await asyncio.to_thread(getattr(retriever, names[0]), question)
        else:
            found = await getattr(retriever, names[1])(question)
        return [hit.node if self.framework == "llama_index" else hit for hit in found]

    async def calibrate(self, mode: str, retriever: Any, method: str = "standardized") -> None:
        """Calibrate."""
        if mode == "sync":
            await asyncio.to_thread(retriever.calibrate, list(QUESTIONS), method=method)
        else:
            await retriever.acalibrate(list(QUESTIONS), method=method)


@pytest.fixture(params=FRAMEWORKS)
def bench(request: pytest.FixtureRequest) -> Bench:
    pytest.importorskip("llama_index.core" if request.param == "llama_index" else "langchain_core")
    return Bench(request.param)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, 16, request.getfixturevalue)
    yield made
    made.close()


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with serve_loopback() as server:
        yield server


def qdrant(bench: Bench, place: Place, port: int) -> Any:
    """A real Qdrant store with real clients of the server at a port."""
    client_module = pytest.importorskip("qdrant_client")
    address: dict[str, Any] = {"url": f"http://127.0.0.1:{port}", "timeout": 60, "check_compatibility": False}
    client = client_module.QdrantClient(**address)
    place.on_close(client.close)
    if bench.framework == "langchain":
        module = pytest.importorskip("langchain_qdrant")
        return module.QdrantVectorStore(client, "images", forms.lc_embeddings(), validate_collection_config=False)
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    return module.QdrantVectorStore("images", client=client, aclient=client_module.AsyncQdrantClient(**address))


def missing(hits: list[Any]) -> list[Any]:
    return [hit.metadata.get("commonscale_missing") for hit in hits]


def id_of(hit: Any) -> str:
    return str(getattr(hit, "node_id", None) or hit.id)


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_that_is_down(bench: Bench, place: Place, loopback: Loopback, mode: str) -> None:
    stores = {**bench.texts(), "image_store": qdrant(bench, place, loopback.port)}
    loopback.stop()
    policy = FailurePolicy(backoff=0)
    with pytest.raises(
        SourceUnavailableError,
        match=r"the QdrantVectorStore of modality 'image' cannot be searched after 3 attempts: .*refused",
    ) as caught:
        await bench.ask(mode, bench.retriever(stores, policy))
    assert type(caught.value.__cause__).__name__ == "ResponseHandlingException"
    with pytest.warns(MissingModalityWarning, match="without modality 'image'.*QdrantVectorStore.*refused"):
        hits = await bench.ask(mode, bench.retriever(stores, SKIP))
    assert [id_of(hit) for hit in hits] == bench.corpus.nearest(0, K, "text")
    assert [list(why) for why in missing(hits)] == [["image"]] * K
    assert "QdrantVectorStore of modality 'image' cannot be searched" in missing(hits)[0]["image"]


@pytest.mark.parametrize("method", ["standardized", "chance"])
@pytest.mark.parametrize("mode", MODES)
async def test_calibrating_with_a_server_down_raises_and_changes_nothing(
    bench: Bench, place: Place, loopback: Loopback, mode: str, method: str
) -> None:
    retriever = bench.retriever({**bench.texts(), "image_store": qdrant(bench, place, loopback.port)}, SKIP)
    loopback.stop()
    in_use = retriever.calibration
    with pytest.raises(SourceUnavailableError, match="QdrantVectorStore of modality 'image' cannot be searched"):
        await bench.calibrate(mode, retriever, method)
    assert retriever.calibration is in_use


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_that_never_answers(bench: Bench, place: Place, loopback: Loopback, mode: str) -> None:
    stores = {**bench.texts(), "image_store": qdrant(bench, place, loopback.port)}
    policy = FailurePolicy(timeout=0.3, attempts=2, backoff=0)
    retriever, patient = bench.retriever(stores, policy), bench.retriever(stores, FailurePolicy(0.3, 1, "skip"))
    loopback.fall_silent()
    try:
        with pytest.raises(SourceUnavailableError, match=r"after 2 attempts: TimeoutError: no answer within 0\.3 s"):
            await bench.ask(mode, retriever)
        with pytest.warns(MissingModalityWarning, match=r"no answer within 0\.3 s.*raise timeout="):
            hits = await bench.ask(mode, patient)
    finally:
        loopback.stop()
    assert loopback.asked >= 2
    assert [id_of(hit) for hit in hits] == bench.corpus.nearest(0, K, "text")
    assert [list(why) for why in missing(hits)] == [["image"]] * K


async def test_the_event_loop_turns_while_a_server_is_silent(bench: Bench, place: Place, loopback: Loopback) -> None:
    retriever = bench.retriever({**bench.texts(), "image_store": qdrant(bench, place, loopback.port)}, ONCE)
    loopback.fall_silent()
    task = asyncio.ensure_future(bench.ask("async", retriever))
    turns = 0
    # The request leaves the loop's thread, so it arrives while the loop turns; then nothing comes back.
    while not loopback.asked:
        await asyncio.sleep(0)
        turns += 1
    for _ in range(100):
        await asyncio.sleep(0)
    assert turns > 1
    assert not task.done()
    loopback.stop()
    with pytest.raises(SourceUnavailableError, match="modality 'image' cannot be searched: ResponseHandlingException"):
        await task


async def test_each_question_may_have_its_own_policy(place: Place, loopback: Loopback) -> None:
    pytest.importorskip("langchain_core")
    bench = Bench("langchain")
    retriever = bench.retriever({**bench.texts(), "image_store": qdrant(bench, place, loopback.port)}, ONCE)
    loopback.stop()
    with pytest.warns(MissingModalityWarning):
        assert len(retriever.invoke(QUESTIONS[0], failures=SKIP)) == K
    with pytest.warns(MissingModalityWarning):
        assert len(await retriever.bind(failures=SKIP).ainvoke(QUESTIONS[0])) == K
    with pytest.raises(SourceUnavailableError):
        retriever.invoke(QUESTIONS[0])


def test_what_is_missing_is_hidden_from_models(place: Place, loopback: Loopback) -> None:
    schema = pytest.importorskip("llama_index.core.schema")
    bench = Bench("llama_index")
    retriever = bench.retriever({**bench.texts(), "image_store": qdrant(bench, place, loopback.port)}, ONCE)
    loopback.stop()
    retriever.failures = SKIP
    with pytest.warns(MissingModalityWarning):
        node = retriever.retrieve(QUESTIONS[0])[0].node
    assert node.metadata["commonscale_missing"]["image"]
    for mode in (schema.MetadataMode.LLM, schema.MetadataMode.EMBED):
        assert "commonscale_missing" not in node.get_content(mode)


def test_a_store_that_cannot_even_be_opened(bench: Bench, place: Place, loopback: Loopback) -> None:
    """Chroma asks its server when a store is opened: with the server gone, the retriever says which store it was."""
    pytest.importorskip("chromadb")
    from commonscale.core.attempts import opened

    store = qdrant(bench, place, loopback.port)
    client = store._client if bench.framework == "llama_index" else store.client
    loopback.stop()
    with pytest.raises(
        SourceUnavailableError, match=r"the QdrantVectorStore of modality 'image' cannot be opened: .*refused"
    ):
        opened("image", store, lambda: client.collection_exists("images"))
    with pytest.raises(KeyError, match="mine"):
        opened("image", store, lambda: {}["mine"])


def chroma_stores(bench: Bench, place: Place, ports: int) -> tuple[dict[str, Any], list[Any]]:
    """Both modalities in one real Chroma server, each with a client of its own."""
    stores, clients = {}, []
    for modality in ("text", "image"):
        own = Place(place.folder, 16, lambda _: ports)
        opener = chroma.li_open if bench.framework == "llama_index" else chroma.lc_open
        store = opener("server", "cosine", own)
        (forms.add_nodes if bench.framework == "llama_index" else forms.add_documents)(store, bench.corpus.of(modality))
        stores[f"{modality}_store"] = store
        client = store._collection
        clients.append(client._client._session)
        place.on_close(own.close)
    return stores, clients


def stop_between(first: Any, second: Any, stop: Callable[[], None]) -> None:
    """Stop a server after it has answered one HTTP client's search, when the other's is about to be sent."""
    answered = threading.Event()

    def after(response: Any) -> None:
        if response.request.url.path.endswith("/query"):
            response.read()
            answered.set()

    def before(request: Any) -> None:
        if request.url.path.endswith("/query"):
            assert answered.wait(30)
            stop()

    first.event_hooks = {"response": [after]}
    second.event_hooks = {"request": [before]}


@pytest.mark.parametrize("mode", MODES)
async def test_a_chroma_server_that_dies_between_the_modalities(bench: Bench, place: Place, mode: str) -> None:
    pytest.importorskip("chromadb")
    pytest.importorskip("langchain_chroma" if bench.framework == "langchain" else "llama_index.vector_stores.chroma")
    with ExitStack() as server:
        stores, (texts, images) = chroma_stores(bench, place, server.enter_context(chroma.serve_chroma()))
        retriever = bench.retriever(stores, FailurePolicy(attempts=2, backoff=0, on_failure="skip"))
        await bench.calibrate(mode, retriever)
        both = await bench.ask(mode, retriever)
        assert [id_of(hit) for hit in both] == [i for i, _ in bench.corpus.ranking(0, K)]
        assert missing(both) == [None] * K
        stop_between(texts, images, server.close)
        with pytest.warns(MissingModalityWarning, match="'image'.*cannot be searched after 2 attempts"):
            alone = await bench.ask(mode, retriever)
        assert [id_of(hit) for hit in alone] == bench.corpus.nearest(0, K, "text")
        assert [list(why) for why in missing(alone)] == [["image"]] * K
        with pytest.raises(SourceUnavailableError, match=r"none of the 2 modalities can be searched: .*Chroma.*Chroma"):
            await bench.ask(mode, retriever)


async def test_a_postgres_server_that_is_stopped(bench: Bench, place: Place) -> None:
    if postgres.no_server():
        pytest.skip(str(postgres.no_server()))
    pytest.importorskip(
        "langchain_postgres" if bench.framework == "langchain" else "llama_index.vector_stores.postgres"
    )
    with ExitStack() as server:
        running = server.enter_context(postgres.serve_postgres())
        own = Place(place.folder, 16, lambda _: running)
        make = postgres.li_make() if bench.framework == "llama_index" else postgres.lc_make("COSINE_DISTANCE")
        store = await asyncio.to_thread(make, own, bench.corpus.of("image"))
        place.on_close(own.close)
        stores = {**bench.texts(), "image_store": store}
        retriever = bench.retriever(stores, SKIP)
        expected = [i for i, _ in bench.corpus.ranking(0, K)]
        for mode in MODES:
            assert [id_of(hit) for hit in await bench.ask(mode, retriever)] == expected
        server.close()
        for mode in MODES:
            with pytest.warns(MissingModalityWarning, match="PGVectorStore of modality 'image' cannot be searched"):
                alone = await bench.ask(mode, retriever)
            assert [id_of(hit) for hit in alone] == bench.corpus.nearest(0, K, "text")
            with pytest.raises(SourceUnavailableError, match="PGVectorStore of modality 'image'"):
                await bench.ask(mode, bench.retriever(stores, ONCE))


MODULES = {
    "asyncpg": ["asyncpg"],
    "chromadb": ["chromadb.errors"],
    "lancedb": ["lancedb.remote.errors"],
    "opensearchpy": ["opensearchpy.exceptions"],
    "pymilvus": ["pymilvus.exceptions"],
    "qdrant_client": ["qdrant_client.http.exceptions", "qdrant_client.common.client_exceptions"],
    "requests": ["requests.exceptions"],
    "sqlalchemy": ["sqlalchemy.exc"],
    "urllib3": ["urllib3.exceptions"],
    "weaviate": ["weaviate.exceptions"],
    "asyncio": ["asyncio.exceptions"],
    "concurrent": ["concurrent.futures._base"],
    "http": ["http.client"],
}
"""Where a package's errors are, if not in its top module."""


@pytest.mark.parametrize("name", [name for name in PASSING if not name.startswith("builtins.")])
def test_every_error_in_the_table_is_a_class_of_its_package(name: str) -> None:
    package, _, cls = name.partition(".")
    pytest.importorskip(package)
    modules = [import_module(module) for module in MODULES.get(package, [package])]
    found = next(getattr(module, cls) for module in modules if hasattr(module, cls))
    made = found.__new__(found)
    if found.__module__.partition(".")[0] == package:
        assert is_passing(made) is PASSING[name]
    else:
        # Since Python 3.11 these are names of the built-in TimeoutError.
        assert found is TimeoutError
        assert PASSING[name]


def test_a_closed_port_refuses() -> None:
    httpx = pytest.importorskip("httpx")
    with pytest.raises(httpx.ConnectError) as caught:
        httpx.get(f"http://127.0.0.1:{closed_port()}")
    assert is_passing(caught.value)
