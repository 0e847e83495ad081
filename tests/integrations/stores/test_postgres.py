"""What is particular to PostgreSQL: operators and indexes, half precision, filters, event loops, odd rows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store_suite import forms, postgres
from store_suite.corpus import QUESTIONS, Corpus, Item
from store_suite.kind import Place

if reason := postgres.no_server():
    pytest.skip(reason, allow_module_level=True)
pytest.importorskip("llama_index.vector_stores.postgres")
pytest.importorskip("langchain_postgres")

import sqlalchemy as sa
from langchain_postgres import PGVector, PGVectorStore
from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig
from langchain_postgres.v2.indexes import HNSWQueryOptions
from llama_index.core.schema import ImageDocument, ImageNode, MediaResource, Node, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery
from sqlalchemy.ext.asyncio import create_async_engine

import commonscale.stores.postgres
from commonscale import FailurePolicy, Question
from commonscale.core.errors import (
    CommonscaleWarning,
    InvalidInputError,
    SourceError,
    SourceUnavailableError,
    StoreCheckError,
    UnknownScoreKindError,
)
from commonscale.langchain import StandardizedMultiModalRetriever as ForLangChain
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from commonscale.llama_index import StandardizedMultiModalRetriever as ForLlamaIndex
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from llama_world import FixedEmbedding

EVEN = MetadataFilters(filters=[MetadataFilter(key="parity", value=0)])


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(tmp_path, 16, request.getfixturevalue)
    yield made
    made.close()


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(norm=5.0)


def li_source(store: Any, modality: str = "text", *, mixed: bool = False, **settings: Any) -> Any:
    return open_source(store, StoreRequest(modality, mixed, **settings))


def questions_of(corpus: Corpus) -> list[Question]:
    return [Question(text, vector) for text, vector in zip(QUESTIONS, corpus.questions, strict=True)]


def item(name: str, vector: list[float], **metadata: Any) -> Item:
    return Item(f"00000000-0000-0000-0000-{name:>012}", metadata.get("modality", "text"), name, metadata, vector)


def sql(place: Place, *statements: str) -> None:
    place.server(postgres.SERVER).run(*(text.replace("SCHEMA", place.name) for text in statements))


# --- what the numbers are ---------------------------------------------------------------------------------------------

KNOWN = ((1, 0.9, 1.0), (2, 0.6, 1.0), (3, 0.3, 1.0), (4, 0.3, 10.0), (5, -0.2, 1.0))
"""Number, cosine with the first axis, and norm."""


def known_items() -> list[Item]:
    made = []
    for number, cosine, norm in KNOWN:
        vector = np.zeros(16)
        vector[0], vector[number] = cosine, np.sqrt(1 - cosine**2)
        made.append(item(str(number), (norm * vector).tolist(), modality="text"))
    return made


@pytest.mark.parametrize(
    "make",
    [
        *(postgres.lc_make(name) for name in ("COSINE_DISTANCE", "EUCLIDEAN", "INNER_PRODUCT")),
        *(postgres.old_make(name) for name in ("COSINE", "EUCLIDEAN", "MAX_INNER_PRODUCT")),
    ],
    ids=["new-cosine", "new-l2", "new-ip", "old-cosine", "old-l2", "old-ip"],
)
def test_every_strategy_gives_cosines_of_vectors_of_any_norm(make: Any, place: Place) -> None:
    source: Any = source_of(make(place, known_items()), View("text"))
    found = source.search([Question("", np.eye(16, dtype=np.float32)[0])], 5)[0]
    assert [int(i[-1]) for i in found.ids] in ([1, 2, 3, 4, 5], [1, 2, 4, 3, 5])
    assert found.cosines.tolist() == pytest.approx([0.9, 0.6, 0.3, 0.3, -0.2], abs=1e-6)
    probe = source.probe([Question("", np.eye(16, dtype=np.float32)[0])], 5)[0]
    assert probe.kind == "cosine_distance"
    assert sorted(np.linalg.norm(probe.vectors, axis=1)) == pytest.approx([1, 1, 1, 1, 10], abs=1e-5)


@pytest.mark.parametrize(
    ("strategy", "family", "kind", "numbers"),
    [
        ("EUCLIDEAN", "vector_l2_ops", "l2", [0.2**0.5, 0.8**0.5, 1.4**0.5, 2.4**0.5]),
        ("INNER_PRODUCT", "vector_ip_ops", "inner_product", [0.9, 0.6, 0.3, -0.2]),
    ],
)
def test_an_index_for_another_operator_decides_the_order_and_vectors_the_cosines(
    strategy: str, family: str, kind: str, numbers: list[float], place: Place
) -> None:
    units = [one for one in known_items() if not one.id.endswith("4")]
    store = postgres.lc_make(strategy)(place, units)
    sql(place, f'CREATE INDEX ON "SCHEMA".items USING hnsw (embedding {family})')
    source: Any = source_of(store, View("text"))
    question = Question("", np.eye(16, dtype=np.float32)[0])
    found = source.search([question], 9)[0]
    assert [i[-1] for i in found.ids] == ["1", "2", "3", "5"]
    assert found.cosines.tolist() == pytest.approx([0.9, 0.6, 0.3, -0.2], abs=1e-6)
    probe = source.probe([question], 9)[0]
    assert probe.kind == kind
    assert probe.numbers.tolist() == pytest.approx(numbers, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (postgres.lc_make("EUCLIDEAN"), "l2"),
        (postgres.lc_make("INNER_PRODUCT"), "inner_product"),
        (postgres.old_make("MAX_INNER_PRODUCT"), "negative_inner_product"),
        (postgres.old_make("COSINE"), "cosine_distance"),
        (postgres.old_make("COSINE"), lambda distances: 1.0 - distances),
    ],
)
def test_a_named_score_kind_gets_the_number_that_the_store_itself_returns(make: Any, kind: Any, place: Place) -> None:
    units = [one for one in known_items() if not one.id.endswith("4")]
    source: Any = source_of(make(place, units), View("text", score_kind=kind))
    found = source.search([Question("", np.eye(16, dtype=np.float32)[0])], 4)[0]
    assert found.cosines.tolist() == pytest.approx([0.9, 0.6, 0.3, -0.2], abs=1e-6)


def test_a_named_score_kind_of_llama_index_is_that_of_its_similarity(place: Place) -> None:
    source = li_source(postgres.li_make()(place, known_items()), score_kind="cosine")
    found = source.search([Question("", np.eye(16, dtype=np.float32)[0])], 5)[0]
    assert found.cosines.tolist() == pytest.approx([0.9, 0.6, 0.3, 0.3, -0.2], abs=1e-6)


def test_of_half_vectors_the_cosine_is_that_of_what_is_stored_and_of_the_question_as_it_is(
    place: Place, corpus: Corpus
) -> None:
    store = postgres.li_make(use_halfvec=True)(place, corpus.items)
    source = li_source(store)
    stored = {one.id: np.asarray(one.vector, np.float16).astype(np.float64) for one in corpus.items}
    for question, found in zip(corpus.questions, source.search(questions_of(corpus), 20), strict=True):
        rows = np.stack([stored[i] for i in found.ids])
        expected = rows @ question.astype(np.float64) / np.linalg.norm(rows, axis=1)
        assert found.cosines.tolist() == pytest.approx(expected.tolist(), abs=5e-7)
        everything = np.stack(list(stored.values())) @ question / np.linalg.norm(list(stored.values()), axis=1)
        assert found.cosines[-1] == pytest.approx(np.sort(everything)[-20], abs=5e-7)


def test_half_vectors_with_an_index(place: Place, corpus: Corpus) -> None:
    hnsw = {**postgres.HNSW, "hnsw_dist_method": "halfvec_cosine_ops"}
    store = postgres.li_make(use_halfvec=True, hnsw_kwargs=hnsw, options=postgres.BY_INDEX)(place, corpus.items)
    plan: list[str] = []
    source = li_source(store, mixed=True)
    _spy(store._engine, plan)
    found = source.search(questions_of(corpus), 20)
    assert any("AS halfvec" in statement for statement in plan)
    recalls = [len(set(f.ids) & set(corpus.nearest(q, 20, "text"))) / 20 for q, f in enumerate(found)]
    assert np.mean(recalls) >= 0.95


def test_what_cannot_be_compared_by_cosine_is_refused(place: Place, corpus: Corpus) -> None:
    store = postgres.li_make()(place, [])
    store._initialize()
    sql(place, 'ALTER TABLE "SCHEMA".data_items ALTER embedding TYPE sparsevec(16)')
    with pytest.raises(UnknownScoreKindError, match=r"has the type sparsevec.*vector or halfvec"):
        li_source(store).search(questions_of(corpus)[:1], 3)
    old = postgres.old_make("COSINE")(place, [])
    old._distance_strategy = "l1"
    with pytest.raises(UnknownScoreKindError, match=r"'l1'.*'cosine', 'l2', 'inner'"):
        source_of(old, View("text"))


def test_the_old_class_of_langchain_community_needs_its_score_kind() -> None:
    class PGVector:
        """Of the same name, with other tables."""

        def similarity_search_with_score_by_vector(self, embedding: list[float], k: int = 4) -> list[Any]:
            return []

    with pytest.raises(UnknownScoreKindError, match="pass score_kind="):
        source_of(PGVector(), View("text"))
    assert source_of(PGVector(), View("text", score_kind="cosine_distance"))


@pytest.mark.parametrize(("strategy", "family"), [("EUCLIDEAN", "vector_l2_ops"), ("INNER_PRODUCT", "vector_ip_ops")])
def test_vectors_of_other_norms_under_such_an_index_are_noticed(
    strategy: str, family: str, place: Place, corpus: Corpus
) -> None:
    store = postgres.lc_make(strategy)(place, corpus.of("text"))
    settings = {"embeddings": forms.lc_embeddings(questions=corpus.vectors), "raw": True, "k": 5}
    # Without the index the order is that of the cosine: nothing is wrong.
    fine = ForLangChain(text_store=store, **settings)
    assert [document.id for document in fine.invoke(QUESTIONS[0])] == corpus.nearest(0, 5, "text")
    assert fine.verify().ok
    sql(place, f'CREATE INDEX ON "SCHEMA".items USING hnsw (embedding {family})')
    with pytest.raises(StoreCheckError, match="norm"):
        ForLangChain(text_store=store, **settings).invoke(QUESTIONS[0])


# --- approximate indexes ----------------------------------------------------------------------------------------------


def test_an_index_that_starves_a_filtered_search_is_read_on(place: Place) -> None:
    corpus = Corpus(texts=760, images=40)
    store = postgres.li_make(hnsw_kwargs=postgres.HNSW, options=postgres.BY_INDEX)(place, corpus.items)
    filters = MetadataFilters(filters=[MetadataFilter(key="modality", value="image")])
    plain, ours = [], []
    source = li_source(store, "image", mixed=True)
    for question, found in enumerate(source.search(questions_of(corpus), 20)):
        query = VectorStoreQuery(corpus.questions[question].tolist(), similarity_top_k=20, filters=filters)
        wanted = set(corpus.nearest(question, 20, "image"))
        plain.append(len(set(store.query(query).ids or []) & wanted) / 20)
        ours.append(len(set(found.ids) & wanted) / 20)
        assert len(found.ids) == 20
    # The trap is there: images are far from every question, so most are not among the ef_search nearest rows.
    assert np.mean(plain) < 0.5
    assert np.mean(ours) >= 0.95
    assert [len(f.ids) for f in source.search(questions_of(corpus)[:3], 100)] == [40] * 3


def test_without_reading_on_the_rows_are_compared_one_by_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(texts=290, images=10)
    store = postgres.li_make(hnsw_kwargs=postgres.HNSW, options=postgres.BY_INDEX)(place, corpus.items)
    source = li_source(store, "image", mixed=True)
    assert source.search(questions_of(corpus)[:1], 1)
    read = commonscale.stores.postgres.read_catalog
    monkeypatch.setattr(
        "commonscale.stores.postgres.read_catalog", lambda *given: replace(read(*given), iterative=False)
    )
    for question, found in enumerate(source.search(questions_of(corpus), 10)):
        assert list(found.ids) == corpus.nearest(question, 10, "image")


def test_an_index_that_is_made_later_starves_nobody(place: Place) -> None:
    corpus = Corpus(texts=290, images=10)
    store = postgres.li_make(options=postgres.BY_INDEX)(place, corpus.items)
    source = li_source(store, "image", mixed=True)
    before = source.search(questions_of(corpus), 10)
    sql(place, 'CREATE INDEX ON "SCHEMA".data_items USING hnsw (embedding vector_cosine_ops)')
    after = source.search(questions_of(corpus), 10)
    assert [list(one.ids) for one in after] == [list(one.ids) for one in before]


def one_connection(place: Place, store: Any) -> list[str]:
    """Let a store have one connection, and note what is asked on it."""
    seen: list[str] = []
    store._engine = sa.create_engine(
        place.server(postgres.SERVER).url("psycopg2"),
        pool_size=1,
        connect_args={"options": postgres.BY_INDEX},
    )
    place.on_close(store._engine.dispose)
    _spy(store._engine, seen)
    return seen


@pytest.mark.parametrize("indexed", [False, True], ids=["no-index", "index"])
def test_of_a_filter_that_leaves_few_one_question_of_a_batch_finds_out(indexed: bool, place: Place) -> None:
    corpus = Corpus(texts=190, images=10)
    postgres.li_make(hnsw_kwargs=postgres.HNSW if indexed else None)(place, corpus.items)
    store = postgres.li_open(place)
    seen = one_connection(place, store)
    source = li_source(store, "image", mixed=True)
    source.search(questions_of(corpus)[:1], 5)
    seen.clear()
    for question, found in enumerate(source.search(questions_of(corpus), 20)):
        assert list(found.ids) == corpus.nearest(question, 10, "image")
    searches = [one for one in seen if "<=>" in one]
    catalogs = [one for one in seen if "pg_attribute" in one]
    # With an index, the first question is asked twice; without one, the catalog, whether there still is none.
    assert (len(searches), len(catalogs)) == (len(QUESTIONS) + indexed, 2 - indexed)


def _spy(engine: Any, seen: list[str]) -> None:
    @sa.event.listens_for(engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        seen.append(f"{statement} {parameters}")


def test_the_users_index_settings_are_kept_and_ours_end_with_the_search(place: Place, corpus: Corpus) -> None:
    seen: list[str] = []
    store = postgres.li_make(hnsw_kwargs={**postgres.HNSW, "hnsw_ef_search": 77})(place, corpus.items)
    _spy(store._engine, seen)
    li_source(store).search(questions_of(corpus)[:1], 3)
    assert any("hnsw.ef_search" in one and "'77'" in one for one in seen)
    with store._engine.connect() as connection:
        now = connection.execute(sa.text("SELECT current_setting('hnsw.iterative_scan')")).scalar()
        assert now == "off"
        assert connection.execute(sa.text("SELECT current_setting('hnsw.ef_search')")).scalar() == "40"
    assert store.hnsw_kwargs["hnsw_ef_search"] == 77
    seen.clear()
    place.name += "new"
    postgres.lc_make("COSINE_DISTANCE")(place, corpus.items)
    options = HNSWQueryOptions(ef_search=66)
    new = postgres.lc_open(place, "COSINE_DISTANCE", index_query_options=options)
    _spy(new._engine._pool.sync_engine, seen)
    source_of(new, View("text")).search(questions_of(corpus)[:1], 3)
    assert any("hnsw.ef_search" in one and "'66'" in one for one in seen)


# --- modes and additions of the stores' own -------------------------------------------------------------------------


def test_hybrid_stores_are_searched_by_vector_alone(place: Place, corpus: Corpus) -> None:
    store = postgres.li_make(hybrid_search=True)(place, corpus.items)
    found = li_source(store, mixed=True).search(questions_of(corpus), 10)
    assert [list(one.ids) for one in found] == [corpus.nearest(q, 10, "text") for q in range(len(QUESTIONS))]
    place.name += "new"
    postgres.lc_make("COSINE_DISTANCE")(place, corpus.items)
    config = HybridSearchConfig(tsv_lang="pg_catalog.english")
    new = postgres.lc_open(place, "COSINE_DISTANCE", hybrid_search_config=config)
    again = source_of(new, View("text", modality_key="modality")).search(questions_of(corpus), 10)
    assert [list(one.ids) for one in again] == [list(one.ids) for one in found]
    assert not config.fts_query


def test_the_users_change_to_the_statement_is_kept(place: Place, corpus: Corpus) -> None:
    def longer(statement: Any, table: Any, **_: Any) -> Any:
        length = sa.func.length(table.text)
        return statement.add_columns(length.label("letters")).where(length > 6)

    store = postgres.li_make(customize_query_fn=longer)(place, corpus.items)
    store_model = FixedEmbedding(vectors=corpus.vectors)
    found = ForLlamaIndex(text_store=store, embed_model=store_model, raw=True).retrieve(QUESTIONS[0])
    assert found
    assert all(hit.node.metadata["custom_fields"] == {"letters": len(hit.node.text)} for hit in found)
    assert all(len(hit.node.text) > 6 for hit in found)


def test_metadata_columns_are_metadata_and_filters(place: Place, corpus: Corpus) -> None:
    from langchain_postgres import Column

    engine = postgres.lc_engine(place)
    columns = [Column("modality", "TEXT"), Column("parity", "INTEGER")]
    engine.init_vectorstore_table("items", 16, schema_name=place.name, metadata_columns=columns)
    store = PGVectorStore.create_sync(
        engine, forms.lc_embeddings(), "items", schema_name=place.name, metadata_columns=["modality", "parity"]
    )
    forms.add_documents(store, corpus.items)
    retriever = ForLangChain(
        store=store,
        embeddings=forms.lc_embeddings(questions=corpus.vectors),
        k=6,
        raw=True,
        filter={"$or": [{"parity": {"$lt": 1}}, {"place": {"$in": ["1", "3"]}}]},
        minimum={"image": 3},
    )
    for document in retriever.invoke(QUESTIONS[0]):
        assert document.id is not None
        known = corpus[document.id]
        assert known.metadata["parity"] == 0 or known.metadata["place"] in (1, 3)
        assert {key: document.metadata[key] for key in known.metadata} == known.metadata


# --- filters ----------------------------------------------------------------------------------------------------------


def test_llama_index_filters_join_that_of_the_modality(place: Place, corpus: Corpus) -> None:
    store = postgres.li_make()(place, corpus.items)
    either = MetadataFilters(
        filters=[
            MetadataFilter(key="place", value=["3", "5", "7"], operator=FilterOperator.IN),
            MetadataFilters(filters=[MetadataFilter(key="place", value=20, operator=FilterOperator.GTE)]),
        ],
        condition=FilterCondition.OR,
    )
    source = li_source(store, "image", mixed=True, filters=either)
    for question, found in enumerate(source.search(questions_of(corpus), 30)):
        expected = corpus.nearest(
            question, 30, "image", lambda one: one.metadata["place"] in (3, 5, 7) or one.metadata["place"] >= 20
        )
        assert list(found.ids) == expected
    assert len(source.search(questions_of(corpus)[:1], 30)[0].ids) == 8


@pytest.mark.parametrize("label", ["the artist's :view", "7", 'a "b" %s'])
def test_any_label_of_a_modality_can_be_asked_for(label: str, place: Place) -> None:
    rows = np.eye(16).tolist()
    items = [item("1", rows[0], modality=label), item("2", rows[1], modality="text")]
    question = [Question("", np.eye(16, dtype=np.float32)[1])]
    store = postgres.li_make()(place, items)
    assert li_source(store, label, mixed=True).search(question, 5)[0].ids == [items[0].id]
    old = postgres.old_make("COSINE")(place, items)
    assert source_of(old, View(label, modality_key="modality")).search(question, 5)[0].ids == [items[0].id]
    place.name += "new"
    new = postgres.lc_make("COSINE_DISTANCE")(place, items)
    assert source_of(new, View(label, modality_key="modality")).search(question, 5)[0].ids == [items[0].id]


def test_filters_that_the_store_does_not_know_are_refused(place: Place, corpus: Corpus) -> None:
    new = postgres.lc_make("COSINE_DISTANCE")(place, corpus.items)
    with pytest.raises(InvalidInputError, match=r"'\$near'.*is no filter of a PGVectorStore"):
        source_of(new, View("text", filter={"place": {"$near": 3}}))
    old = postgres.old_make("COSINE")(place, corpus.items)
    with pytest.raises(InvalidInputError, match="'parity' is no filter of a PGVector"):
        source_of(old, View("text", filter="parity"))


def test_a_filter_that_the_server_refuses_is_named(place: Place, corpus: Corpus) -> None:
    # LangChain's class casts what it finds under a key to the type of the value that it is compared with.
    new = postgres.lc_make("COSINE_DISTANCE")(place, corpus.items)
    source = source_of(new, View("text", filter={"modality": {"$gt": 3}}))
    with pytest.raises(
        SourceError, match=r"PostgreSQL refuses the search of .*invalid input syntax(?s:.*)check the filter"
    ):
        source.search(questions_of(corpus)[:1], 3)


# --- event loops and connections ------------------------------------------------------------------------------------


def pooled(place: Place, driver: str) -> Any:
    store = postgres.li_open(place)
    server = place.server(postgres.SERVER)
    store._async_engine = create_async_engine(server.url(driver))
    return store


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_pooled_connections_serve_one_event_loop_and_threads_the_others(
    driver: str, place: Place, corpus: Corpus
) -> None:
    postgres.li_make()(place, corpus.items)
    store = pooled(place, driver)
    seen: list[str] = []
    _spy(store._async_engine.sync_engine, seen)
    source = li_source(store, mixed=True)
    expected = [corpus.nearest(q, 5, "text") for q in range(len(QUESTIONS))]

    async def ask(close: bool) -> list[list[str]]:
        found = await source.asearch(questions_of(corpus), 5)
        if close:
            await store._async_engine.dispose()
        return [list(one.ids) for one in found]

    assert asyncio.run(ask(close=True)) == expected
    used = len(seen)
    assert used >= len(QUESTIONS)
    assert asyncio.run(ask(close=False)) == expected
    assert len(seen) == used


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_store_that_is_only_asynchronous(driver: str, place: Place, corpus: Corpus) -> None:
    postgres.old_make("COSINE")(place, corpus.items)
    path = f"{place.name},public"
    arguments = (
        {"server_settings": {"search_path": path}} if driver == "asyncpg" else {"options": f"-csearch_path={path}"}
    )
    embeddings = forms.lc_embeddings(questions=corpus.vectors)
    url = place.server(postgres.SERVER).url(driver)
    expected = [i for i, _ in corpus.ranking(0, 10)]

    async def ask() -> Any:
        engine = create_async_engine(url, connect_args=arguments)
        store = PGVector(embeddings, connection=engine, collection_name="items", create_extension=False)
        retriever = ForLangChain(store=store, k=10, embeddings=embeddings)
        await retriever.acalibrate(list(QUESTIONS), method="standardized")
        assert [document.id for document in await retriever.ainvoke(QUESTIONS[0])] == expected
        # A synchronous search has connections of its own; it may even be made while this loop waits for it.
        assert [document.id for document in retriever.invoke(QUESTIONS[0])] == expected
        await engine.dispose()
        return retriever

    retriever = asyncio.run(ask())
    assert [document.id for document in retriever.invoke(QUESTIONS[0])] == expected
    assert [document.id for document in asyncio.run(retriever.ainvoke(QUESTIONS[0]))] == expected


def test_the_asynchronous_class_alone(place: Place, corpus: Corpus) -> None:
    from langchain_postgres import PGEngine
    from langchain_postgres.v2.async_vectorstore import AsyncPGVectorStore

    postgres.lc_make("COSINE_DISTANCE")(place, corpus.items)

    async def ask() -> list[list[str]]:
        engine = create_async_engine(place.server(postgres.SERVER).url("asyncpg"))
        made = PGEngine.from_engine(engine)
        store = await AsyncPGVectorStore.create(made, forms.lc_embeddings(), "items", schema_name=place.name)
        source: Any = source_of(store, View("image", modality_key="modality"))
        found = await source.asearch(questions_of(corpus), 5)
        await engine.dispose()
        return [list(one.ids) for one in found]

    assert asyncio.run(ask()) == [corpus.nearest(q, 5, "image") for q in range(len(QUESTIONS))]


def test_no_more_connections_than_the_pool_keeps(place: Place, corpus: Corpus) -> None:
    postgres.li_make()(place, corpus.items)
    store = postgres.li_open(place)
    url = place.server(postgres.SERVER).url("psycopg2")
    engine = store._engine = sa.create_engine(url, pool_size=2, max_overflow=5)
    place.on_close(engine.dispose)
    out, most = 0, 0

    @sa.event.listens_for(engine, "checkout")
    def checkout(*_: Any) -> None:
        nonlocal out, most
        out, most = out + 1, max(most, out + 1)

    @sa.event.listens_for(engine, "checkin")
    def checkin(*_: Any) -> None:
        nonlocal out
        out -= 1

    found = li_source(store, mixed=True).search(questions_of(corpus) * 3, 5)
    assert len(found) == 3 * len(QUESTIONS)
    assert (out, most) == (0, 2)


def test_a_server_that_is_down(place: Place, corpus: Corpus) -> None:
    from llama_index.vector_stores.postgres import PGVectorStore as LlamaStore

    nowhere = f"postgres@/postgres?host={place.folder}"
    store = LlamaStore(
        f"postgresql+psycopg2://{nowhere}", f"postgresql+asyncpg://{nowhere}", table_name="items", embed_dim=16
    )
    retriever = ForLlamaIndex(
        text_store=store,
        embed_model=FixedEmbedding(vectors=corpus.vectors),
        raw=True,
        failures=FailurePolicy(attempts=2, backoff=0),
    )
    with pytest.raises(SourceUnavailableError, match="after 2 attempts"):
        retriever.retrieve(QUESTIONS[0])
    # The store has not taken the failure for a finished setting up: it makes its table when the server is back.
    assert not store._is_initialized


def test_a_server_that_hangs_keeps_no_other_store_from_opening(place: Place, corpus: Corpus) -> None:
    from llama_index.vector_stores.postgres import PGVectorStore as LlamaStore

    postgres.li_make()(place, corpus.items)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(2) as pool:
        url = f"postgres@127.0.0.1:{silent.getsockname()[1]}/postgres?sslmode=disable&gssencmode=disable"
        store = LlamaStore(f"postgresql+psycopg2://{url}", f"postgresql+asyncpg://{url}", table_name="i", embed_dim=16)
        hung = pool.submit(li_source(store).search, questions_of(corpus)[:1], 3)
        connection, _ = silent.accept()
        with connection:
            try:
                # Its first message: from here on it waits for an answer, which never comes.
                assert connection.recv(1)
                other = pool.submit(li_source(postgres.li_open(place)).search, questions_of(corpus)[:1], 3)
                assert len(other.result(timeout=30)[0].ids) == 3
                assert not hung.done()
            finally:
                silent.close()
                connection.close()
        with pytest.raises(sa.exc.OperationalError):
            hung.result(timeout=30)


# --- odd tables and rows ----------------------------------------------------------------------------------------------


def test_a_table_that_is_not_there_yet(place: Place, corpus: Corpus) -> None:
    store = postgres.li_open(place, perform_setup=False)
    source = li_source(store)
    with pytest.warns(CommonscaleWarning, match=r"data_items.*does not exist.*until it is created"):
        assert [list(one.ids) for one in source.search(questions_of(corpus)[:2], 3)] == [[], []]
    assert source.dimension is None
    postgres.li_make()(place, corpus.of("text"))
    assert list(source.search(questions_of(corpus), 3)[0].ids) == corpus.nearest(0, 3, "text")
    assert source.dimension == 16
    old = postgres.old_make("COSINE")(place, [])
    empty: Any = source_of(old, View("text"))
    assert list(empty.search(questions_of(corpus)[:1], 3)[0].ids) == []
    assert empty.dimension is None


def test_another_dimension_is_refused(place: Place, corpus: Corpus) -> None:
    short = [Question("short", np.eye(8, dtype=np.float32)[0])]
    source = li_source(postgres.li_make()(place, corpus.items))
    with pytest.raises(InvalidInputError, match=r"'short' has a vector of shape \(8,\).*\(16,\)"):
        source.search(short, 3)
    store = postgres.old_make("COSINE")(place, corpus.items)
    untold: Any = source_of(store, View("text"))
    with pytest.raises(InvalidInputError, match=r"8 dimensions.*have 16"):
        untold.table.search(np.eye(8, dtype=np.float32)[:1], 3, False)


def test_a_table_that_is_made_anew_is_read_anew(place: Place, corpus: Corpus) -> None:
    source: Any = li_source(postgres.li_make()(place, corpus.items))
    assert len(source.search(questions_of(corpus), 3)[0].ids) == 3
    before = source.table.version
    assert before == source.table.read_version()
    sql(place, 'ALTER TABLE "SCHEMA".data_items ALTER embedding TYPE vector(8) USING subvector(embedding, 1, 8)')
    with pytest.raises(InvalidInputError, match=r"question has 16 dimensions.*data_items.* have 8"):
        source.search(questions_of(corpus), 3)
    assert source.table.version is None
    assert source.dimension == 8
    sql(place, 'DROP TABLE "SCHEMA".data_items')
    postgres.li_make()(place, corpus.of("image"))
    assert list(source.search(questions_of(corpus), 3)[0].ids) == corpus.nearest(0, 3, "image")
    assert source.table.version == source.table.read_version() != before


def test_vectors_of_any_length_that_are_made_anew_are_measured_anew(place: Place, corpus: Corpus) -> None:
    source: Any = source_of(postgres.old_make("COSINE")(place, corpus.items), View("text"))
    assert len(source.search(questions_of(corpus), 3)[0].ids) == 3
    rows = '"SCHEMA".langchain_pg_embedding'
    sql(place, f"UPDATE {rows} SET embedding = subvector(embedding, 1, 8)")
    with pytest.raises(SourceError, match=r"different vector dimensions(?s:.*)the 16 dimensions of the question"):
        source.search(questions_of(corpus), 3)
    assert source.dimension == 8
    with pytest.raises(InvalidInputError, match=r"\(16,\).*\(8,\)"):
        source.search(questions_of(corpus), 3)


def test_without_its_index_the_stores_own_measure_decides_the_order_no_more(place: Place) -> None:
    units = [one for one in known_items() if not one.id.endswith("4")]
    store = postgres.lc_make("EUCLIDEAN")(place, units)
    sql(place, 'CREATE INDEX own ON "SCHEMA".items USING hnsw (embedding vector_l2_ops)')
    source: Any = source_of(store, View("text"))
    question = [Question("", np.eye(16, dtype=np.float32)[0])]
    assert [i[-1] for i in source.search(question, 4)[0].ids] == ["1", "2", "3", "5"]
    sql(place, 'DROP INDEX "SCHEMA".own')
    forms.add_documents(store, [one for one in known_items() if one.id.endswith("4")])
    # Far away, but in the direction of the question.
    found = source.search(question, 4)[0]
    assert {i[-1] for i in found.ids} == {"1", "2", "3", "4"}
    assert found.cosines.tolist() == pytest.approx([0.9, 0.6, 0.3, 0.3], abs=1e-6)
    probe = source.probe(question, 4)[0]
    assert probe.kind == "l2"
    assert probe.numbers[0] == pytest.approx(0.2**0.5, abs=1e-6)


@pytest.mark.parametrize("value", ["array_fill(0, ARRAY[16])::vector", "NULL"])
def test_a_document_without_a_direction_is_named(value: str, place: Place, corpus: Corpus) -> None:
    store = postgres.li_make()(place, corpus.of("text"))
    gone = corpus.nearest(0, 1, "text")[0]
    sql(place, f"UPDATE \"SCHEMA\".data_items SET embedding = {value} WHERE node_id = '{gone}'")
    with pytest.raises(SourceError, match=f"document '{gone}' in .*data_items.* is null or missing"):
        li_source(store).search(questions_of(corpus)[:1], 60)


def test_a_node_that_was_added_twice_is_named(place: Place, corpus: Corpus) -> None:
    store = postgres.li_make()(place, corpus.of("text"))
    nearest = corpus.nearest(0, 1, "text")[0]
    forms.add_nodes(store, [corpus[nearest]])
    with pytest.raises(SourceError, match=f"document '{nearest}' more than once.*delete it, then add it once"):
        li_source(store).search(questions_of(corpus)[:1], 3)


def test_image_nodes_in_every_form_come_back(place: Place) -> None:
    from PIL import Image

    rows = np.eye(16).tolist()
    Image.new("RGB", (2, 2)).save(picture := str(place.folder / "b.png"))
    nodes = [
        ImageNode(id_="path", image_path="a.png", embedding=rows[0]),
        ImageNode(id_="url", image_url="https://example.com/a.png", text="a caption", embedding=rows[1]),
        ImageNode(id_="base64", image="aGVsbG8=", embedding=rows[2]),
        TextNode(id_="text", text="words: 'quoted', :bound, %s", embedding=rows[3]),
        ImageDocument(id_="document", image_path=picture, metadata={"modality": "image"}, embedding=rows[4]),
        Node(id_="resource", image_resource=MediaResource(url="https://example.com/c.png"), embedding=rows[5]),
    ]
    store = postgres.li_open(place)
    store.add(nodes)
    question = [Question("", np.eye(16, dtype=np.float32)[0])]
    source = li_source(store, "image", mixed=True, modality_key="_node_type")
    found = source.search(question, 9)[0]
    assert sorted(found.ids) == ["base64", "document", "path", "url"]
    made = {node.node_id: node for node in source.nodes(_hits(found))}
    assert made["path"].image_path == "a.png"
    assert (made["url"].image_url, made["url"].text) == ("https://example.com/a.png", "a caption")
    assert made["base64"].image == "aGVsbG8="
    texts = li_source(store, "text", mixed=True, modality_key="_node_type")
    text = texts.search([Question("", np.eye(16, dtype=np.float32)[3])], 1)[0]
    assert texts.nodes(_hits(text))[0].text == "words: 'quoted', :bound, %s"
    labeled = li_source(store, "image", mixed=True).search(question, 9)[0]
    assert list(labeled.ids) == ["document"]


def _hits(found: Any) -> list[Any]:
    from commonscale.core.types import Hit

    rows = zip(found.ids, found.cosines.tolist(), found.payloads, strict=True)
    return [Hit(i, "image", cosine, cosine, payload) for i, cosine, payload in rows]
