"""What is particular to Milvus in LlamaIndex: metrics and indexes, event loops, filters, foreign collections."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.vector_stores.milvus")
pytest.importorskip("milvus_lite")

from llama_index.core.schema import ImageNode, TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    SimpleVectorStore,
    VectorStoreQuery,
)
from pymilvus import DataType, MilvusException

from commonscale import Question, to_cosine
from commonscale.core.errors import CommonscaleWarning, InvalidInputError, UnknownScoreKindError
from commonscale.core.passing import is_passing
from commonscale.core.types import Hit
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from commonscale.stores import milvus as milvus_module
from sources import unit_rows
from store_suite import forms
from store_suite.kind import Place
from store_suite.milvus import li_open

DIMENSION = 4
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One file of Milvus Lite for all tests; each has collections of its own."""
    made = Place(tmp_path_factory.mktemp("milvus"), DIMENSION, lambda name: pytest.fail(f"no server {name} is needed"))
    yield made
    made.close()


@pytest.fixture
def make(place: Place) -> Make:
    def opened(nodes: list[Any] | None = None, metric: str = "COSINE", **settings: Any) -> Any:
        place.name = f"c{uuid.uuid4().hex}"
        store = li_open(metric, place, overwrite=True, **settings)
        if nodes:
            store.add(nodes)
        return store

    return opened


def question(vector: Any) -> Question:
    return Question(vector=np.asarray(vector, np.float32))


ASKED = question([1.0, 0.0, 0.0, 0.0])


def nodes(vectors: Any, metadata: Callable[[int], Any] = lambda place: {"place": place}) -> list[TextNode]:
    return [
        TextNode(id_=f"n{place}", text=f"text {place}", embedding=vector, metadata=metadata(place))
        for place, vector in enumerate(np.asarray(vectors, np.float64).tolist())
    ]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return unit_rows(np.random.default_rng(0), 30, DIMENSION)


@pytest.mark.parametrize(("metric", "kind"), [("COSINE", "cosine"), ("IP", "inner_product"), ("L2", "squared_l2")])
def test_the_self_check_is_told_what_milvus_returns(metric: str, kind: str, rows: np.ndarray, make: Make) -> None:
    probe = open_source(make(nodes(rows), metric), StoreRequest("text")).probe([question(rows[3])], 5)[0]
    assert probe.kind == kind
    assert probe.vectors == pytest.approx(rows[[int(node_id[1:]) for node_id in probe.ids]])
    assert to_cosine(probe.numbers, kind) == pytest.approx(probe.vectors @ rows[3], abs=1e-5)


@pytest.mark.parametrize("index", ["AUTOINDEX", "IVF_SQ8", "HNSW", "FLAT"])
def test_only_indexes_that_keep_vectors_as_they_are_are_trusted(index: str, rows: np.ndarray, make: Make) -> None:
    params = {"IVF_SQ8": {"nlist": 4}, "HNSW": {"M": 8, "efConstruction": 32}}.get(index, {})
    store = make(nodes(rows * 3), index_config={"index_type": index, **params})
    source = open_source(store, StoreRequest("text"))
    assert source.table.trusted == (index in ("FLAT", "HNSW"))
    found = source.search([question(rows[3])], 5)[0]
    true = rows[[int(node_id[1:]) for node_id in found.ids]] @ rows[3]
    assert found.cosines == pytest.approx(true, abs=1e-5)
    assert ("embedding" in found.payloads[0][1]) is False


def test_a_metric_without_cosines_and_fields_that_hold_none_are_refused(make: Make) -> None:
    store = make(nodes(np.eye(DIMENSION)))
    client = store.client
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.VARCHAR, max_length=9, is_primary=True)
    schema.add_field("embedding", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=DIMENSION)
    client.drop_collection(store.collection_name)
    client.create_collection(store.collection_name, schema=schema)
    with pytest.raises(InvalidInputError, match=r"of type FLOAT_VECTOR, but has SPARSE_FLOAT_VECTOR; .*: dense"):
        open_source(store, StoreRequest("text")).search([ASKED], 1)
    store.embedding_field = "dense"
    with pytest.raises(InvalidInputError, match=r"'dense' .* has no index"):
        open_source(store, StoreRequest("text")).search([ASKED], 1)
    store.embedding_field = "vector"
    with pytest.raises(InvalidInputError, match=r"'vector' of type FLOAT_VECTOR, but has no such field"):
        open_source(store, StoreRequest("text")).search([ASKED], 1)


def test_another_metric_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only vectors of bits have other metrics, and Milvus Lite keeps none: what the server says is changed here.
    store = make(nodes(np.eye(DIMENSION)))
    described = {**store.client.describe_index(store.collection_name, "embedding"), "metric_type": "HAMMING"}
    monkeypatch.setattr(store.client, "describe_index", lambda *_, **__: described)
    with pytest.raises(UnknownScoreKindError, match=r"compares by HAMMING.*COSINE, IP, L2 \(COSINE is best\)"):
        open_source(store, StoreRequest("text")).search([ASKED], 1)


def test_sparse_vectors_alone_are_refused(make: Make) -> None:
    store = make()
    store.enable_dense = False
    with pytest.raises(InvalidInputError, match="sparse vectors only"):
        open_source(store, StoreRequest("text"))


def test_every_event_loop_is_answered(rows: np.ndarray, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(nodes(rows))
    source = open_source(store, StoreRequest("text"))
    used = []
    real = store.aclient.search

    async def counted(*arguments: Any, **keywords: Any) -> Any:
        used.append(asyncio.get_running_loop())
        return await real(*arguments, **keywords)

    monkeypatch.setattr(store.aclient, "search", counted)
    asked = [question(row) for row in rows[:3]]
    expected = [list(candidates.ids) for candidates in source.search(asked, 4)]
    for _ in range(3):
        # The client serves the first loop only, and fails in others.
        assert [list(candidates.ids) for candidates in asyncio.run(source.asearch(asked, 4))] == expected
    assert len(used) == 1


def test_without_an_asynchronous_client_there_is_none(make: Make) -> None:
    store = make(use_async_client=False)
    assert not hasattr(open_source(store, StoreRequest("text")), "asearch")


def test_milvus_lite_is_not_remote(make: Make) -> None:
    assert not open_source(make(), StoreRequest("text")).remote


def test_a_server_that_is_gone_passes(tmp_path: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance

    gone = Place(tmp_path, DIMENSION, lambda name: pytest.fail(f"no server {name} is needed"))
    store = li_open("COSINE", gone)
    source = open_source(store, StoreRequest("text"))
    server_manager_instance.release_server(str(tmp_path / "milvus.db"))
    with pytest.raises(MilvusException) as caught:
        source.search([ASKED], 1)
    gone.close()
    assert is_passing(caught.value)


def test_an_error_of_the_request_does_not_pass(make: Make) -> None:
    store = make(nodes(np.eye(DIMENSION)))
    with pytest.raises(MilvusException) as caught:
        store.client.search(store.collection_name, data=[[1.0] * DIMENSION], filter="modality ==")
    assert not is_passing(caught.value)


PEOPLE = [
    {"who": "O'Brien", "year": 1990, "half": 0.5, "path": "C:\\new"},
    {"who": "Brien", "year": 1995, "half": 1.5, "path": "C:\\old"},
    {"who": "Anna", "year": 2000, "half": 2.5, "path": "/new"},
    {"who": "Annabel", "year": 2005, "half": 3.5, "path": "/old"},
]

FILTERS = {
    "quote": (FilterOperator.EQ, "who", "O'Brien", [0]),
    "backslash": (FilterOperator.EQ, "path", "C:\\new", [0]),
    "words": (FilterOperator.IN, "who", ["O'Brien", "Anna"], [0, 2]),
    "others": (FilterOperator.NIN, "who", ["Brien", "Anna"], [0, 3]),
    "beginning": (FilterOperator.TEXT_MATCH, "who", "Ann", [2, 3]),
    "number": (FilterOperator.EQ, "year", 1995, [1]),
    "above": (FilterOperator.GT, "year", 1995, [2, 3]),
    "up to": (FilterOperator.LTE, "half", 1.5, [0, 1]),
    "whole word": (FilterOperator.NE, "who", "Anna", [0, 1, 3]),
}


@pytest.fixture(scope="module")
def people(place: Place) -> Any:
    place.name = "people"
    store = li_open("COSINE", place)
    store.add(nodes([[1.0, 0.0, 0.0, i / 10] for i in range(4)], lambda number: PEOPLE[number]))
    return store


def found_by(store: Any, filters: MetadataFilters) -> list[str]:
    return sorted(open_source(store, StoreRequest("text", filters=filters)).search([ASKED], 10)[0].ids)


@pytest.mark.parametrize("name", FILTERS)
def test_every_operator_means_what_it_says(name: str, people: Any) -> None:
    operator, key, value, expected = FILTERS[name]
    one = MetadataFilter(key=key, value=value, operator=operator)
    assert found_by(people, MetadataFilters(filters=[one])) == [f"n{i}" for i in expected]


def test_filters_nest_and_negate(people: Any) -> None:
    def equal(key: str, value: Any) -> MetadataFilter:
        return MetadataFilter(key=key, value=value)

    either = MetadataFilters(filters=[equal("year", 1990), equal("year", 2000)], condition=FilterCondition.OR)
    neither = MetadataFilters(filters=[equal("year", 1990), equal("year", 2000)], condition=FilterCondition.NOT)
    assert found_by(people, MetadataFilters(filters=[either, equal("who", "Anna")])) == ["n2"]
    assert found_by(people, neither) == ["n1", "n3"]
    with pytest.raises(InvalidInputError, match="compares with None"):
        found_by(people, MetadataFilters(filters=[equal("who", None)]))
    like = MetadataFilter(key="who", value="a", operator=FilterOperator.TEXT_MATCH_INSENSITIVE)
    with pytest.raises(InvalidInputError, match="Milvus cannot filter by"):
        found_by(people, MetadataFilters(filters=[like]))


SOME = [{"topic": "art", "tags": ["x"]}, {"place": 1}, {"topic": "tax"}, {"topic": None}]


def test_what_does_not_hold_of_a_missing_key_is_what_llama_index_means(make: Make) -> None:
    made = nodes([[1.0, 0.0, 0.0, i / 10] for i in range(4)], lambda place: SOME[place])
    plain = SimpleVectorStore()
    plain.add(made)
    store = make(made)
    art = MetadataFilter(key="topic", value="art")
    other = MetadataFilter(key="topic", value="art", operator=FilterOperator.NE)
    outside = MetadataFilter(key="topic", value=["art", "law"], operator=FilterOperator.NIN)
    for filters, expected in [
        (MetadataFilters(filters=[art]), ["n0"]),
        (MetadataFilters(filters=[other]), ["n1", "n2", "n3"]),
        (MetadataFilters(filters=[outside]), ["n1", "n2", "n3"]),
        (MetadataFilters(filters=[art], condition=FilterCondition.NOT), ["n1", "n2", "n3"]),
        (MetadataFilters(filters=[other], condition=FilterCondition.NOT), ["n0"]),
        (MetadataFilters(filters=[outside], condition=FilterCondition.NOT), ["n0"]),
        (MetadataFilters(filters=[art, other], condition=FilterCondition.NOT), []),
    ]:
        result = plain.query(
            VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0, 0.0], similarity_top_k=5, filters=filters)
        )
        assert sorted(result.ids) == expected
        assert found_by(store, filters) == expected
    either = MetadataFilters(filters=[art, MetadataFilter(key="place", value=1)], condition=FilterCondition.OR)
    assert found_by(store, MetadataFilters(filters=[either], condition=FilterCondition.NOT)) == ["n2", "n3"]
    empty = MetadataFilter(key="tags", value=None, operator=FilterOperator.IS_EMPTY)
    assert found_by(store, MetadataFilters(filters=[empty])) == ["n1", "n2", "n3"]


def recreate(store: Any, dimension: int, metric: str, **year: Any) -> None:
    client = store.client
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, max_length=9, is_primary=True)
    schema.add_field("year", DataType.INT64, **year)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dimension)
    index = client.prepare_index_params()
    index.add_index("embedding", index_type="FLAT", metric_type=metric)
    client.drop_collection(store.collection_name)
    client.create_collection(store.collection_name, schema=schema, index_params=index)


@pytest.mark.parametrize(("null", "expected"), [(True, ["n0", "n2"]), (False, ["n0"])])
def test_fields_that_the_collection_declares_are_filtered_too(null: bool, expected: list[str], make: Make) -> None:
    store = make()
    recreate(store, DIMENSION, "COSINE", nullable=null)
    years = [1990, 2000, None if null else 2000]
    rows = [{"id": f"n{i}", "year": year, "embedding": [1.0, 0.0, 0.0, i / 10]} for i, year in enumerate(years)]
    store.client.insert(store.collection_name, rows)
    late = MetadataFilter(key="year", value=2000)
    not_late = MetadataFilter(key="year", value=2000, operator=FilterOperator.NE)
    assert found_by(store, MetadataFilters(filters=[not_late])) == expected
    assert found_by(store, MetadataFilters(filters=[late], condition=FilterCondition.NOT)) == expected


def test_a_collection_that_is_made_anew_is_read_anew(make: Make) -> None:
    store = make(nodes(np.eye(DIMENSION)))
    source = open_source(store, StoreRequest("text"))
    assert list(source.search([ASKED], 1)[0].ids) == ["n0"]
    assert source.table.trusted
    recreate(store, 3, "L2")
    store.client.insert(store.collection_name, [{"id": "long", "year": 1, "embedding": [0.0, 3.0, 0.0]}])
    found = source.search([question([0.0, 0.8, 0.6])], 1)[0]
    assert (list(found.ids), found.cosines.tolist()) == (["long"], pytest.approx([0.8]))
    assert (source.dimension, source.table.score_kind, source.table.trusted) == (3, "squared_l2", False)
    assert asyncio.run(source.asearch([question([0.0, 0.8, 0.6])], 1))[0].ids == found.ids
    store.client.drop_collection(store.collection_name)
    with pytest.warns(CommonscaleWarning, match=f"'{store.collection_name}' does not exist"):
        assert list(source.search([ASKED], 1)[0].ids) == []


def test_a_servers_settings_are_read_again_after_a_while(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(nodes(np.eye(DIMENSION)))
    now = 100.0
    monkeypatch.setattr(milvus_module, "is_local", lambda _: False)
    monkeypatch.setattr(milvus_module.time, "monotonic", lambda: now)
    reads = []
    real = store.client.describe_collection
    monkeypatch.setattr(store.client, "describe_collection", lambda name: reads.append(name) or real(name))
    source = open_source(store, StoreRequest("text"))
    for _ in range(3):
        source.search([ASKED], 1)
    assert len(reads) == 1
    now = 103.0
    source.search([ASKED], 1)
    source.search([ASKED], 1)
    assert len(reads) == 2


def back(source: Any, found: Any) -> list[Any]:
    return source.nodes([Hit(i, "text", 0.0, 0.0, p) for i, p in zip(found.ids, found.payloads, strict=True)])


def test_image_nodes_come_back_whole(make: Make) -> None:
    made = [
        ImageNode(id_="path", image_path="a.png", text="a caption", metadata={"place": 1}),
        ImageNode(id_="url", image_url="http://127.0.0.1/b.png"),
        ImageNode(id_="bytes", image="aGVsbG8=", image_mimetype="image/png"),
        TextNode(id_="text", text="words"),
    ]
    for place, node in enumerate(made):
        node.embedding = [1.0, place / 10, 0.0, 0.0]
    source = open_source(make(made), StoreRequest("image", mixed=True, modality_key="_node_type"))
    found = source.search([ASKED], 10)[0]
    assert list(found.ids) == ["path", "url", "bytes"]
    again = back(source, found)
    assert [type(node) for node in again] == [ImageNode] * 3
    assert (again[0].image_path, again[0].text, again[0].metadata) == ("a.png", "a caption", {"place": 1})
    assert again[1].image_url == "http://127.0.0.1/b.png"
    assert (again[2].image, again[2].image_mimetype) == ("aGVsbG8=", "image/png")


def test_a_collection_that_llama_index_did_not_make(make: Make) -> None:
    store = make(output_fields=["topic"])
    client = store.client
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("number", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=99)
    schema.add_field("topic", DataType.VARCHAR, max_length=99)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIMENSION)
    index = client.prepare_index_params()
    index.add_index("embedding", index_type="FLAT", metric_type="L2")
    client.drop_collection(store.collection_name)
    client.create_collection(store.collection_name, schema=schema, index_params=index)
    row = {"number": 7, "text": "words", "topic": "art", "embedding": [2.0, 0.0, 0.0, 0.0]}
    client.insert(store.collection_name, [row])
    source = open_source(store, StoreRequest("text"))
    found = source.search([ASKED], 3)[0]
    assert (list(found.ids), found.cosines.tolist()) == (["7"], [1.0])
    node = back(source, found)[0]
    assert (node.node_id, node.get_content(), node.metadata) == ("7", "words", {"topic": "art"})


def test_a_question_of_another_dimension_is_named(people: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"\(3,\).*\(4,\)"):
        open_source(people, StoreRequest("text")).search([question([1.0, 0.0, 0.0])], 1)


def test_more_questions_than_one_request_holds(rows: np.ndarray, make: Make) -> None:
    source = open_source(make(nodes(rows)), StoreRequest("text"))
    asked = unit_rows(np.random.default_rng(3), 230, DIMENSION)
    found = source.search([question(row) for row in asked], 1)
    assert [candidates.ids[0] for candidates in found] == [f"n{i}" for i in np.argmax(asked @ rows.T, axis=1)]


def test_a_search_config_of_the_store_is_used_and_not_changed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(nodes(np.eye(DIMENSION)), search_config={"params": {"nprobe": 3}})
    seen = []
    real = store.client.search
    monkeypatch.setattr(store.client, "search", lambda **keywords: seen.append(keywords) or real(**keywords))
    open_source(store, StoreRequest("text")).search([ASKED], 1)
    assert seen[0]["search_params"] == {"params": {"nprobe": 3}, "metric_type": "COSINE"}
    assert store.search_config == {"params": {"nprobe": 3}}


def test_the_retriever_ranks_both_modalities(make: Make) -> None:
    from commonscale.llama_index import StandardizedMultiModalRetriever
    from llama_world import FixedEmbedding
    from store_suite.corpus import QUESTIONS, Corpus

    corpus = Corpus(12, 8, DIMENSION)
    store = make(forms.nodes(corpus.items), "L2")
    retriever = StandardizedMultiModalRetriever(
        store=store, embed_model=FixedEmbedding(vectors=corpus.vectors), similarity_top_k=6
    )
    retriever.calibrate(list(QUESTIONS), method="standardized")
    found = retriever.retrieve(QUESTIONS[0])
    assert [hit.node.node_id for hit in found] == [node_id for node_id, _ in corpus.ranking(0, 6)]
