"""What is particular to Weaviate, asked of a fake server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from commonscale import Question, to_cosine
from commonscale.core.errors import CommonscaleWarning, InvalidInputError, UnknownScoreKindError
from store_suite import forms
from store_suite.corpus import Corpus, even
from store_suite.fakes.weaviate import FakeWeaviate, serve_weaviate

pytest.importorskip("weaviate")
pytest.importorskip("langchain_weaviate")
pytest.importorskip("llama_index.vector_stores.weaviate")

from langchain_weaviate import WeaviateVectorStore as ChainStore
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from llama_index.vector_stores.weaviate import WeaviateVectorStore as LlamaStore
from weaviate.classes.query import Filter
from weaviate.exceptions import WeaviateQueryError

from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from store_suite.weaviate import awaited, connected, create, with_async_client

CORPUS = Corpus(norm=3.0)
QUESTION = Question(vector=CORPUS.questions[0])


@pytest.fixture(scope="module")
def shared_server() -> Iterator[FakeWeaviate]:
    with serve_weaviate() as fake:
        fake.client = connected(fake)
        yield fake


@pytest.fixture
def server(shared_server: FakeWeaviate) -> Iterator[FakeWeaviate]:
    yield shared_server
    shared_server.client.collections.delete_all()
    shared_server.forget()
    shared_server.searches.clear()


def llama(server: FakeWeaviate, corpus: Corpus | None = CORPUS) -> Any:
    store = LlamaStore(weaviate_client=server.client, index_name="Nodes")
    if corpus is not None:
        forms.add_nodes(store, corpus.items)
    return store


def chain(server: FakeWeaviate, **settings: Any) -> Any:
    return ChainStore(server.client, "Docs", "text", forms.lc_embeddings(), **settings)


def test_only_the_vector_is_asked_never_hybrid(server: FakeWeaviate) -> None:
    source = open_source(llama(server), StoreRequest("image", mixed=True))
    found = source.search([QUESTION], 5)[0]
    ids, cosines = CORPUS.cosines("image")
    assert found.ids == CORPUS.nearest(0, 5, "image")
    np.testing.assert_allclose(found.cosines, np.sort(cosines[0])[::-1][:5], atol=1e-6)
    asked = server.searches[-1]
    assert (asked.HasField("near_vector"), asked.HasField("hybrid_search"), asked.limit) == (True, False, 5)
    assert (asked.metadata.vector, asked.metadata.distance, len(ids)) == (True, True, 25)


@pytest.mark.parametrize("distance", ["cosine", "dot", "l2-squared"])
def test_every_distance_is_known(server: FakeWeaviate, distance: str) -> None:
    create(server.client, "Docs", distance)
    store = chain(server)
    corpus = Corpus(8, 0)
    forms.add_documents(store, corpus.items)
    probe = source_of(store, View("text")).probe([QUESTION], 8)[0]
    cosines = np.sort(corpus.cosines("text")[1][0])[::-1]
    np.testing.assert_allclose(to_cosine(probe.numbers, probe.kind), cosines, atol=1e-5)


@pytest.mark.parametrize("distance", ["hamming", "manhattan"])
def test_other_distances_are_refused_with_what_to_choose_from(server: FakeWeaviate, distance: str) -> None:
    create(server.client, "Docs", distance)
    with pytest.raises(UnknownScoreKindError, match="cosine, dot, l2-squared"):
        source_of(chain(server), View("text")).search([QUESTION], 3)


class TestNamedVectors:
    def test_the_only_one_is_searched(self, server: FakeWeaviate) -> None:
        create(server.client, "Docs", "cosine", named=["only"])
        store = chain(server)
        forms.add_documents(store, CORPUS.of("text"))
        found = source_of(store, View("text")).search([QUESTION], 5)[0]
        assert found.ids == CORPUS.nearest(0, 5, "text")
        assert list(server.searches[-1].metadata.vectors) == ["only"]

    def test_the_default_is_searched_among_several(self, server: FakeWeaviate) -> None:
        create(server.client, "Docs", "cosine", named=["default", "other"])
        store = chain(server)
        forms.add_documents(store, CORPUS.of("text"))
        assert source_of(store, View("text")).search([QUESTION], 5)[0].ids == CORPUS.nearest(0, 5, "text")

    def test_several_are_refused(self, server: FakeWeaviate) -> None:
        create(server.client, "Docs", "cosine", named=["a", "b"])
        with pytest.raises(InvalidInputError, match=r"has several named vectors, \['a', 'b'\]"):
            source_of(chain(server), View("text")).search([QUESTION], 3)

    def test_several_vectors_for_each_object_are_refused(self, server: FakeWeaviate) -> None:
        create(server.client, "Docs", "cosine", named=["only"])
        index = server.schemas["Docs"]["vectorConfig"]["only"]["vectorIndexConfig"]
        index["multivector"] = {"aggregation": "maxSim", "enabled": True}
        with pytest.raises(InvalidInputError, match="holds several vectors for each object"):
            source_of(chain(server), View("text")).search([QUESTION], 3)


class TestTenants:
    def filled(self, server: FakeWeaviate) -> Any:
        store = chain(server, use_multi_tenancy=True)
        store.embeddings.learn(CORPUS.items)
        for tenant, items in (("a", CORPUS.items), ("b", CORPUS.items[:4])):
            store.add_documents(forms.documents(items), ids=[item.id for item in items], tenant=tenant)
        return store

    def test_each_sees_its_own(self, server: FakeWeaviate) -> None:
        store = self.filled(server)
        for tenant, items in (("a", CORPUS.of("text")), ("b", CORPUS.items[:4])):
            wanted = {item.id for item in items if item.modality == "text"}
            view = View("text", modality_key="modality", filter={"tenant": tenant})
            assert set(source_of(store, view).search([QUESTION], 60)[0].ids) == wanted

    def test_a_filter_goes_with_it(self, server: FakeWeaviate) -> None:
        both = {"tenant": "a", "filters": Filter.by_property("parity").equal(0.0)}
        found = source_of(self.filled(server), View("text", modality_key="modality", filter=both)).search(
            [QUESTION], 60
        )
        assert set(found[0].ids) == {item.id for item in CORPUS.of("text") if even(item)}

    def test_without_one_nothing_is_searched(self, server: FakeWeaviate) -> None:
        with pytest.raises(InvalidInputError, match="has several tenants: in LangChain name one"):
            source_of(self.filled(server), View("text")).search([QUESTION], 3)

    def test_one_where_there_are_none_is_refused(self, server: FakeWeaviate) -> None:
        with pytest.raises(InvalidInputError, match="has no tenants, but tenant='a' was given"):
            source_of(chain(server), View("text", filter={"tenant": "a"})).search([QUESTION], 3)

    def test_other_keys_beside_it_are_refused(self, server: FakeWeaviate) -> None:
        with pytest.raises(InvalidInputError, match=r"may hold 'tenant' and 'filters', got \['parity'\] too"):
            source_of(chain(server), View("text", filter={"parity": 0}))


class TestFilters:
    def test_numbers_are_compared_as_the_schema_has_them(self, server: FakeWeaviate) -> None:
        parts = [MetadataFilter(key="place", value=50, operator=FilterOperator.GTE)]
        request = StoreRequest("text", mixed=True, filters=MetadataFilters(filters=parts))
        found = open_source(llama(server), request).search([QUESTION], 60)
        assert set(found[0].ids) == {i.id for i in CORPUS.of("text") if i.metadata["place"] >= 50}

    def test_properties_that_come_later_are_known_then(self, server: FakeWeaviate) -> None:
        store = llama(server, None)
        request = StoreRequest("text", filters=forms.li_even())
        source = open_source(store, request)
        assert source.search([QUESTION], 3)[0].ids == ()
        forms.add_nodes(store, CORPUS.of("text"))
        assert source.search([QUESTION], 3)[0].ids == CORPUS.nearest(0, 3, "text", even)

    def test_a_mixed_store_without_labels_gives_nothing_and_says_so(self, server: FakeWeaviate) -> None:
        store = chain(server)
        forms.add_documents(store, CORPUS.items)
        source = source_of(store, View("text", modality_key="kind"))
        with pytest.warns(CommonscaleWarning, match="kind='text'"):
            assert source.search([QUESTION], 3)[0].ids == ()

    def test_an_unknown_property_of_the_users_is_an_error_where_there_are_objects(self, server: FakeWeaviate) -> None:
        store = chain(server)
        view = View("text", filter=Filter.by_property("unknown").equal("x"))
        assert source_of(store, view).search([QUESTION], 3)[0].ids == ()
        forms.add_documents(store, CORPUS.of("text"))
        with pytest.raises(WeaviateQueryError, match="no such prop with name 'unknown'"):
            source_of(store, view).search([QUESTION], 3)

    def test_what_is_none_of_weaviate_is_refused(self, server: FakeWeaviate) -> None:
        with pytest.raises(InvalidInputError, match=r"must be a weaviate\.classes\.query\.Filter, got 'parity'"):
            source_of(chain(server), View("text", filter="parity"))

    def test_an_operator_that_the_store_cannot_translate_is_refused(self, server: FakeWeaviate) -> None:
        parts = [MetadataFilter(key="place", value=[1], operator=FilterOperator.NIN)]
        request = StoreRequest("text", filters=MetadataFilters(filters=parts))
        with pytest.raises(InvalidInputError, match="cannot translate the filters"):
            open_source(llama(server, None), request)


class TestAsynchronousClients:
    def test_a_llama_index_store_with_nothing_else(self, server: FakeWeaviate) -> None:
        llama(server)

        async def asked(client: Any) -> Any:
            store = LlamaStore(weaviate_client=client, index_name="Nodes")
            source: Any = open_source(store, StoreRequest("text", mixed=True))
            with pytest.raises(InvalidInputError, match="has only an asynchronous client: use aretrieve"):
                source.search([QUESTION], 3)
            return await source.asearch([QUESTION] * 3, 5)

        assert [one.ids for one in awaited(server, asked)] == [CORPUS.nearest(0, 5, "text")] * 3

    def test_a_collection_that_is_not_there_yet(self, server: FakeWeaviate) -> None:
        async def asked(client: Any) -> Any:
            source: Any = open_source(LlamaStore(weaviate_client=client, index_name="Later"), StoreRequest("text"))
            return await source.asearch([QUESTION], 5)

        with pytest.warns(CommonscaleWarning, match="the Weaviate collection 'Later' does not exist"):
            assert awaited(server, asked)[0].ids == ()

    def test_it_is_used_in_its_own_loop_and_the_other_one_elsewhere(
        self, server: FakeWeaviate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = chain(server)
        forms.add_documents(store, CORPUS.items)
        expected = CORPUS.nearest(0, 5, "text")

        async def asked(client: Any) -> Any:
            both = chain(server, client_async=client)
            source: Any = source_of(both, View("text", modality_key="modality"))
            elsewhere = await asyncio.to_thread(asyncio.run, source.asearch([QUESTION], 5))
            monkeypatch.setattr(source.table, "_client", object())
            here = await source.asearch([QUESTION], 5)
            return [one[0].ids for one in (elsewhere, here)]

        assert awaited(server, asked) == [expected, expected]

    async def test_one_that_is_not_connected_is_not_used(self, server: FakeWeaviate) -> None:
        closed: list[Any] = []

        async def keep(client: Any) -> None:
            closed.append(client)

        await with_async_client(server, keep)
        store = await asyncio.to_thread(chain, server, client_async=closed[0])
        await asyncio.to_thread(forms.add_documents, store, CORPUS.of("text"))
        source: Any = source_of(store, View("text"))
        assert (await source.asearch([QUESTION], 5))[0].ids == CORPUS.nearest(0, 5, "text")


def test_documents_come_back_without_vectors_in_their_metadata(server: FakeWeaviate) -> None:
    store = chain(server)
    forms.add_documents(store, CORPUS.of("image"))
    found = source_of(store, View("image")).search([QUESTION], 1)[0]
    document = (found.payloads or ())[0]()
    place = CORPUS[document.id].metadata["place"]
    assert document.page_content == f"image {place}"
    assert document.metadata == {
        "modality": "image", "parity": place % 2, "place": place, "image_path": f"image {place}.png"
    }  # fmt: skip
