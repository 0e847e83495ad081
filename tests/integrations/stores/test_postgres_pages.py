"""Reading whole tables of PostgreSQL, whatever their ids are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store_suite import forms, postgres
from store_suite.corpus import Corpus
from store_suite.kind import Place

if reason := postgres.no_server():
    pytest.skip(reason, allow_module_level=True)
pytest.importorskip("llama_index.vector_stores.postgres")
pytest.importorskip("langchain_postgres")

from langchain_postgres import Column, PGVectorStore

from commonscale.core.errors import SourceError
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(tmp_path, 16, request.getfixturevalue)
    yield made
    made.close()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_ids_that_are_numbers(place: Place, driver: str) -> None:
    engine = postgres.lc_engine(place, driver)
    engine.init_vectorstore_table("items", 2, schema_name=place.name, id_column=Column("number", "INTEGER"))
    rows = ", ".join(f"({n}, 'a', '[1,{n}]')" for n in range(1, 26))
    place.server(postgres.SERVER).run(f'INSERT INTO "{place.name}".items (number, content, embedding) VALUES {rows}')
    store = PGVectorStore.create_sync(
        engine, forms.lc_embeddings(), "items", schema_name=place.name, id_column="number"
    )
    source: Any = source_of(store, View("text"))
    found = {one: row for ids, vectors in source.scan(10) for one, row in zip(ids, vectors, strict=True)}
    assert sorted(map(int, found)) == list(range(1, 26))
    assert source.vectors_of(["7", "3", "7"]).tolist() == [[1.0, 7.0], [1.0, 3.0], [1.0, 7.0]]
    with pytest.raises(SourceError, match="holds no vector of the document '99'"):
        source.vectors_of(["3", "99"])


def test_rows_that_go_while_a_table_is_read_hide_no_others(place: Place) -> None:
    corpus = Corpus()
    store = postgres.li_open(place)
    store.add(forms.nodes(corpus.items))
    source = open_source(store, StoreRequest("text"))
    pages = source.scan(20)  # type: ignore[attr-defined]
    first = next(pages)[0]
    store.delete_nodes(first)
    rest = [one for ids, _ in pages for one in ids]
    assert sorted([*first, *rest]) == sorted(item.id for item in corpus.items)
    store.add(forms.nodes(corpus.without(rest).items))
    assert sorted(one for ids, _ in source.scan() for one in ids) == sorted([*first, *rest])  # type: ignore[attr-defined]
    np.testing.assert_allclose(source.vectors_of(rest[:2])[1], corpus[rest[1]].vector, atol=1e-6)  # type: ignore[attr-defined]
