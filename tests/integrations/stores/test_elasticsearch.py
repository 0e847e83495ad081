"""What is particular to Elasticsearch, asked of a fake server of both its generations."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonscale import Question
from commonscale.core.errors import CommonscaleWarning, InvalidInputError, SourceError, UnknownScoreKindError
from commonscale.core.passing import is_passing
from store_suite import forms
from store_suite.corpus import Corpus, Item
from store_suite.fakes.elasticsearch import FakeElasticsearch
from store_suite.fakes.http import Request, serve

pytest.importorskip("elasticsearch")
pytest.importorskip("langchain_elasticsearch")
pytest.importorskip("llama_index.vector_stores.elasticsearch")

from elasticsearch import ApiError, AsyncElasticsearch, Elasticsearch
from llama_index.core.schema import ImageDocument, ImageNode, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery

from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from store_suite.elasticsearch import add_nodes, awaited, llama_store

CORPUS = Corpus(norm=3.0)
QUESTION = Question(vector=CORPUS.questions[0])


@pytest.fixture(params=["8.19.3", "9.2.0"])
def server(request: pytest.FixtureRequest) -> Iterator[FakeElasticsearch]:
    yield from _served(request.param)


@pytest.fixture
def newer() -> Iterator[FakeElasticsearch]:
    yield from _served("9.2.0")


def _served(version: str) -> Iterator[FakeElasticsearch]:
    fake = FakeElasticsearch(version)
    with serve(fake):
        yield fake


def filled(server: FakeElasticsearch, items: list[Item] | None = None, **settings: Any) -> Any:
    store = llama_store(server.url, "nodes", **settings)
    add_nodes(store, CORPUS.items if items is None else items)
    return store


def index_of(server: FakeElasticsearch, mapping: dict[str, Any], *documents: dict[str, Any]) -> Any:
    """A LangChain store over an index that was made elsewhere."""
    from langchain_elasticsearch import ElasticsearchStore

    client = Elasticsearch(server.url)
    client.indices.create(index="made", mappings={"properties": {"vector": mapping}})
    for number, document in enumerate(documents):
        client.bulk(operations=[{"index": {"_index": "made", "_id": f"d{number}"}}, {"text": "t", **document}])
    return ElasticsearchStore("made", client=client, embedding=forms.lc_embeddings())


def searches(server: FakeElasticsearch) -> list[Request]:
    return [request for request in server.requests if request.path.endswith("search")]


def test_the_stores_own_similarities_say_nothing_and_ours_are_cosines(server: FakeElasticsearch) -> None:
    store = filled(server)
    for number in range(3):
        query = VectorStoreQuery(query_embedding=CORPUS.questions[number].tolist(), similarity_top_k=5)
        # Whatever is asked, the best hit has 1 and the worst has 0.
        own = awaited(server.url, lambda client, q=query: llama_store(server.url, "nodes", client).aquery(q))
        assert (max(own.similarities), min(own.similarities)) == (1.0, 0.0)
        found = open_source(store, StoreRequest("text", mixed=True)).search(
            [Question(vector=CORPUS.questions[number])], 5
        )
        cosines = CORPUS.cosines("text")[1]
        assert found[0].ids == CORPUS.nearest(number, 5, "text")
        np.testing.assert_allclose(found[0].cosines, np.sort(cosines[number])[::-1][:5], atol=1e-6)


def test_what_is_asked(server: FakeElasticsearch) -> None:
    source = open_source(filled(server), StoreRequest("image", mixed=True))
    source.search([QUESTION], 3)
    asked = searches(server)[-1]
    assert asked.path == "/nodes/_search"
    assert asked.body["size"] == asked.body["knn"]["k"] == 3
    assert asked.body["knn"]["num_candidates"] == 100
    # The vector comes once, by the way that every version understands.
    assert (asked.body["_source"], asked.body["fields"]) == ({"excludes": ["embedding"]}, ["embedding"])
    source.search([QUESTION] * 3, 50)
    many = searches(server)[-1]
    assert many.path == "/nodes/_msearch"
    assert [body["knn"]["num_candidates"] for body in many.body[1::2]] == [500] * 3


def test_many_questions_go_in_requests_of_bounded_replies(newer: FakeElasticsearch) -> None:
    source = open_source(filled(newer), StoreRequest("text", mixed=True))
    newer.requests.clear()
    found = source.search([QUESTION] * 250, 1)
    assert [len(request.body) // 2 for request in searches(newer)] == [100, 100, 50]
    assert {one.ids[0] for one in found} == set(CORPUS.nearest(0, 1, "text"))


def test_candidates_are_limited_as_the_server_limits_them(newer: FakeElasticsearch) -> None:
    source = open_source(filled(newer), StoreRequest("text", mixed=True))
    assert len(source.search([QUESTION], 10_000)[0].ids) == 60
    assert searches(newer)[-1].body["knn"]["num_candidates"] == 10_000
    with pytest.raises(InvalidInputError, match="10001 hits were asked for, but this server returns at most 10000"):
        source.search([QUESTION], 10_001)


class TestEventLoops:
    async def test_synchronous_searches_work_inside_a_running_loop(self, newer: FakeElasticsearch) -> None:
        store = await asyncio.to_thread(filled, newer)
        found = open_source(store, StoreRequest("text", mixed=True)).search([QUESTION], 5)
        assert found[0].ids == CORPUS.nearest(0, 5, "text")

    def test_asynchronous_searches_never_use_the_synchronous_client(
        self, newer: FakeElasticsearch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source: Any = open_source(filled(newer), StoreRequest("text", mixed=True))
        assert source.dimension == 16
        monkeypatch.setattr(source.table, "_client", None)
        found = asyncio.run(source.asearch([QUESTION] * 2, 5))
        assert found[1].ids == CORPUS.nearest(0, 5, "text")

    def test_one_source_serves_one_event_loop_after_another_and_leaves_the_stores_client_alone(
        self, newer: FakeElasticsearch
    ) -> None:
        store = filled(newer)
        source: Any = open_source(store, StoreRequest("text", mixed=True))

        async def twice() -> list[Any]:
            return [*await source.asearch([QUESTION], 5), *await source.asearch([QUESTION], 5)]

        for _ in range(2):
            assert [one.ids for one in asyncio.run(twice())] == [CORPUS.nearest(0, 5, "text")] * 2
        assert store.client.transport._loop is None
        # The copies were closed with their loops; an open one would be a ResourceWarning, which is an error here.
        assert source.table._aclients._kept == {}

    def test_the_real_constructor_with_its_nested_loops(self, newer: FakeElasticsearch) -> None:
        """In a process of its own, since the store changes asyncio for good (nest_asyncio)."""
        script = Path(__file__).parents[1] / "scripts" / "nested_elasticsearch.py"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script), newer.url], capture_output=True, text=True, timeout=120
        )
        assert done.stderr == ""
        assert done.stdout.split() == ["b", "b", "b"]


def test_copies_have_the_credentials_headers_and_limits(newer: FakeElasticsearch) -> None:
    filled(newer)
    client = AsyncElasticsearch(
        newer.url, api_key="secret", headers={"x-tenant": "a"}, max_retries=7, request_timeout=3
    )
    source: Any = open_source(llama_store(newer.url, "nodes", client), StoreRequest("text", mixed=True))
    newer.requests.clear()
    source.search([QUESTION], 1)
    asyncio.run(source.asearch([QUESTION], 1))
    assert [request.headers["authorization"] for request in newer.requests] == ["ApiKey secret"] * 3
    assert {request.headers["x-tenant"] for request in newer.requests} == {"a"}
    assert source.table._client._max_retries == 7
    assert source.table._client._request_timeout == 3


def one(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=operator)


FILTERS: dict[str, tuple[list[Any], FilterCondition, Callable[[Item], bool]]] = {
    "equal-number": ([one("place", 3)], FilterCondition.AND, lambda i: i.metadata["place"] == 3),
    "equal-text": ([one("modality", "text")], FilterCondition.AND, lambda i: True),
    "not-equal": ([one("parity", 0, FilterOperator.NE)], FilterCondition.AND, lambda i: i.metadata["parity"] != 0),
    "greater": ([one("place", 40, FilterOperator.GT)], FilterCondition.AND, lambda i: i.metadata["place"] > 40),
    "from": ([one("place", 40, FilterOperator.GTE)], FilterCondition.AND, lambda i: i.metadata["place"] >= 40),
    "less": ([one("place", 9, FilterOperator.LT)], FilterCondition.AND, lambda i: i.metadata["place"] < 9),
    "until": ([one("place", 9, FilterOperator.LTE)], FilterCondition.AND, lambda i: i.metadata["place"] <= 9),
    "in": ([one("place", [1, 2], FilterOperator.IN)], FilterCondition.AND, lambda i: i.metadata["place"] in (1, 2)),
    "not-in": ([one("place", [1], FilterOperator.NIN)], FilterCondition.AND, lambda i: i.metadata["place"] != 1),
    "any": ([one("place", [4], FilterOperator.ANY)], FilterCondition.AND, lambda i: i.metadata["place"] == 4),
    "all": ([one("place", [4, 4], FilterOperator.ALL)], FilterCondition.AND, lambda i: i.metadata["place"] == 4),
    "contains": ([one("place", 4, FilterOperator.CONTAINS)], FilterCondition.AND, lambda i: i.metadata["place"] == 4),
    "words": ([one("modality", "TEXT", FilterOperator.TEXT_MATCH)], FilterCondition.AND, lambda i: True),
    "empty": ([one("absent", None, FilterOperator.IS_EMPTY)], FilterCondition.AND, lambda i: True),
    "or": (
        [one("place", 1), one("place", 2)], FilterCondition.OR, lambda i: i.metadata["place"] in (1, 2),
    ),
    "not": ([one("parity", 1)], FilterCondition.NOT, lambda i: i.metadata["parity"] != 1),
    "nested": (
        [MetadataFilters(filters=[one("place", 1), one("place", 2)], condition=FilterCondition.OR), one("parity", 0)],
        FilterCondition.AND,
        lambda i: i.metadata["place"] == 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_of_llama_index_means_what_it_says(newer: FakeElasticsearch, name: str) -> None:
    parts, condition, passes = FILTERS[name]
    filters = MetadataFilters(filters=parts, condition=condition)
    source = open_source(filled(newer), StoreRequest("text", mixed=True, filters=filters))
    expected = {item.id for item in CORPUS.of("text") if passes(item)}
    assert set(source.search([QUESTION], 60)[0].ids) == expected
    assert filters.filters == parts


def test_a_list_operator_needs_a_list(newer: FakeElasticsearch) -> None:
    filters = MetadataFilters(filters=[one("place", 1, FilterOperator.IN)])
    with pytest.raises(InvalidInputError, match="needs a list, got 1"):
        open_source(filled(newer, []), StoreRequest("text", filters=filters))


@pytest.mark.parametrize("mapped", [{}, {"modality": {"type": "keyword"}}], ids=["dynamic", "keyword"])
def test_a_label_is_matched_as_a_whole_however_it_is_mapped(newer: FakeElasticsearch, mapped: dict[str, Any]) -> None:
    items = [
        Item(f"{number}", label, label, {"modality": label}, CORPUS.items[0].vector)
        for number, label in enumerate(["image", "image caption", "text"])
    ]

    def added(client: Any) -> Any:
        store = llama_store(newer.url, "nodes", client, metadata_mappings=dict(mapped))
        return store.async_add(forms.nodes(items))

    awaited(newer.url, added)
    store = llama_store(newer.url, "nodes")
    assert open_source(store, StoreRequest("image", mixed=True)).search([QUESTION], 5)[0].ids == ["0"]


def test_the_class_of_a_node_can_be_its_label(newer: FakeElasticsearch) -> None:
    source = open_source(filled(newer), StoreRequest("image", mixed=True, modality_key="_node_type"))
    assert source.search([QUESTION], 5)[0].ids == CORPUS.nearest(0, 5, "image")


def test_image_nodes_in_every_form_that_the_store_keeps(newer: FakeElasticsearch, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    vector = CORPUS.items[0].vector
    label = {"metadata": {"modality": "image"}, "embedding": vector}
    nodes = [
        ImageNode(id_="path", image_path="a.png", **label),
        ImageNode(id_="url", image_url="http://127.0.0.1/a.png", text="caption", **label),
        ImageNode(id_="base64", image="aGk=", **label),
        ImageDocument(id_="document", image_path=str(tmp_path / "a.png"), **label),
        TextNode(id_="text", text="words", metadata={"modality": "text"}, embedding=vector),
    ]
    awaited(newer.url, lambda client: llama_store(newer.url, "nodes", client).async_add(nodes))
    source = open_source(llama_store(newer.url, "nodes"), StoreRequest("image", mixed=True))
    from commonscale.core.types import Hit

    found = source.search([QUESTION], 9)[0]
    hits = [Hit(i, "image", 0.0, 0.0, payload) for i, payload in zip(found.ids, found.payloads or (), strict=True)]
    made = {node.node_id: node for node in source.nodes(hits)}
    assert set(made) == {"path", "url", "base64", "document"}
    assert [type(made[i]).__name__ for i in ("path", "url", "base64")] == ["ImageNode"] * 3
    assert (made["path"].image_path, made["url"].image_url, made["base64"].image) == (
        "a.png", "http://127.0.0.1/a.png", "aGk=",
    )  # fmt: skip
    assert made["url"].text == "caption"


class TestFailures:
    def test_an_index_that_is_not_there_yet_has_nothing(self, newer: FakeElasticsearch) -> None:
        source: Any = open_source(llama_store(newer.url, "later"), StoreRequest("text"))
        with pytest.warns(CommonscaleWarning, match="the index 'later' does not exist"):
            assert (source.dimension, source.search([QUESTION], 3)[0].ids) == (None, ())
        add_nodes(llama_store(newer.url, "later"), CORPUS.of("text"))
        assert (source.dimension, source.search([QUESTION], 3)[0].ids) == (16, CORPUS.nearest(0, 3, "text"))

    def test_an_index_that_is_deleted_has_nothing(self, newer: FakeElasticsearch) -> None:
        source = open_source(filled(newer), StoreRequest("text", mixed=True))
        source.search([QUESTION], 3)
        newer.indices.clear()
        with pytest.warns(CommonscaleWarning, match="the index 'nodes' does not exist"):
            assert [one.ids for one in source.search([QUESTION] * 2, 3)] == [(), ()]

    def test_one_question_that_fails_among_many_fails_as_it_would_alone(self, newer: FakeElasticsearch) -> None:
        source = open_source(filled(newer), StoreRequest("text", mixed=True))
        cause = {"type": "es_rejected_execution_exception", "reason": "queue full"}
        entry = {"error": {"root_cause": [cause], **cause}, "status": 429}
        good = {"hits": {"hits": []}, "status": 200}
        newer.faults.append(lambda r: (200, {"responses": [good, entry]}) if r.path.endswith("_msearch") else None)
        with pytest.raises(ApiError, match="es_rejected_execution_exception") as raised:
            source.search([QUESTION] * 2, 3)
        assert raised.value.status_code == 429
        assert is_passing(raised.value)

    @pytest.mark.parametrize("part", [{"timed_out": True}, {"_shards": {"total": 2, "successful": 1, "failed": 1}}])
    def test_a_search_of_only_a_part_is_no_answer(self, newer: FakeElasticsearch, part: dict[str, Any]) -> None:
        source = open_source(filled(newer), StoreRequest("text", mixed=True))
        reply = {"hits": {"hits": []}, **part}
        newer.faults.append(lambda r: (200, reply) if r.path.endswith("_search") else None)
        with pytest.raises(SourceError, match="only a part of the index 'nodes' was searched"):
            source.search([QUESTION], 3)

    def test_missing_answers_are_noticed(self, newer: FakeElasticsearch) -> None:
        source = open_source(filled(newer), StoreRequest("text", mixed=True))
        newer.faults.append(lambda r: (200, {"responses": []}) if r.path.endswith("_msearch") else None)
        with pytest.raises(SourceError, match="answered 0 of 2 questions"):
            source.search([QUESTION] * 2, 3)

    def test_a_key_that_may_only_search_is_enough(self, newer: FakeElasticsearch) -> None:
        store = filled(newer)
        cause = {"type": "security_exception", "reason": "action is unauthorized"}
        refusal = {"error": {"root_cause": [cause], **cause}, "status": 403}
        newer.faults.append(lambda r: (403, refusal) if "_mapping" in r.path else None)
        source: Any = open_source(store, StoreRequest("text", mixed=True))
        assert source.search([QUESTION], 5)[0].ids == CORPUS.nearest(0, 5, "text")
        assert (source.dimension, source.table.score_kind) == (None, None)

    def test_a_hit_without_its_vector_is_named(self, newer: FakeElasticsearch) -> None:
        source = open_source(filled(newer), StoreRequest("text", mixed=True))
        reply = {"hits": {"hits": [{"_id": "bare", "_score": 1.0, "_source": {}}]}}
        newer.faults.append(lambda r: (200, reply) if r.path.endswith("_search") else None)
        with pytest.raises(SourceError, match="returned document 'bare' without its vector 'embedding'"):
            source.search([QUESTION], 3)

    def test_a_question_of_another_length_is_refused(self, newer: FakeElasticsearch) -> None:
        source = open_source(filled(newer), StoreRequest("text", mixed=True))
        with pytest.raises(InvalidInputError, match="16"):
            source.search([Question(vector=np.ones(3, np.float32))], 3)

    def test_a_null_vector_is_named(self, newer: FakeElasticsearch) -> None:
        mapping = {"type": "dense_vector", "dims": 2, "similarity": "l2_norm"}
        store = index_of(newer, mapping, {"vector": [0.0, 0.0]}, {"vector": [1.0, 0.0]})
        with pytest.raises(SourceError, match=r"document 'd0' .* is null or not finite"):
            source_of(store, View("text")).search([Question(vector=np.array([1.0, 0.0], np.float32))], 2)

    def test_a_store_without_dense_vectors_is_refused(self, newer: FakeElasticsearch) -> None:
        store = index_of(newer, {"type": "text"})
        with pytest.raises(InvalidInputError, match=r"has no dense_vector field 'vector' \(its type: 'text'\)"):
            source_of(store, View("text")).search([QUESTION], 2)

    def test_bytes_are_refused(self, newer: FakeElasticsearch) -> None:
        store = index_of(newer, {"type": "dense_vector", "dims": 16, "element_type": "byte"})
        with pytest.raises(InvalidInputError, match="holds byte vectors"):
            source_of(store, View("text")).search([QUESTION], 2)

    def test_bits_are_refused_with_what_to_choose_from(self, newer: FakeElasticsearch) -> None:
        store = index_of(newer, {"type": "dense_vector", "dims": 16, "element_type": "bit", "similarity": "l2_norm"})
        with pytest.raises(UnknownScoreKindError, match="cosine, dot_product, l2_norm, max_inner_product"):
            source_of(store, View("text")).search([QUESTION], 2)


def test_unindexed_vectors_are_scored_one_by_one_and_documents_without_one_left_out(newer: FakeElasticsearch) -> None:
    mapping = {"type": "dense_vector", "dims": 2, "index": False}
    store = index_of(newer, mapping, {"vector": [3.0, 0.0]}, {"vector": [0.0, 2.0]}, {})
    source: Any = source_of(store, View("text"))
    found = source.search([Question(vector=np.array([1.0, 0.0], np.float32))], 5)[0]
    assert (found.ids, found.cosines.tolist()) == (["d0", "d1"], [1.0, 0.0])
    probe = source.probe([Question(vector=np.array([1.0, 0.0], np.float32))], 5)[0]
    assert probe.kind(probe.numbers).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("similarity", ["cosine", "dot_product", "l2_norm", "max_inner_product"])
def test_the_scores_of_every_similarity_are_known(newer: FakeElasticsearch, similarity: str) -> None:
    from commonscale import to_cosine

    mapping = {"type": "dense_vector", "dims": 2, "similarity": similarity}
    store = index_of(newer, mapping, {"vector": [0.6, 0.8]}, {"vector": [-0.6, 0.8]})
    source: Any = source_of(store, View("text"))
    probe = source.probe([Question(vector=np.array([1.0, 0.0], np.float32))], 2)[0]
    np.testing.assert_allclose(to_cosine(probe.numbers, probe.kind), [0.6, -0.6], atol=1e-6)
    np.testing.assert_allclose(probe.vectors, [[0.6, 0.8], [-0.6, 0.8]], atol=1e-6)


@pytest.mark.parametrize("filter_", ["parity == 0", ["parity"]])
def test_a_filter_that_is_none_of_elasticsearch_is_refused(newer: FakeElasticsearch, filter_: Any) -> None:
    store = index_of(newer, {"type": "dense_vector", "dims": 2})
    with pytest.raises(InvalidInputError, match="a filter of an ElasticsearchStore must be a query clause"):
        source_of(store, View("text", filter=filter_))
