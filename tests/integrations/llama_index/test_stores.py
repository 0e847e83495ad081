"""What becomes of each vector store: true cosines, filters, growth, and clear refusals."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.schema import ImageNode, MetadataMode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import (
    ExactMatchFilter,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    SimpleVectorStore,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.simple import SimpleVectorStoreData

from commonscale import Candidates, Question
from commonscale.core.errors import (
    CalibrationMismatchError,
    CommonscaleWarning,
    EncoderMismatchError,
    InvalidInputError,
    ScoreOutOfRangeError,
    SourceError,
    StoreCheckError,
    UnknownScoreKindError,
)
from commonscale.index.document import Document
from commonscale.llama_index import ModalityBalancer, StandardizedMultiModalRetriever
from commonscale.llama_index.catalog import DocstoreNodes, MappedNodes
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from llama_world import DIMENSION, QUESTIONS, TEXTS, World, faiss_store, pairs, retriever_over, simple_store, two_simple
from sources import ArraySource, unit_rows

EVEN = MetadataFilters(filters=[ExactMatchFilter(key="parity", value=0)])


@pytest.fixture
def world() -> World:
    return World()


class OtherStore:
    """A vector store that Commonscale does not know: it keeps nodes and returns what a function makes of cosines."""

    stores_text = True

    def __init__(self, nodes: list[Any], world: World, score: Any = lambda cosines: cosines) -> None:
        self.nodes, self.score = {node.node_id: node for node in nodes}, score
        self.inner = simple_store(nodes)
        self.queries: list[VectorStoreQuery] = []

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self.queries.append(query)
        found = self.inner.query(query)
        nodes = [self.nodes[i] for i in found.ids or []]
        similarities = self.score(np.array(found.similarities)).tolist() if nodes else []
        return VectorStoreQueryResult(nodes=nodes, similarities=similarities)


def request_for(nodes: list[Any], **settings: Any) -> StoreRequest:
    return StoreRequest("text", catalog=MappedNodes({n.node_id: n for n in nodes}), **settings)


def test_simple_store_agrees_with_its_own_query(world: World) -> None:
    store = simple_store(world.mixed_nodes)
    for filters in (None, EVEN):
        source = open_source(store, request_for(world.mixed_nodes, filters=filters))
        found = source.search([Question("", v) for v in world.questions], 7)
        for vector, candidates in zip(world.questions, found, strict=True):
            query = VectorStoreQuery(query_embedding=vector.tolist(), similarity_top_k=7, filters=filters)
            theirs = store.query(query)
            assert list(candidates.ids) == theirs.ids
            assert candidates.cosines.tolist() == pytest.approx(theirs.similarities, abs=1e-6)


def test_simple_store_with_vectors_of_any_norm(world: World) -> None:
    stretched = World(norm=10.0)
    store = simple_store(stretched.text_nodes)
    norms = np.linalg.norm(list(store.data.embedding_dict.values()), axis=1)
    assert norms.min() < 0.2
    assert norms.max() > 5
    retriever = retriever_over(stretched, (store, simple_store(stretched.image_nodes)))
    retriever.calibrate(QUESTIONS, method="standardized")
    assert [i for i, _ in pairs(retriever.retrieve(QUESTIONS[0]))] == [i for i, _ in world.ranking(0, 10)]


def test_simple_store_sees_what_changes(world: World) -> None:
    store = simple_store(world.text_nodes)
    near = TextNode(id_="new", text="new", embedding=world.questions[0].tolist())
    nodes = {node.node_id: node for node in [*world.text_nodes, near]}
    retriever = StandardizedMultiModalRetriever(
        text_store=store, text_nodes=nodes, embed_model=world.model, raw=True, similarity_top_k=1
    )

    def best() -> str:
        return retriever.retrieve(QUESTIONS[0])[0].node.node_id

    first = best()
    store.add([near])
    assert best() == "new"
    near.embedding = (-world.questions[0]).tolist()
    store.add([near])  # replaced under the same id
    assert best() == first
    store.delete_nodes([first])
    assert best() not in (first, "new")
    store.clear()
    assert retriever.retrieve(QUESTIONS[0]) == []


def test_simple_store_without_metadata_cannot_be_split(world: World) -> None:
    data = SimpleVectorStoreData(embedding_dict={"t0": world.questions[0].tolist()})
    with pytest.raises(InvalidInputError, match="persisted without metadata"):
        open_source(SimpleVectorStore(data), request_for(world.text_nodes, mixed=True)).search(
            [Question("", world.questions[0])], 1
        )


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([0.0] * DIMENSION, r"1 of 61 stored vectors have no direction.*\(null\)"),
        ([float("nan")] * DIMENSION, "not finite"),
        ([1.0, 2.0], "do not form a matrix"),
    ],
)
def test_simple_store_with_unusable_vectors(world: World, vector: list[float], message: str) -> None:
    nodes = [*world.text_nodes, TextNode(id_="bad", text="a", embedding=vector)]
    with pytest.raises(InvalidInputError, match=message):
        open_source(simple_store(nodes), request_for(nodes)).search([Question("", world.questions[0])], 3)


@pytest.mark.parametrize("build", [simple_store, faiss_store])
def test_filters_hold_before_the_search(world: World, build: Any) -> None:
    retriever = retriever_over(world, (build(world.mixed_nodes),), filters=EVEN, raw=True, similarity_top_k=50)
    found = [i for i, _ in pairs(retriever.retrieve(QUESTIONS[0]))]
    assert found == [i for i, _ in world.ranking(0, 85, raw=True) if int(i[1:]) % 2 == 0][:50]
    either = MetadataFilters(
        filters=[
            MetadataFilter(key="parity", value=5),
            MetadataFilter(key="parity", operator=FilterOperator.GT, value=0),
        ],
        condition=FilterCondition.OR,
    )
    odd = retriever_over(world, (build(world.mixed_nodes),), filters=either, raw=True)
    assert {int(i[1:]) % 2 for i, _ in pairs(odd.retrieve(QUESTIONS[0]))} == {1}


@pytest.mark.parametrize("metric", ["IP", "L2"])
def test_faiss_with_vectors_that_are_not_of_unit_norm(world: World, metric: str) -> None:
    stretched = World(norm=10.0)
    stores = (faiss_store(stretched.text_nodes, metric), faiss_store(stretched.image_nodes, metric))
    retriever = retriever_over(stretched, stores)
    retriever.calibrate(QUESTIONS, method="standardized")
    found = pairs(retriever.retrieve(QUESTIONS[0]))
    assert [i for i, _ in found] == [i for i, _ in world.ranking(0, 10)]
    assert [s for _, s in found] == pytest.approx([s for _, s in world.ranking(0, 10)], abs=1e-5)


@pytest.mark.parametrize("layout", ["two", "mixed"])
def test_faiss_sees_rows_that_are_added(world: World, layout: str) -> None:
    texts, images = world.text_nodes[:50], world.image_nodes
    if layout == "two":
        rows: list[Any] = list(texts)
        store = faiss_store(rows)
        named: dict[str, Any] = {"text_store": store, "text_nodes": rows}
    else:
        rows = [*texts, *images]
        store = faiss_store(rows)
        named = {"store": store, "nodes": rows}
    retriever = StandardizedMultiModalRetriever(embed_model=world.model, raw=True, similarity_top_k=200, **named)
    assert len(retriever.text_retrieve(QUESTIONS[0])) == 50
    rows.extend(world.text_nodes[50:])
    store.add(world.text_nodes[50:])
    found = [i for i, _ in pairs(retriever.text_retrieve(QUESTIONS[0]))]
    assert found == [i for i, _ in world.ranking(0, 85, raw=True) if i[0] == "t"]
    assert len(found) == TEXTS


def test_faiss_rows_without_nodes(world: World) -> None:
    with pytest.raises(SourceError, match="is not among the 3 nodes given"):
        StandardizedMultiModalRetriever(
            text_store=faiss_store(world.text_nodes),
            text_nodes=world.text_nodes[:3],
            embed_model=world.model,
            raw=True,
            similarity_top_k=100,
        ).retrieve(QUESTIONS[0])


def test_a_question_of_another_dimension(world: World) -> None:
    from llama_index.core.schema import QueryBundle

    for build in (simple_store, faiss_store):
        retriever = retriever_over(world, (build(world.text_nodes), build(world.image_nodes)), raw=True)
        with pytest.raises(InvalidInputError, match=r"vector of shape \(3,\)"):
            retriever.retrieve(QueryBundle("short", embedding=[1.0, 0.0, 0.0]))


def test_an_unknown_store_is_refused_until_its_scores_are_named(world: World) -> None:
    store = OtherStore(world.text_nodes, world)
    with pytest.raises(UnknownScoreKindError, match=r"OtherStore.*SimpleVectorStore, FaissVectorStore.*squared_l2"):
        StandardizedMultiModalRetriever(text_store=store, embed_model=world.model)


@pytest.mark.parametrize(
    ("kind", "score"),
    [
        ("cosine", lambda c: c),
        ("squared_l2", lambda c: 2 - 2 * c),
        ("exp_neg_cosine_distance", lambda c: np.exp(c - 1)),
        (lambda r: 2 * r - 1, lambda c: (c + 1) / 2),
    ],
)
async def test_an_unknown_store_with_a_named_score_kind(world: World, kind: Any, score: Any) -> None:
    stores = OtherStore(world.text_nodes, world, score), OtherStore(world.image_nodes, world)
    retriever = StandardizedMultiModalRetriever(
        text_store=stores[0],
        image_store=stores[1],
        embed_model=world.model,
        score_kind={"text": kind, "image": "cosine"},
    )
    retriever.calibrate(QUESTIONS, method="standardized")
    for found in (retriever.retrieve(QUESTIONS[0]), await retriever.aretrieve(QUESTIONS[0])):
        assert [i for i, _ in pairs(found)] == [i for i, _ in world.ranking(0, 10)]
    assert all(q.node_ids is None and q.filters is None for q in stores[0].queries)


def test_a_wrong_score_kind_is_noticed(world: World) -> None:
    store = OtherStore(world.text_nodes, world, lambda c: 2 - 2 * c)
    settings = {"embed_model": world.model, "score_kind": "cosine", "raw": True, "similarity_top_k": TEXTS}
    with pytest.raises(StoreCheckError, match="numbers are 'squared_l2'"):
        StandardizedMultiModalRetriever(text_store=store, **settings).retrieve(QUESTIONS[0])
    with pytest.raises(ScoreOutOfRangeError):
        StandardizedMultiModalRetriever(text_store=store, check=False, **settings).retrieve(QUESTIONS[0])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, 1),
        (EVEN, 2),
        (MetadataFilters(filters=EVEN.filters, condition=FilterCondition.OR), 2),
    ],
)
def test_a_mixed_unknown_store_is_asked_once_per_modality(world: World, given: Any, expected: int) -> None:
    class Flat(OtherStore):
        """Records filters only: nested ones are for stores that support them."""

        def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
            self.queries.append(query)
            return VectorStoreQueryResult(nodes=[], similarities=[])

    store = Flat(world.mixed_nodes, world)
    retriever = StandardizedMultiModalRetriever(
        store=store,
        embed_model=world.model,
        score_kind="cosine",
        raw=True,
        filters=given,
        modality_key="kind",
        check=False,
    )
    with pytest.warns(CommonscaleWarning, match="in this mixed Flat found none") as warned:
        assert retriever.retrieve(QUESTIONS[0]) == []
    assert [str(w.message).partition("kind=")[2].split(".")[0] for w in warned] == ["'text'", "'image'"]
    last = [query.filters.filters[-1] for query in store.queries]
    assert [(f.key, f.value) for f in last] == [("kind", "text"), ("kind", "image")]
    assert {len(query.filters.filters) for query in store.queries} == {expected}
    assert {query.filters.condition for query in store.queries} == {FilterCondition.AND}
    assert given is None or len(given.filters) == 1


def test_a_mixed_unknown_store_without_labels_is_not_silent(world: World) -> None:
    unlabeled = [TextNode(id_=n.node_id, text="a", embedding=n.embedding) for n in world.text_nodes]
    store = OtherStore([*unlabeled, *world.image_nodes], world)
    retriever = StandardizedMultiModalRetriever(store=store, embed_model=world.model, score_kind="cosine", raw=True)
    with pytest.warns(
        CommonscaleWarning, match="'text' documents in this mixed OtherStore found none.*modality='text'"
    ) as w:
        found = retriever.retrieve(QUESTIONS[0])
    assert len(w) == 1
    assert {i[0] for i, _ in pairs(found)} == {"i"}
    assert len(retriever.retrieve(QUESTIONS[1])) == 10  # said once
    filtered = StandardizedMultiModalRetriever(
        store=store, embed_model=world.model, score_kind="cosine", raw=True, filters=EVEN
    )
    with pytest.warns(CommonscaleWarning, match="asks for documents that pass the filter whose"):
        filtered.retrieve(QUESTIONS[0])


def test_a_mixed_unknown_store_with_labels(world: World) -> None:
    store = OtherStore(world.mixed_nodes, world)
    retriever = StandardizedMultiModalRetriever(store=store, embed_model=world.model, score_kind="cosine", raw=True)
    assert [i for i, _ in pairs(retriever.retrieve(QUESTIONS[0]))] == [i for i, _ in world.ranking(0, 10, raw=True)]


def test_a_store_that_gives_no_scores(world: World) -> None:
    class Silent(OtherStore):
        def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
            return VectorStoreQueryResult(nodes=world.text_nodes[:2])

    retriever = StandardizedMultiModalRetriever(
        text_store=Silent([], world), embed_model=world.model, score_kind="cosine", raw=True
    )
    with pytest.raises(SourceError, match="Silent returned 2 hits with no similarities"):
        retriever.retrieve(QUESTIONS[0])


def test_a_core_source_with_nodes_of_its_own(world: World) -> None:
    source = ArraySource([n.node_id for n in world.text_nodes], world.text_vectors)
    retriever = StandardizedMultiModalRetriever(
        text_store=source, text_nodes={n.node_id: n for n in world.text_nodes}, embed_model=world.model, raw=True
    )
    found = [i for i, _ in pairs(retriever.retrieve(QUESTIONS[0]))]
    assert found == [i for i, _ in world.ranking(0, 85, raw=True) if i[0] == "t"][:10]
    without = StandardizedMultiModalRetriever(text_store=source, embed_model=world.model, raw=True)
    with pytest.raises(SourceError, match="without its node"):
        without.retrieve(QUESTIONS[0])
    with pytest.raises(InvalidInputError, match="filters= cannot be applied"):
        StandardizedMultiModalRetriever(text_store=source, embed_model=world.model, filters=EVEN)


def test_a_core_source_with_documents(world: World) -> None:
    from commonscale.index import Document

    class Documents:
        def search(self, questions: Any, k: int) -> list[Candidates]:
            picture = Document("p", "image", text="a bus", path="bus.png", metadata={"a": 1})
            return [Candidates(["p"], np.array([0.5]), [picture]) for _ in questions]

    node = (
        StandardizedMultiModalRetriever(image_store=Documents(), embed_model=world.model, raw=True)
        .retrieve(QUESTIONS[0])[0]
        .node
    )
    assert isinstance(node, ImageNode)
    assert (node.node_id, node.text, node.image_path, node.metadata["a"]) == ("p", "a bus", "bus.png", 1)
    assert (node.metadata["source"], node.metadata["modality"]) == ("bus.png", "image")


def test_documents_of_our_own_index_keep_modality_and_path(world: World) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import Document, MemoryIndex

    index = MemoryIndex(DIMENSION)
    documents = [
        Document("t", "text", text="words", path="folder/a.txt", metadata={"page": 3}),
        Document("own", "text", text="more words", path="b.txt", metadata={"source": "the archive"}),
        Document("bare", "text", text="no file"),
        Document("i", "image", text="a bus", path="bus.png"),
        Document("a1", "audio", text="a transcript", path="one.wav"),
        Document("a2", "audio", path="two.wav"),
    ]
    index.add(documents, world.text_vectors[: len(documents)])
    retriever = StandardizedMultiModalRetriever(
        store=index, modalities=("text", "image", "audio"), embed_model=world.model, raw=True, modality_key="kind"
    )
    found = retriever.retrieve(QUESTIONS[0])
    nodes = {n.node.node_id: n.node for n in found}
    told = {i: {k: v for k, v in node.metadata.items() if "commonscale" not in k} for i, node in nodes.items()}
    assert told == {
        "t": {"kind": "text", "source": "folder/a.txt", "page": 3},
        "own": {"kind": "text", "source": "the archive"},
        "bare": {"kind": "text"},
        "i": {"kind": "image", "source": "bus.png"},
        "a1": {"kind": "audio", "source": "one.wav"},
        "a2": {"kind": "audio", "source": "two.wav"},
    }
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert nodes["t"].get_content(mode) == "page: 3\n\nwords"
        assert nodes["own"].get_content(mode) == "source: the archive\n\nmore words"
        assert nodes["a1"].get_content(mode).strip() == "a transcript"
    assert index.get("t") == documents[0]
    for key in ("kind", "modality"):  # the second is nowhere: where a node was found tells then
        one = ModalityBalancer(maximum={"audio": 1}, modality_key=key).postprocess_nodes(found)
        assert sorted(n.node.node_id[0] for n in one) == ["a", "b", "i", "o", "t"]
        none = ModalityBalancer(maximum={"text": 0}, modality_key=key).postprocess_nodes(found)
        assert {n.node.node_id for n in none} == {"i", "a1", "a2"}


class Mapped(Mapping[str, TextNode]):
    """Nodes behind something that need not be a plain object in memory."""

    def __init__(self, nodes: list[Any]) -> None:
        self.nodes = {node.node_id: node for node in nodes}

    def __getitem__(self, key: str) -> Any:
        return self.nodes[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)


class Everything(ArraySource):
    """All vectors of the world in one core source, as ids; the nodes come from elsewhere, or are its payloads."""

    def __init__(self, world: World, payloads: Any = None) -> None:
        nodes = [*world.text_nodes, *world.image_nodes]
        super().__init__([n.node_id for n in nodes], np.concatenate([world.text_vectors, world.image_vectors]))
        self.payloads = payloads

    def search(self, questions: Any, k: int) -> Any:
        found = super().search(questions, k)
        if self.payloads is None:
            return found
        return [Candidates(c.ids, c.cosines, [self.payloads[i] for i in c.ids]) for c in found]


class EverythingAsync(Everything):
    async def asearch(self, questions: Any, k: int) -> Any:
        return self.search(questions, k)


@pytest.mark.parametrize("kind", [Everything, EverythingAsync])
@pytest.mark.parametrize("held", ["nodes", "payloads", "documents", "docstore"])
async def test_a_core_source_may_hold_several_modalities(world: World, kind: Any, held: str) -> None:
    """Texts are all nearer than images, so images are found only by searching deeper."""
    nodes = {n.node_id: n for n in [*world.text_nodes, *world.image_nodes]}
    documents = {i: Document(i, "image" if i[0] == "i" else "text", text=i, path=f"{i}.png") for i in nodes}
    docstore = SimpleDocumentStore()
    docstore.add_documents(list(nodes.values()))
    payloads, settings = {
        "nodes": (None, {"nodes": nodes}),
        "payloads": (nodes, {}),
        "documents": (documents, {}),
        "docstore": (None, {"docstore": docstore}),
    }[held]
    store = kind(world, payloads)
    retriever = StandardizedMultiModalRetriever(store=store, embed_model=world.model, similarity_top_k=10, **settings)
    retriever.calibrate(QUESTIONS, method="standardized")
    for question in (0, 7):
        expected = [i for i, _ in world.ranking(question, 10)]
        assert {i[0] for i in expected} == {"t", "i"}
        found = retriever.retrieve(QUESTIONS[question])
        assert [i for i, _ in pairs(found)] == expected
        told = {n.node.node_id[0]: n.node.metadata["commonscale_modality"] for n in found}
        assert told == {"t": "text", "i": "image"}
        assert pairs(await retriever.aretrieve(QUESTIONS[question])) == pairs(found)
    images = retriever.text_to_image_retrieve(QUESTIONS[0])
    assert len(images) == 10
    assert all(isinstance(n.node, ImageNode) for n in images)


def test_a_core_source_of_several_modalities_needs_nodes_to_tell_them_apart(world: World) -> None:
    retriever = StandardizedMultiModalRetriever(store=Everything(world), embed_model=world.model, raw=True)
    with pytest.raises(SourceError, match=r"Everything returned the document '.*' without its node; .*docstore="):
        retriever.retrieve(QUESTIONS[0])


def test_which_stores_helping_threads_may_search(world: World) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import MemoryIndex

    class Willing(ArraySource):
        concurrent = True

    nodes, ids = world.text_nodes, [n.node_id for n in world.text_nodes]
    named = StoreRequest("text", score_kind="cosine")
    rows = StoreRequest("text", catalog=MappedNodes(nodes))
    docstore = SimpleDocumentStore()
    docstore.add_documents(nodes)
    elsewhere = KVDocumentStore(SimpleKVStore())
    expected = [
        (simple_store(nodes), request_for(nodes), True),
        (faiss_store(nodes), rows, True),
        (MemoryIndex(DIMENSION), StoreRequest("text"), True),
        (Willing(ids, world.text_vectors), rows, True),
        (simple_store(nodes), StoreRequest("text", catalog=DocstoreNodes(docstore)), True),
        # Connections may belong to the thread that opened them, so a docstore or mapping of unknown kind is left alone.
        (simple_store(nodes), StoreRequest("text", catalog=DocstoreNodes(elsewhere)), False),
        (simple_store(nodes), StoreRequest("text", catalog=MappedNodes(Mapped(nodes))), False),
        (ArraySource(ids, world.text_vectors), rows, False),
        (OtherStore(nodes, world), named, False),
    ]
    for store, request, concurrent in expected:
        assert getattr(open_source(store, request), "concurrent", False) is concurrent, type(store).__name__


def test_sources_of_the_users_own_are_searched_in_the_callers_thread(world: World) -> None:
    seen = []

    class Watching(ArraySource):
        def search(self, questions: Any, k: int) -> Any:
            seen.append(threading.current_thread())
            return super().search(questions, k)

    retriever = StandardizedMultiModalRetriever(
        text_store=Watching([n.node_id for n in world.text_nodes], world.text_vectors),
        image_store=Watching([n.node_id for n in world.image_nodes], world.image_vectors),
        embed_model=world.model,
        raw=True,
        similarity_top_k=1,
    )
    retriever._search.search(Question("", world.questions[0]), 1, raw=True)
    assert seen == [threading.current_thread()] * 2


def test_a_bare_faiss_index_is_no_store(world: World) -> None:
    faiss: Any = pytest.importorskip("faiss")
    with pytest.raises(InvalidInputError, match=r"FaissVectorStore\(faiss_index"):
        StandardizedMultiModalRetriever(text_store=faiss.IndexFlatIP(3), embed_model=world.model)


def test_a_calibration_of_another_model_is_refused(world: World) -> None:
    calibration = two_simple(world).calibration
    other = World(seed=1)
    other.model.model_name = "another"
    with pytest.raises(CalibrationMismatchError, match=r"FixedEmbedding:fixed.*FixedEmbedding:another"):
        retriever_over(
            other, (simple_store(other.text_nodes), simple_store(other.image_nodes)), calibration=calibration
        )
    named = OtherStore(world.text_nodes, world)
    with pytest.raises(CalibrationMismatchError, match="score kind 'cosine', not 'squared_l2'"):
        StandardizedMultiModalRetriever(
            text_store=named, embed_model=world.model, calibration=calibration, score_kind="squared_l2"
        )


def test_an_index_of_another_encoder_is_refused(tmp_path: Any) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import Document, FaissIndex

    class Encoder:
        dimension, fingerprint = 4, "mine"

        def encode_questions(self, texts: list[str]) -> np.ndarray:
            return unit_rows(np.random.default_rng(len(texts)), len(texts), 4)

        encode_texts = encode_images = encode_questions

    index = FaissIndex.create(tmp_path / "index", 4, encoder_fingerprint="theirs")
    index.add([Document("a", "text", text="words")], Encoder().encode_texts(["words"]))
    with pytest.raises(EncoderMismatchError, match=r"'theirs'.*'mine'"):
        StandardizedMultiModalRetriever(store=index, embed_model=Encoder())
    with pytest.raises(InvalidInputError, match="no metadata filters"):
        StandardizedMultiModalRetriever(store=index, embed_model=Encoder(), filters=EVEN)


def test_our_own_index_is_not_loaded_before_it_is_used() -> None:
    code = (
        "import sys, commonscale.llama_index; "
        "print([m for m in sys.modules if m.startswith(('commonscale.index', 'commonscale.encoders', 'faiss'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_map_store_that_gives_numbers_away_twice_is_refused(world: World) -> None:
    faiss: Any = pytest.importorskip("faiss")
    module = pytest.importorskip("llama_index.vector_stores.faiss")
    store = module.FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(DIMENSION)))
    store.add(world.text_nodes[:10])
    retriever = StandardizedMultiModalRetriever(
        text_store=store, text_nodes={n.node_id: n for n in world.text_nodes}, embed_model=world.model, raw=True
    )
    assert len(retriever.retrieve(QUESTIONS[0])) == 10
    store.delete_nodes(["t3"])
    found = [i for i, _ in pairs(retriever.retrieve(QUESTIONS[0]))]
    assert sorted(found) == [f"t{i}" for i in range(10) if i != 3]
    store.add(world.text_nodes[10:12])  # The first of them gets the number of t9.
    with pytest.raises(SourceError, match="gives the number of a deleted row away again"):
        retriever.retrieve(QUESTIONS[0])
