"""What is particular to LanceDB: metrics and indexes, filters in SQL, rows that LlamaIndex did not write."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lancedb")

import lancedb
from lancedb.index import HnswSq, IvfPq
from llama_index.core.schema import ImageNode, Node, NodeRelationship, TextNode
from llama_index.core.vector_stores import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.lancedb import LanceDBVectorStore

from commonscale import Question
from commonscale.core.errors import InvalidInputError, SourceError, UnknownScoreKindError
from commonscale.core.types import Hit
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from sources import unit_rows
from store_suite import forms
from store_suite.kind import Place
from store_suite.lancedb import lc_open

MANY, DIMENSION = 1200, 16
PQ = {"num_partitions": 8, "num_sub_vectors": 4}


def li_store(folder: Path, nodes: list[Any] | None = None, **settings: Any) -> Any:
    with warnings.catch_warnings():
        # The store looks for its table in a way that lancedb would have it give up.
        warnings.filterwarnings("ignore", "table_names", DeprecationWarning)
        store = LanceDBVectorStore(uri=str(folder), table_name="t", **settings)
    store.add(nodes or [])
    return store


def nodes(vectors: Any, metadata: Any = lambda place: {"place": place}) -> list[TextNode]:
    return [
        TextNode(id_=f"n{place}", text=f"text {place}", embedding=vector, metadata=metadata(place))
        for place, vector in enumerate(np.asarray(vectors).tolist())
    ]


def question(vector: Any) -> Question:
    return Question(vector=np.asarray(vector, np.float32))


ASKED = question([1.0, 0.5])


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return unit_rows(np.random.default_rng(0), MANY, DIMENSION)


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return [question(row) for row in unit_rows(np.random.default_rng(1), 25, DIMENSION)]


def nearest(asked: list[Question], rows: np.ndarray, k: int) -> list[list[str]]:
    cosines = np.stack([q.vector for q in asked]) @ rows.T
    return [[f"n{i}" for i in np.argsort(-line)[:k]] for line in cosines]


def recall(found: Any, expected: list[list[str]]) -> float:
    return float(np.mean([len(set(f.ids) & set(e)) / len(e) for f, e in zip(found, expected, strict=True)]))


def test_the_stores_own_order_is_by_distance_and_ours_by_cosine(tmp_path: Path) -> None:
    near, far = [1.0, 0.0], [6.0, 1.0]
    store = li_store(tmp_path, nodes([far, [0.0, 1.0], near]))
    assert store.query(VectorStoreQuery(query_embedding=[0.98, 0.2], similarity_top_k=3)).ids == ["n2", "n1", "n0"]
    found = open_source(store, StoreRequest("text")).search([question([0.98, 0.2])], 3)[0]
    assert found.ids == ["n0", "n2", "n1"]
    unit = np.array([0.98, 0.2]) / np.hypot(0.98, 0.2)
    assert found.cosines == pytest.approx([unit @ far / np.hypot(6, 1), unit[0], unit[1]], abs=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_a_compressed_index_gives_true_cosines_and_nearly_all_neighbors(
    metric: str, tmp_path: Path, rows: np.ndarray, asked: list[Question]
) -> None:
    store = li_store(tmp_path, nodes(rows))
    store.table.create_index("vector", config=IvfPq(distance_type=metric, **PQ))
    found = open_source(store, StoreRequest("text")).search(asked, 20)
    for one, candidates in zip(asked, found, strict=True):
        true = rows[[int(node_id[1:]) for node_id in candidates.ids]] @ one.vector
        assert candidates.cosines == pytest.approx(true, abs=1e-5)
        assert np.all(np.diff(candidates.cosines) <= 0)
    assert recall(found, nearest(asked, rows, 20)) >= 0.95


def test_the_stores_own_refine_factor_is_used(tmp_path: Path, rows: np.ndarray, asked: list[Question]) -> None:
    store = li_store(tmp_path, nodes(rows))
    store.table.create_index("vector", config=IvfPq(distance_type="cosine", **PQ))
    expected = nearest(asked, rows, 20)
    ours = recall(open_source(store, StoreRequest("text")).search(asked, 20), expected)
    store.refine_factor = 1
    assert recall(open_source(store, StoreRequest("text")).search(asked, 20), expected) < ours - 0.1


def test_a_rare_modality_is_found_in_a_partitioned_index(
    tmp_path: Path, rows: np.ndarray, asked: list[Question]
) -> None:
    store = li_store(tmp_path, nodes(rows, lambda place: {"modality": "image" if place % 400 == 0 else "text"}))
    store.table.create_index("vector", config=IvfPq(distance_type="cosine", num_partitions=64, num_sub_vectors=4))
    store.nprobes = 1
    found = open_source(store, StoreRequest("image", mixed=True)).search(asked, 3)
    assert [sorted(candidates.ids) for candidates in found] == [["n0", "n400", "n800"]] * len(asked)


@pytest.mark.parametrize("metric", [None, "cosine", "l2", "dot"])
def test_the_self_check_is_told_what_lancedb_returns(metric: str | None, tmp_path: Path, rows: np.ndarray) -> None:
    from commonscale import to_cosine

    store = li_store(tmp_path, nodes(rows[:400]))
    if metric is not None:
        store.table.create_index("vector", config=HnswSq(distance_type=metric))
    probe = open_source(store, StoreRequest("text")).probe([question(rows[7])], 5)[0]
    kind = {None: "cosine_distance", "cosine": "cosine_distance", "l2": "squared_l2", "dot": "inner_product_distance"}
    assert probe.kind == kind[metric]
    assert probe.vectors == pytest.approx(rows[[int(node_id[1:]) for node_id in probe.ids]])
    assert to_cosine(probe.numbers, probe.kind) == pytest.approx(probe.vectors @ rows[7], abs=1e-5)


def test_vectors_of_bits_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    schema = pa.schema([("id", pa.string()), ("vector", pa.list_(pa.uint8(), 8))])
    table = lancedb.connect(tmp_path).create_table("bits", schema=schema)
    store = li_store(tmp_path, table=table)
    with pytest.raises(UnknownScoreKindError, match=r"fixed_size_list.*uint8.*floating-point"):
        open_source(store, StoreRequest("text")).search([question([1.0] * 8)], 1)


PEOPLE = [
    {"who": "O'Brien", "year": 1990, "half": 0.5, "seen": True, "topic of": "art"},
    {"who": "Brien", "year": 1995, "half": 1.5, "seen": False, "topic of": "art"},
    {"who": "Anna", "year": 2000, "half": 2.5, "seen": True, "topic of": "tax"},
    {"who": "Annabel", "year": 2005, "half": 3.5, "seen": False, "topic of": "tax"},
]

FILTERS = {
    "quote": (FilterOperator.EQ, "who", "O'Brien", [0]),
    "quotes": (FilterOperator.IN, "who", ["O'Brien", "Anna"], [0, 2]),
    "inside": (FilterOperator.TEXT_MATCH, "who", "O'B", [0]),
    "number": (FilterOperator.EQ, "year", 1995, [1]),
    "numbers": (FilterOperator.IN, "year", [1990, 2005], [0, 3]),
    "above": (FilterOperator.GT, "year", 1995, [2, 3]),
    "from": (FilterOperator.GTE, "half", 2.5, [2, 3]),
    "below": (FilterOperator.LT, "half", 2.5, [0, 1]),
    "up to": (FilterOperator.LTE, "year", 1990, [0]),
    "whole word": (FilterOperator.NE, "who", "Anna", [0, 1, 3]),
    "other number": (FilterOperator.NE, "year", 2000, [0, 1, 3]),
    "key with a space": (FilterOperator.EQ, "topic of", "tax", [2, 3]),
}


def found_by(store: Any, filters: MetadataFilters, **request: Any) -> list[str]:
    found = open_source(store, StoreRequest("text", filters=filters, **request)).search([question([1.0, 1.0])], 10)[0]
    return sorted(found.ids)


@pytest.fixture
def people(tmp_path: Path) -> Any:
    return li_store(tmp_path, nodes([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3], [1.0, 0.4]], lambda place: PEOPLE[place]))


@pytest.mark.parametrize("name", FILTERS)
def test_every_operator_means_what_it_says(name: str, people: Any) -> None:
    operator, key, value, expected = FILTERS[name]
    one = MetadataFilter(key=key, value=value, operator=operator)
    assert found_by(people, MetadataFilters(filters=[one])) == [f"n{i}" for i in expected]


def test_filters_nest_and_negate(people: Any) -> None:
    def equal(key: str, value: Any) -> MetadataFilter:
        return MetadataFilter(key=key, value=value)

    either = MetadataFilters(filters=[equal("year", 1990), equal("year", 2000)], condition=FilterCondition.OR)
    both = MetadataFilters(filters=[either, equal("who", "Anna")])
    neither = MetadataFilters(filters=[equal("year", 1990), equal("year", 2000)], condition=FilterCondition.NOT)
    assert found_by(people, either) == ["n0", "n2"]
    assert found_by(people, both) == ["n2"]
    assert found_by(people, neither) == ["n1", "n3"]
    assert found_by(people, MetadataFilters(filters=[])) == ["n0", "n1", "n2", "n3"]
    assert either.filters == [equal("year", 1990), equal("year", 2000)]


SOME = [{"topic": "art", "a`b": 1}, {"topic": None, "a`b": 2}, {"topic": "tax", "a`b": 3}]


def test_what_does_not_hold_of_a_missing_key_is_what_llama_index_means(tmp_path: Path) -> None:
    from llama_index.core.vector_stores import SimpleVectorStore

    made = nodes([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3]], lambda place: {k: v for k, v in SOME[place].items() if v})
    plain = SimpleVectorStore()
    plain.add(made)
    store = li_store(tmp_path, made)
    art = MetadataFilter(key="topic", value="art")
    other = MetadataFilter(key="topic", value="art", operator=FilterOperator.NE)
    among = MetadataFilter(key="topic", value=["art", "law"], operator=FilterOperator.IN)
    for filters, expected in [
        (MetadataFilters(filters=[other]), ["n1", "n2"]),
        (MetadataFilters(filters=[art], condition=FilterCondition.NOT), ["n1", "n2"]),
        (MetadataFilters(filters=[among], condition=FilterCondition.NOT), ["n1", "n2"]),
        (MetadataFilters(filters=[other], condition=FilterCondition.NOT), ["n0"]),
        (MetadataFilters(filters=[art, other], condition=FilterCondition.NOT), []),
    ]:
        result = plain.query(VectorStoreQuery(query_embedding=[1.0, 1.0], similarity_top_k=5, filters=filters))
        assert sorted(result.ids) == expected
        assert found_by(store, filters) == expected
    either = MetadataFilters(filters=[art, MetadataFilter(key="a`b", value=3)], condition=FilterCondition.OR)
    assert found_by(store, MetadataFilters(filters=[either], condition=FilterCondition.NOT)) == ["n1"]


def test_keys_and_values_end_no_condition(tmp_path: Path) -> None:
    store = li_store(tmp_path, nodes([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3]], lambda place: SOME[place]))

    def one(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
        return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])

    assert found_by(store, one("a`b", 2)) == ["n1"]
    assert found_by(store, one("topic", [], FilterOperator.IN)) == []
    with pytest.raises(InvalidInputError, match="refuses the filter"):
        found_by(store, one("x` = 1 OR true OR metadata.`x", 2))
    for operator in (FilterOperator.EQ, FilterOperator.NE, FilterOperator.GT, FilterOperator.TEXT_MATCH):
        with pytest.raises(InvalidInputError, match=r"needs one value; several: .*IN"):
            found_by(store, one("topic", ["art", "tax"], operator))
    with pytest.raises(InvalidInputError, match="needs a list of values, got 'art'"):
        found_by(store, one("topic", "art", FilterOperator.IN))


@pytest.mark.parametrize("number", [1, 3])
def test_a_filter_that_nothing_passes_gives_no_hits(number: int, people: Any, lc_store: Any) -> None:
    nobody = MetadataFilters(filters=[MetadataFilter(key="year", value=1)])
    found = open_source(people, StoreRequest("text", filters=nobody)).search([ASKED] * number, 5)
    assert [list(one.ids) for one in found] == [[]] * number
    found = source_of(lc_store, View("text", filter="metadata.year = 1")).search([ASKED] * number, 5)
    assert [list(one.ids) for one in found] == [[]] * number


def test_filters_that_lancedb_cannot_apply_are_refused(people: Any) -> None:
    def one(operator: FilterOperator, value: Any, key: str = "who") -> MetadataFilters:
        return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])

    with pytest.raises(InvalidInputError, match=r"cannot filter by ANY.*it has: EQ, GT"):
        found_by(people, one(FilterOperator.ANY, ["a"]))
    with pytest.raises(InvalidInputError, match="compares with None"):
        found_by(people, one(FilterOperator.EQ, None))
    with pytest.raises(InvalidInputError, match=r"refuses the filter.*metadata.who.*modality_key"):
        found_by(people, one(FilterOperator.EQ, "x", key="unknown"))
    with pytest.raises(InvalidInputError, match=r"refuses the filter .*modality = 'text'"):
        open_source(people, StoreRequest("text", mixed=True)).search([question([1.0, 1.0])], 1)


def test_image_nodes_come_back_whole(tmp_path: Path) -> None:
    made = [
        ImageNode(id_="path", image_path="a.png", text="a caption"),
        ImageNode(id_="url", image_url="http://127.0.0.1/b.png"),
        ImageNode(id_="bytes", image="aGVsbG8=", image_mimetype="image/png"),
        TextNode(id_="text", text="words"),
    ]
    for place, node in enumerate(made):
        node.embedding = [1.0, place / 10]
    made[0].relationships[NodeRelationship.SOURCE] = TextNode(id_="whole").as_related_node_info()
    source = open_source(li_store(tmp_path, made), StoreRequest("image", mixed=True, modality_key="_node_type"))
    hits = source.search([question([1.0, 0.0])], 10)[0]
    assert list(hits.ids) == ["path", "url", "bytes"]
    back = source.nodes([Hit(i, "image", 0.0, 0.0, p) for i, p in zip(hits.ids, hits.payloads, strict=True)])
    assert [type(node) for node in back] == [ImageNode] * 3
    assert (back[0].image_path, back[0].text, back[0].ref_doc_id) == ("a.png", "a caption", "whole")
    assert back[1].image_url == "http://127.0.0.1/b.png"
    assert (back[2].image, back[2].image_mimetype) == ("aGVsbG8=", "image/png")


def test_a_node_of_rows_that_llama_index_did_not_write(tmp_path: Path) -> None:
    row = {"id": 5, "doc_id": "whole", "text": "words", "vector": [1.0, 0.0], "metadata": {"a": 1, "b": None}}
    table = lancedb.connect(tmp_path).create_table("own", [row, {**row, "id": 6, "metadata": {"a": 2, "b": "x"}}])
    source = open_source(li_store(tmp_path, table=table), StoreRequest("text"))
    found = source.search([question([1.0, 0.0])], 2)[0]
    five = source.nodes([Hit(i, "text", 0.0, 0.0, p) for i, p in zip(found.ids, found.payloads, strict=True)])[0]
    assert (five.node_id, five.get_content(), five.metadata, five.ref_doc_id) == ("5", "words", {"a": 1}, "whole")


def test_a_null_vector_among_the_hits_of_an_index_is_named(tmp_path: Path, rows: np.ndarray) -> None:
    stored = rows[:300].copy()
    stored[42] = 0
    store = li_store(tmp_path, nodes(stored))
    source = open_source(store, StoreRequest("text"))
    store.table.create_index("vector", config=IvfPq(distance_type="l2", **PQ))
    with pytest.raises(SourceError, match=r"'n42'.*null"):
        source.search([question(rows[0])], 300)


def test_a_null_vector_that_lancedb_leaves_out_is_named_where_hits_are_missing(tmp_path: Path) -> None:
    vectors = np.tile([1.0, 0.5], (10, 1))
    vectors[4] = 0
    store = li_store(tmp_path, nodes(vectors, lambda place: {"place": place, "half": place % 2}))
    source = open_source(store, StoreRequest("text"))
    for k in (10, 99):
        with pytest.raises(SourceError, match=r"'n4'.*table 't'.*null"):
            source.search([ASKED, ASKED], k)
    # By cosine LanceDB passes over it, so as many as were asked for do come.
    assert len(source.search([ASKED], 9)[0].ids) == 9
    odd = MetadataFilters(filters=[MetadataFilter(key="half", value=1)])
    assert found_by(store, odd) == ["n1", "n3", "n5", "n7", "n9"]
    with pytest.raises(SourceError, match="'n4'"):
        found_by(store, MetadataFilters(filters=[MetadataFilter(key="half", value=0)]))


def test_rows_without_a_vector_are_no_null_vectors(tmp_path: Path) -> None:
    row = {"id": "a", "text": "words", "vector": [1.0, 0.0], "metadata": {"x": 1}}
    table = lancedb.connect(tmp_path).create_table("own", [row])
    table.add([{**row, "id": "b", "vector": None}])
    source = open_source(li_store(tmp_path, table=table), StoreRequest("text"))
    assert list(source.search([ASKED], 5)[0].ids) == ["a"]


def test_a_table_that_was_made_anew_with_another_dimension_is_searched(tmp_path: Path, lc_store: Any) -> None:
    source = source_of(lc_store, View("text"))
    assert source.dimension == 2
    row = {"id": "long", "text": "words", "vector": [0.0, 0.0, 1.0], "metadata": {"x": 1}}
    lancedb.connect(lc_store._connection.uri).create_table(lc_store._table_name, [row], mode="overwrite")
    assert list(source.search([question([0.0, 0.6, 0.8])], 5)[0].ids) == ["long"]
    store = li_store(tmp_path / "other", nodes([[1.0, 0.0]]), mode="overwrite")
    other = open_source(store, StoreRequest("text"))
    assert other.dimension == 2
    store._table = store._connection.create_table("t", [row], mode="overwrite")
    assert list(other.search([question([0.0, 0.6, 0.8])], 5)[0].ids) == ["long"]


def test_wrong_dimensions_and_columns_are_named(tmp_path: Path, rows: np.ndarray) -> None:
    store = li_store(tmp_path, nodes(rows[:3]))
    with pytest.raises(InvalidInputError, match=r"\(3,\).*\(16,\)"):
        open_source(store, StoreRequest("text")).search([question([1.0, 0.0, 0.0])], 1)
    store.vector_column_name = "embedding"
    with pytest.raises(InvalidInputError, match=r"no column of vectors named 'embedding', only .*'vector'"):
        open_source(store, StoreRequest("text")).search([question(rows[0])], 1)
    table = lancedb.connect(tmp_path).create_table("no_ids", [{"vector": [1.0, 0.0]}])
    with pytest.raises(InvalidInputError, match=r"'no_ids' has no column 'id' for ids, only \['vector'\]"):
        open_source(li_store(tmp_path, table=table), StoreRequest("text")).search([question([1.0, 0.0])], 1)


def test_nodes_of_a_class_of_their_own_come_back(tmp_path: Path) -> None:
    made = Node(id_="n", embedding=[1.0, 0.0], text_resource={"text": "words"}, image_resource={"path": "a.png"})
    source = open_source(li_store(tmp_path, [made]), StoreRequest("text"))
    found = source.search([question([1.0, 0.0])], 1)[0]
    back = source.nodes([Hit("n", "text", 0.0, 0.0, found.payloads[0])])[0]
    assert (type(back), str(back.image_resource.path)) == (Node, "a.png")


@pytest.fixture
def lc_store(tmp_path: Path) -> Any:
    place = Place(tmp_path, 2, lambda name: pytest.fail(f"no server {name} is needed"))
    store = lc_open(place)
    for number, metadata in enumerate(PEOPLE):
        store.embeddings.vectors[f"text {number}"] = [1.0, number / 10]
        kind = "image" if number % 2 else "text"
        store.add_texts([f"text {number}"], [{**metadata, "modality": kind}], [f"d{number}"])
    return store


def lc_found(store: Any, **view: Any) -> list[str]:
    return list(source_of(store, View(view.pop("modality", "text"), **view)).search([question([1.0, 0.0])], 10)[0].ids)


def test_filters_in_langchain(lc_store: Any) -> None:
    assert lc_found(lc_store, filter="metadata.year > 1990") == ["d1", "d2", "d3"]
    assert lc_found(lc_store, filter={"metadata.who": "O'Brien"}) == ["d0"]
    assert lc_found(lc_store, filter={"metadata.year": 1995, "metadata.seen": False}) == ["d1"]
    assert lc_found(lc_store, filter={"metadata.who": ["O'Brien", "Anna"]}) == ["d0", "d2"]
    assert lc_found(lc_store, filter={"metadata.year": [1995, 2005], "metadata.seen": False}) == ["d1", "d3"]
    assert lc_found(lc_store, filter={"metadata.year": np.int64(1995)}) == ["d1"]
    assert lc_found(lc_store, filter={"metadata.year": []}) == []
    for value in (None, {"$gt": 1990}, b"x", [[1995]]):
        with pytest.raises(InvalidInputError, match="one text, number or truth value, got"):
            lc_found(lc_store, filter={"metadata.year": value})
    assert lc_found(lc_store, modality_key="modality", filter="metadata.year > 1990 OR metadata.seen") == ["d0", "d2"]
    assert lc_found(lc_store, modality_key="topic of", modality="tax") == ["d2", "d3"]
    assert lc_found(lc_store, modality_filter="text LIKE '%3'", filter={"metadata.year": 2005}) == ["d3"]
    with pytest.raises(InvalidInputError, match=r"SQL condition .* got \['a'\]"):
        lc_found(lc_store, filter=["a"])
    with pytest.raises(InvalidInputError, match="refuses the filter"):
        lc_found(lc_store, filter="metadata.year >")


def test_langchain_sees_what_another_handle_wrote(lc_store: Any) -> None:
    source = source_of(lc_store, View("text"))
    assert len(source.search([question([1.0, 0.0])], 10)[0].ids) == 4
    row = {"id": "new", "text": "new", "vector": [1.0, 0.0], "metadata": {**PEOPLE[0], "modality": "text"}}
    lancedb.connect(lc_store._connection.uri).open_table(lc_store._table_name).add([row])
    assert source.search([question([1.0, 0.0])], 10)[0].ids[0] == "d0"
    assert "new" in source.search([question([1.0, 0.0])], 10)[0].ids


def test_langchain_documents_have_ids_and_their_metadata(lc_store: Any) -> None:
    from commonscale.langchain import StandardizedMultiModalRetriever

    retriever = StandardizedMultiModalRetriever(
        store=lc_store, embeddings=forms.lc_embeddings(questions={"q": [1.0, 0.0]}), raw=True, k=4
    )
    found = retriever.invoke("q")
    assert [document.id for document in found] == ["d0", "d1", "d2", "d3"]
    assert found[1].page_content == "text 1"
    assert {key: found[1].metadata[key] for key in PEOPLE[1]} == PEOPLE[1]


def test_a_table_given_to_langchains_store_is_searched(tmp_path: Path) -> None:
    from langchain_community.vectorstores import LanceDB

    row = {"id": "a", "text": "words", "vector": [1.0, 0.0], "metadata": {"x": 1}}
    table = lancedb.connect(tmp_path / "elsewhere").create_table("own", [row])
    store = LanceDB(uri=str(tmp_path / "here"), table=table, embedding=forms.lc_embeddings(), api_key="")
    assert lc_found(store) == ["a"]
