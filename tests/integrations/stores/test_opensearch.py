"""What is particular to OpenSearch, asked of a fake server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from commonscale import Question, to_cosine
from commonscale.core.errors import CommonscaleWarning, InvalidInputError, SourceError, UnknownScoreKindError
from commonscale.core.passing import is_passing
from store_suite import forms
from store_suite.corpus import Corpus
from store_suite.fakes.http import Request, serve
from store_suite.fakes.opensearch import FakeOpenSearch

pytest.importorskip("opensearchpy")
pytest.importorskip("langchain_community.vectorstores")
pytest.importorskip("llama_index.vector_stores.opensearch")

from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from store_suite.opensearch import chain_store, llama_store, method

CORPUS = Corpus(norm=3.0)
QUESTION = Question(vector=CORPUS.questions[0])
X = Question(vector=np.array([1.0, 0.0], np.float32))


@pytest.fixture
def server() -> Iterator[FakeOpenSearch]:
    fake = FakeOpenSearch()
    with serve(fake):
        yield fake


def filled(server: FakeOpenSearch, engine: str = "lucene", space: str = "cosinesimil", **settings: Any) -> Any:
    store = llama_store(server.url, "nodes", 16, engine, space, **settings)
    store.add(forms.nodes(CORPUS.items))
    return store


def made(server: FakeOpenSearch, properties: dict[str, Any], *documents: dict[str, Any], **settings: Any) -> Any:
    """A LangChain store over an index that was made elsewhere."""
    client = OpenSearch(server.url)
    client.indices.create(
        index="made", body={"mappings": {"properties": properties}, "settings": {"index": {"knn": True}}}
    )
    for number, document in enumerate(documents):
        client.bulk(body=[{"index": {"_index": "made", "_id": f"d{number}"}}, {"text": "t", **document}])
    client.close()
    return chain_store(server.url, "made", **settings)


def knn(space: str = "l2", engine: str = "faiss", **more: Any) -> dict[str, Any]:
    return {"type": "knn_vector", "dimension": 2, "method": method(engine, space), **more}


def searches(server: FakeOpenSearch) -> list[Request]:
    return [request for request in server.requests if request.path.endswith("search")]


def test_what_is_asked_of_an_engine_that_filters_while_it_searches(server: FakeOpenSearch) -> None:
    source = open_source(filled(server), StoreRequest("image", mixed=True))
    assert source.search([QUESTION], 3)[0].ids == CORPUS.nearest(0, 3, "image")
    asked = searches(server)[-1].body
    knn_query = asked["query"]["knn"]["embedding"]
    label = {"term": {"metadata.modality.keyword": "image"}}
    assert knn_query["filter"] == {"bool": {"filter": [{"bool": {"must": [label]}}]}}
    assert (asked["size"], knn_query["k"], asked["_source"]) == (3, 3, {"excludes": []})


def test_nmslib_scores_what_passes_one_by_one_and_searches_the_rest(server: FakeOpenSearch) -> None:
    store = filled(server, "nmslib", "cosinesimil")
    found = open_source(store, StoreRequest("image", mixed=True)).search([QUESTION], 3)
    assert found[0].ids == CORPUS.nearest(0, 3, "image")
    script = searches(server)[-1].body["query"]["script_score"]["script"]
    assert (script["source"], script["params"]["space_type"]) == ("knn_score", "cosinesimil")
    open_source(store, StoreRequest("text")).search([QUESTION], 3)
    assert "knn" in searches(server)[-1].body["query"]


def test_bulky_fields_stay_out_but_never_the_vector(server: FakeOpenSearch) -> None:
    store = filled(server, excluded_source_fields=["embedding", "bulky"])
    found = open_source(store, StoreRequest("text", mixed=True)).search([QUESTION], 3)
    assert found[0].ids == CORPUS.nearest(0, 3, "text")
    assert searches(server)[-1].body["_source"] == {"excludes": ["bulky"]}


@pytest.mark.parametrize("space", ["l2", "innerproduct", "cosinesimil"])
@pytest.mark.parametrize("engine", ["faiss", "lucene", "nmslib"])
def test_the_scores_of_every_space_are_known_or_not_used(server: FakeOpenSearch, engine: str, space: str) -> None:
    store = made(server, {"v": knn(space, engine)}, {"v": [0.6, 0.8]}, {"v": [-0.6, 0.8]})
    for restriction in (None, {"exists": {"field": "v"}}):
        source: Any = source_of(store, View("text", filter=restriction))
        probe = source.probe([X], 2)[0]
        np.testing.assert_allclose(source.search([X], 2)[0].cosines, [0.6, -0.6], atol=1e-6)
        if probe.kind is None:
            assert (engine, space, restriction) == ("nmslib", "cosinesimil", None)
        else:
            np.testing.assert_allclose(to_cosine(probe.numbers, probe.kind), [0.6, -0.6], atol=1e-6)


class TestMappings:
    @pytest.mark.parametrize("space", ["l1", "linf", "hamming"])
    def test_other_spaces_are_refused_with_what_to_choose_from(self, server: FakeOpenSearch, space: str) -> None:
        with pytest.raises(UnknownScoreKindError, match="l2, cosinesimil, innerproduct"):
            source_of(made(server, {"v": knn(space)}), View("text")).search([X], 2)

    def test_bytes_are_refused(self, server: FakeOpenSearch) -> None:
        with pytest.raises(InvalidInputError, match="'v' holds byte vectors"):
            source_of(made(server, {"v": knn(data_type="byte")}), View("text")).search([X], 2)

    def test_the_only_vector_field_is_found_wherever_it_is(self, server: FakeOpenSearch) -> None:
        store = made(server, {"deep": {"properties": {"v": knn()}}, "w": {"type": "text"}})
        source: Any = source_of(store, View("text"))
        assert (source.dimension, run_field(source).name) == (2, "deep.v")

    def test_several_vector_fields_are_refused(self, server: FakeOpenSearch) -> None:
        with pytest.raises(InvalidInputError, match=r"several vector fields, \['a', 'b'\]"):
            source_of(made(server, {"a": knn(), "b": knn()}), View("text")).search([X], 2)

    def test_the_usual_name_is_taken_among_several(self, server: FakeOpenSearch) -> None:
        source: Any = source_of(made(server, {"a": knn(), "vector_field": knn()}), View("text"))
        assert run_field(source).name == "vector_field"

    def test_no_vector_field_is_refused(self, server: FakeOpenSearch) -> None:
        with pytest.raises(InvalidInputError, match="the OpenSearch index 'made' has no knn_vector field"):
            source_of(made(server, {"w": {"type": "text"}}), View("text")).search([X], 2)

    @pytest.mark.parametrize(
        ("mapped", "searchable", "known"),
        [
            ({"type": "knn_vector", "dimension": 2, "space_type": "cosinesimil", "mode": "on_disk"}, True, True),
            ({"type": "knn_vector", "dimension": 2, "model_id": "trained"}, True, False),
            ({"type": "knn_vector", "dimension": 2}, False, True),
        ],
        ids=["on-disk", "trained", "default-engine"],
    )
    def test_fields_without_a_method(
        self, server: FakeOpenSearch, mapped: dict[str, Any], searchable: bool, known: bool
    ) -> None:
        source: Any = source_of(made(server, {"v": mapped}), View("text", filter={"match_all": {}}))
        field = run_field(source)
        assert (field.searchable, field.kind is not None) == (searchable, known)

    def test_nested_settings_are_read_as_flat_ones(self, server: FakeOpenSearch) -> None:
        source: Any = source_of(made(server, {"v": knn()}), View("text"))
        entry = {"mappings": {"properties": {"v": {"type": "knn_vector", "dimension": 2}}}}
        entry["settings"] = {"index": {"knn": {"space_type": "innerproduct"}}}
        assert source.table.field_of({"made": entry}).detail == "innerproduct"


def run_field(source: Any) -> Any:
    source.table.dimension  # noqa: B018 - reads the mapping
    return source.table._known


class TestClients:
    def test_one_source_serves_one_event_loop_after_another_by_copies(
        self, server: FakeOpenSearch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = filled(server)
        source: Any = open_source(store, StoreRequest("text", mixed=True))
        assert source.dimension == 16
        monkeypatch.setattr(source.table, "_client", None)
        for _ in range(2):
            found = asyncio.run(source.asearch([QUESTION] * 2, 5))
            assert [one.ids for one in found] == [CORPUS.nearest(0, 5, "text")] * 2
        assert store.client._os_async_client.transport.loop is None
        assert source.table._aclients._kept == {}

    def test_copies_have_the_credentials(self, server: FakeOpenSearch) -> None:
        source: Any = open_source(filled(server, http_auth=("me", "secret")), StoreRequest("text", mixed=True))
        server.requests.clear()
        asyncio.run(source.asearch([QUESTION], 5))
        assert {request.headers["authorization"] for request in server.requests} == {"Basic bWU6c2VjcmV0"}

    def test_a_lone_client_of_the_users_own_is_the_only_one_used(self, server: FakeOpenSearch) -> None:
        filled(server)
        own = OpenSearch(server.url, http_auth=("me", "secret"))
        store = llama_store("http://127.0.0.1:9", "nodes", 16, os_client=own)
        source: Any = open_source(store, StoreRequest("text", mixed=True))
        assert not hasattr(source, "asearch")
        assert source.search([QUESTION], 3)[0].ids == CORPUS.nearest(0, 3, "text")
        own.close()

    def test_searches_go_where_the_documents_were_routed(self, server: FakeOpenSearch) -> None:
        store = made(server, {"v": knn()}, {"v": [1.0, 0.0]}, routing="shard-a")
        source = source_of(store, View("text"))
        source.search([X], 1)
        source.search([X, X], 1)
        assert searches(server)[-2].parameters == {"routing": "shard-a"}
        assert searches(server)[-1].body[::2] == [{"routing": "shard-a"}] * 2

    def test_the_serverless_offering_names_documents_by_a_field(self, server: FakeOpenSearch) -> None:
        store = made(server, {"v": knn()}, {"v": [1.0, 0.0], "id": "mine"})
        store.is_aoss = True
        found = source_of(store, View("text")).search([X], 1)[0]
        assert (found.payloads or ())[0]().id == "mine"


class TestFailures:
    def test_an_index_that_is_not_there_yet_has_nothing_and_is_not_made(self, server: FakeOpenSearch) -> None:
        store = llama_store(server.url, "later", 16)
        source: Any = open_source(store, StoreRequest("text"))
        with pytest.warns(CommonscaleWarning, match="the index 'later' does not exist"):
            assert (source.dimension, source.search([QUESTION], 3)[0].ids) == (None, ())
        assert server.indices == {}

    def test_one_question_that_fails_among_many_fails_as_it_would_alone(self, server: FakeOpenSearch) -> None:
        source = open_source(filled(server), StoreRequest("text", mixed=True))
        entry = {"error": {"type": "rejected_execution_exception", "reason": "full"}, "status": 429}
        reply = {"responses": [{"hits": {"hits": []}, "status": 200}, entry]}
        server.faults.append(lambda r: (200, reply) if r.path.endswith("_msearch") else None)
        with pytest.raises(TransportError, match="rejected_execution_exception") as raised:
            source.search([QUESTION] * 2, 3)
        assert is_passing(raised.value)

    def test_a_hit_without_its_vector_is_named(self, server: FakeOpenSearch) -> None:
        source = open_source(filled(server), StoreRequest("text", mixed=True))
        reply = {"hits": {"hits": [{"_id": "bare", "_score": 1.0, "_source": {}}]}}
        server.faults.append(lambda r: (200, reply) if r.path.endswith("_search") else None)
        with pytest.raises(SourceError, match="returned document 'bare' without its vector 'embedding'"):
            source.search([QUESTION], 3)

    def test_a_key_that_may_only_search_is_enough_where_the_field_is_named(self, server: FakeOpenSearch) -> None:
        named, unnamed = filled(server), chain_store(server.url, "nodes")
        refusal = {"error": {"type": "security_exception", "reason": "no permissions"}, "status": 403}
        server.faults.append(lambda r: (403, refusal) if r.method == "GET" and r.path == "/nodes" else None)
        source = open_source(named, StoreRequest("text", mixed=True))
        assert source.search([QUESTION], 3)[0].ids == CORPUS.nearest(0, 3, "text")
        with pytest.raises(InvalidInputError, match="may not be read with these credentials"):
            source_of(unnamed, View("text")).search([QUESTION], 3)

    def test_a_condition_that_the_store_cannot_translate_is_refused(self, server: FakeOpenSearch) -> None:
        parts = [MetadataFilter(key="place", value=1)]
        filters = MetadataFilters(filters=parts, condition=FilterCondition.NOT)
        with pytest.raises(InvalidInputError, match="its conditions are AND and OR"):
            open_source(llama_store(server.url, "nodes", 16), StoreRequest("text", filters=filters))

    def test_filters_of_llama_index_are_the_stores_own(self, server: FakeOpenSearch) -> None:
        parts = [MetadataFilter(key="place", value=50, operator=FilterOperator.GTE)]
        request = StoreRequest("text", mixed=True, filters=MetadataFilters(filters=parts))
        found = open_source(filled(server), request).search([QUESTION], 60)
        assert set(found[0].ids) == {i.id for i in CORPUS.of("text") if i.metadata["place"] >= 50}
