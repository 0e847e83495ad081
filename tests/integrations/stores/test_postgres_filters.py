"""Filters of PostgreSQL's stores: what they find, and that nothing in them is read as SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store_suite import postgres
from store_suite.corpus import Item
from store_suite.kind import Place

if reason := postgres.no_server():
    pytest.skip(reason, allow_module_level=True)
pytest.importorskip("llama_index.vector_stores.postgres")
pytest.importorskip("langchain_postgres")

from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from commonscale import Question
from commonscale.core.errors import InvalidInputError
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from commonscale.llama_index.postgres_filters import condition_of
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source

QUESTION = [Question("", np.eye(16, dtype=np.float32)[0])]

TENANTS = ["x", "y", "O'Neil", "a :b", '100% "sure"', "back\\slash", "12", "a_b", "axb", "Ünï", "{1}", "--", "%(x)s"]
HOSTILE = [*TENANTS, "x' OR '1'='1", "x') OR (true) --", "'; DROP TABLE data_items; --", ":name", "?"]

METADATA: dict[str, dict[str, Any]] = {
    "1": {"n": 12, "word": "apple pie", "tags": ["a", "b"], "big": 2**60},
    "2": {"n": 7.5, "word": "Apple", "tags": ["b"], "big": 2**60 + 1},
    "3": {"n": 0.1, "word": "100%", "tags": [1, 2], "empty": ""},
    "4": {"n": -3, "word": "under_score", "tags": [], "empty": []},
    "5": {"n": 12.0, "word": "underscore", "empty": None, 'it\'s :a "key"': "yes"},
    "6": {"word": "zebra", "n": None, "empty": "full"},
    "7": {"word": "O'Neil", "on": True},
}
MIXED: dict[str, dict[str, Any]] = {
    "1": {"key": 12},
    "2": {"key": "12"},
    "3": {"key": "twelve"},
    "4": {"key": 13.5},
    "5": {"key": True},
    "6": {"key": [12]},
    "7": {"key": {"12": 12}},
    "8": {"key": None},
    "9": {},
}


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(tmp_path, 16, request.getfixturevalue)
    yield made
    made.close()


def item(number: str, metadata: dict[str, Any]) -> Item:
    vector = np.eye(16)[0] + np.eye(16)[int(number)]
    return Item(f"00000000-0000-0000-0000-{number:>012}", "text", number, metadata, vector.tolist())


def items_of(metadata: dict[str, dict[str, Any]]) -> list[Item]:
    return [item(number, one) for number, one in metadata.items()]


def one(key: str, operator: FilterOperator, value: Any = None) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


def found_by(store: Any, filters: MetadataFilters) -> set[str]:
    source = open_source(store, StoreRequest("text", filters=filters))
    return {name[-2:].lstrip("0") for name in source.search(QUESTION, 20)[0].ids}


@pytest.fixture(params=[{}, {"use_jsonb": True}], ids=["json", "jsonb"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


def numbers(names: Any) -> set[str]:
    """The items of tenants of which something holds."""
    return {str(number) for number, name in enumerate(TENANTS, 1) if names(name)}


def tenants() -> list[Item]:
    return [item(str(number), {"name": name}) for number, name in enumerate(TENANTS, 1)]


def test_nothing_in_a_value_is_read_as_sql(place: Place) -> None:
    store = postgres.li_make()(place, tenants())
    for value in HOSTILE:
        same = numbers(lambda name, value=value: name == value)
        held = numbers(lambda name, value=value: value in name)
        assert found_by(store, one("name", FilterOperator.EQ, value)) == same
        assert found_by(store, one("name", FilterOperator.NIN, [value])) == numbers(lambda _: True) - same
        assert found_by(store, one("name", FilterOperator.IN, [value, "x"])) == same | {"1"}
        assert found_by(store, one("name", FilterOperator.TEXT_MATCH, value)) == held
        assert found_by(store, one("name", FilterOperator.TEXT_MATCH_INSENSITIVE, value.upper())) >= held
        # The member of an array: of a single text only the whole is one.
        assert found_by(store, one("name", FilterOperator.ANY, [value, "nobody"])) == same


def test_nothing_in_a_key_is_read_as_sql(place: Place) -> None:
    store = postgres.li_make()(place, tenants())
    for key in ("name' OR '1'='1", "x') OR (true) --", "x :y", "%s", "?"):
        assert found_by(store, one(key, FilterOperator.EQ, "x")) == set()
        assert found_by(store, one(key, FilterOperator.GT, 3)) == set()
        assert found_by(store, one(key, FilterOperator.NE, "x")) == numbers(lambda _: True)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_every_operator_runs_on_every_asynchronous_driver(driver: str, place: Place) -> None:
    store = postgres.li_make(driver)(place, [*items_of(METADATA)])

    async def ask(key: str, operator: FilterOperator, value: Any) -> set[str]:
        source: Any = open_source(store, StoreRequest("text", filters=one(key, operator, value)))
        return {name[-2:].lstrip("0") for name in (await source.asearch(QUESTION, 20))[0].ids}

    async def ask_all() -> None:
        asked = {operator: (key, value) for key, operator, value in reversed(CASES)}
        assert set(asked) == set(FilterOperator)
        for operator, (key, value) in asked.items():
            passes = build_metadata_filter_fn(METADATA.__getitem__, one(key, operator, value))
            assert await ask(key, operator, value) == {number for number in METADATA if passes(number)}, operator
        assert await ask("word", FilterOperator.EQ, "O'Neil") == {"7"}
        assert await ask("word", FilterOperator.NE, "a :b") == set(METADATA)

    asyncio.run(ask_all())


CASES: list[tuple[str, FilterOperator, Any]] = [
    ("n", FilterOperator.EQ, 12),
    ("n", FilterOperator.EQ, 0.1),
    ("n", FilterOperator.NE, 12),
    ("n", FilterOperator.GT, 7.5),
    ("n", FilterOperator.GTE, 7.5),
    ("n", FilterOperator.LT, 0.1),
    ("n", FilterOperator.LTE, 0.1),
    ("n", FilterOperator.IN, [7.5, 0.1]),
    ("n", FilterOperator.IN, [12, -3]),
    ("n", FilterOperator.IN, []),
    ("n", FilterOperator.NIN, [12]),
    ("n", FilterOperator.NIN, []),
    ("big", FilterOperator.EQ, 2**60),
    ("big", FilterOperator.GT, 2**60),
    ("word", FilterOperator.EQ, "O'Neil"),
    ("word", FilterOperator.NE, "zebra"),
    ("word", FilterOperator.GT, "under"),
    ("word", FilterOperator.LTE, "underscore"),
    ("word", FilterOperator.IN, ["zebra", "Apple", "nothing"]),
    ("word", FilterOperator.TEXT_MATCH, "pp"),
    ("word", FilterOperator.TEXT_MATCH, "_"),
    ("word", FilterOperator.TEXT_MATCH, "%"),
    ("word", FilterOperator.TEXT_MATCH_INSENSITIVE, "APPLE"),
    ("tags", FilterOperator.CONTAINS, "b"),
    ("tags", FilterOperator.CONTAINS, 2),
    ("tags", FilterOperator.ANY, ["a", "c"]),
    ("tags", FilterOperator.ANY, [2, 5]),
    ("tags", FilterOperator.ANY, []),
    ("tags", FilterOperator.ALL, ["a", "b"]),
    ("tags", FilterOperator.ALL, [1, 2]),
    ("tags", FilterOperator.ALL, [1, 3]),
    ("tags", FilterOperator.ALL, []),
    ("empty", FilterOperator.IS_EMPTY, None),
    ("tags", FilterOperator.IS_EMPTY, None),
    ("nowhere", FilterOperator.EQ, "x"),
    ("nowhere", FilterOperator.NE, "x"),
    ("nowhere", FilterOperator.NIN, ["x"]),
    ("nowhere", FilterOperator.ALL, []),
    ('it\'s :a "key"', FilterOperator.EQ, "yes"),
    ('it\'s :a "key"', FilterOperator.NE, "yes"),
]


@pytest.mark.parametrize("settings", [{}, {"use_jsonb": True}], ids=["json", "jsonb"])
def test_operators_mean_what_they_mean_in_the_store_in_memory(settings: dict[str, Any], place: Place) -> None:
    store = postgres.li_make(**settings)(place, items_of(METADATA))
    for case in CASES:
        for condition in (FilterCondition.AND, FilterCondition.NOT):
            asked = MetadataFilters(filters=one(*case).filters, condition=condition)
            passes = build_metadata_filter_fn(METADATA.__getitem__, asked)
            assert found_by(store, asked) == {number for number in METADATA if passes(number)}, (case, condition)


@pytest.mark.parametrize("settings", [{}, {"use_jsonb": True}], ids=["json", "jsonb"])
def test_values_of_many_types_under_one_key_fail_no_search(settings: dict[str, Any], place: Place) -> None:
    store = postgres.li_make(**settings)(place, items_of(MIXED))
    several = set(MIXED)
    for operator, value, numbers in [
        # Equal is a number of the same size, or what reads the same: the store's own IN knows numbers only as text.
        (FilterOperator.EQ, 12, {"1", "2"}),
        (FilterOperator.EQ, "12", {"1", "2"}),
        (FilterOperator.EQ, 12.0, {"1"}),
        (FilterOperator.NE, 12, several - {"1", "2"}),
        (FilterOperator.IN, ["12", "twelve"], {"1", "2", "3"}),
        (FilterOperator.NIN, ["12", "twelve"], several - {"1", "2", "3"}),
        (FilterOperator.EQ, "true", {"5"}),
        # Numbers are ordered with numbers, texts with texts.
        (FilterOperator.GT, 5, {"1", "4"}),
        (FilterOperator.LTE, 12, {"1"}),
        (FilterOperator.GT, "5", {"3"}),
        (FilterOperator.LT, "5", {"2"}),
        (FilterOperator.ANY, [12], {"2", "6", "7"}),
        (FilterOperator.ALL, ["12"], {"2", "7"}),
        (FilterOperator.TEXT_MATCH, "we", {"3"}),
        (FilterOperator.IS_EMPTY, None, {"8", "9"}),
    ]:
        assert found_by(store, one("key", operator, value)) == numbers, (operator, value)


def test_groups_nest_and_empty_ones_restrict_nothing(place: Place) -> None:
    store = postgres.li_make()(place, items_of(METADATA))
    everything = set(METADATA)
    small = MetadataFilter(key="n", value=1, operator=FilterOperator.LT)
    apple = MetadataFilter(key="word", value="apple", operator=FilterOperator.TEXT_MATCH_INSENSITIVE)
    none = MetadataFilters(filters=[])

    def group(condition: FilterCondition | None, *filters: Any) -> MetadataFilters:
        return MetadataFilters(filters=list(filters), condition=condition)

    either = group(FilterCondition.OR, small, apple)
    assert found_by(store, either) == {"1", "2", "3", "4"}
    assert found_by(store, group(FilterCondition.AND, either, group(FilterCondition.NOT, apple))) == {"3", "4"}
    assert found_by(store, group(None, small, group(FilterCondition.NOT, apple))) == {"3", "4"}
    assert found_by(store, group(FilterCondition.NOT, either)) == {"5", "6", "7"}
    assert found_by(store, group(FilterCondition.NOT, group(FilterCondition.NOT, small))) == {"3", "4"}
    for condition in FilterCondition:
        assert found_by(store, group(condition)) == everything
        assert found_by(store, group(condition, none)) == everything
    assert found_by(store, group(FilterCondition.OR, none, small)) == {"3", "4"}


def test_what_cannot_be_translated_is_named(place: Place) -> None:
    store = postgres.li_open(place)
    near = MetadataFilter.model_construct(key="n", value=3, operator="near")
    lone = chr(0xD800)
    for filters, words in [
        (MetadataFilters.model_construct(filters=[near], condition=FilterCondition.AND), "operator 'near'.*known are"),
        (one("n", FilterOperator.EQ), "one string or number.*got None"),
        (one("n", FilterOperator.GT, ["a"]), r"one string or number.*got \['a'\]"),
        (one("n", FilterOperator.IN, "abc"), "needs a list.*got 'abc'"),
        (one("n", FilterOperator.LT, float("inf")), "compares with inf"),
        (one("n", FilterOperator.EQ, float("nan")), "compares with nan"),
        (one("n", FilterOperator.ANY, [float("nan")]), "compares with nan"),
        (one("n", FilterOperator.EQ, "a\0b"), "null character"),
        (one("a\0b", FilterOperator.NE, 3), "null character"),
        (one("n", FilterOperator.IN, [lone]), "no text"),
    ]:  # fmt: skip
        with pytest.raises(InvalidInputError, match=words):
            open_source(store, StoreRequest("text", filters=filters))
    odd = MetadataFilters.model_construct(filters=one("n", FilterOperator.EQ, 3).filters, condition="xor")
    with pytest.raises(InvalidInputError, match="joined by 'xor'"):
        condition_of(odd, store._table_class.__table__.c.metadata_)


@pytest.mark.parametrize("make", [postgres.lc_make("COSINE_DISTANCE"), postgres.old_make("COSINE")], ids=["new", "old"])
def test_langchain_s_stores_bind_the_values_of_filters_themselves(make: Any, place: Place) -> None:
    store = make(place, [item(str(number), {"name": name}) for number, name in enumerate(TENANTS, 1)])

    def found(filter: Any) -> set[str]:
        return {
            name[-2:].lstrip("0") for name in source_of(store, View("text", filter=filter)).search(QUESTION, 20)[0].ids
        }

    everything = {str(number) for number in range(1, len(TENANTS) + 1)}
    for value in HOSTILE:
        same = {str(number) for number, name in enumerate(TENANTS, 1) if name == value}
        assert found({"name": value}) == same
        assert found({"name": {"$ne": value}}) == everything - same
        assert found({"name": {"$in": [value, "x"]}}) == same | {"1"}
        assert found({"name": {"$between": [value, value]}}) == same
        with pytest.raises(InvalidInputError, match="Invalid field name"):
            found({f"name' {value}": "x"})
