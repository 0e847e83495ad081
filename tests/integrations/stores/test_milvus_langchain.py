"""What is particular to Milvus in LangChain; run by ``make test-milvus`` in an environment of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from commonscale import Question
from commonscale.core.errors import InvalidInputError
from sources import unit_rows
from store_suite.kind import Place
from store_suite.milvus import lc_missing, lc_open

if reason := lc_missing():
    pytest.skip(reason, allow_module_level=True)

from langchain_core.documents import Document
from langchain_milvus import BM25BuiltInFunction, Milvus

from commonscale.langchain import StandardizedMultiModalRetriever
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from store_suite import forms
from store_suite.corpus import QUESTIONS, Corpus

DIMENSION = 4
ASKED = Question(vector=np.array([1.0, 0.0, 0.0, 0.0], np.float32))
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One file of Milvus Lite for all tests; each has collections of its own."""
    made = Place(tmp_path_factory.mktemp("milvus"), DIMENSION, lambda name: pytest.fail(f"no server {name} is needed"))
    yield made
    made.close()


@pytest.fixture
def make(place: Place) -> Make:
    """Make a store, and add documents d0, d1, ... with given vectors and metadata."""

    def opened(
        rows: Any = (), metadata: Any = lambda number: {"number": number}, metric: Any = None, **given: Any
    ) -> Any:
        place.name = f"c{uuid.uuid4().hex}"
        store = lc_open(metric, place, **given)
        add(store, rows, metadata)
        return store

    return opened


def numbered(number: int) -> dict[str, Any]:
    return {"number": number}


def add(store: Any, rows: Any, metadata: Any) -> None:
    vectors = np.asarray(rows, np.float64).tolist()
    store.embeddings.vectors.update({f"text {number}": vector for number, vector in enumerate(vectors)})
    documents = [Document(f"text {number}", metadata=metadata(number)) for number in range(len(vectors))]
    if documents:
        store.add_documents(documents, ids=[f"d{number}" for number in range(len(vectors))])


def found(store: Any, modality: str = "text", k: int = 10, **view: Any) -> list[str]:
    return list(source_of(store, View(modality, **view)).search([ASKED], k)[0].ids)


LINE = [[1.0, number / 10, 0.0, 0.0] for number in range(4)]


def labeled(number: int) -> dict[str, Any]:
    return {
        "modality": "image" if number % 2 else "text",
        "year": 1990 + number,
        "who": "O'Brien" if number else 'A "B"',
    }


def test_filters_join(make: Make) -> None:
    store = make(LINE, labeled)
    assert found(store, filter="year > 1991") == ["d2", "d3"]
    assert found(store, modality_key="modality", filter="year == 1990 or year == 1991") == ["d0"]
    assert found(store, "image", modality_key="modality") == ["d1", "d3"]
    assert found(store, 'A "B"', modality_key="who") == ["d0"]
    assert found(store, "O'Brien", modality_key="who", filter="year < 1992") == ["d1"]
    assert found(store, "any", modality_filter="year in [1990, 1993]") == ["d0", "d3"]
    with pytest.raises(InvalidInputError, match=r"boolean expression .* got \{'year': 1990\}"):
        found(store, filter={"year": 1990})


def test_metadata_may_live_in_one_field(make: Make) -> None:
    store = make(LINE, labeled, enable_dynamic_field=False, metadata_field="meta")
    assert found(store, "image", modality_key="modality", filter='meta["year"] > 1991') == ["d3"]
    candidates = source_of(store, View("text")).search([ASKED], 1)[0]
    assert candidates.payloads[0]().metadata == labeled(0)


def test_metadata_may_have_columns_of_their_own(make: Make) -> None:
    store = make(LINE, labeled, enable_dynamic_field=False)
    assert found(store, "image", modality_key="modality") == ["d1", "d3"]
    made = source_of(store, View("text")).search([ASKED], 1)[0].payloads[0]()
    assert (made.id, made.page_content, made.metadata) == ("d0", "text 0", {**labeled(0), "pk": "d0"})


def test_vectors_are_fetched_unless_the_number_is_the_cosine(make: Make) -> None:
    rows = unit_rows(np.random.default_rng(0), 20, DIMENSION)
    for metric, trusted in (("COSINE", True), ("IP", False), ("L2", False), (None, False)):
        source = source_of(make(rows, metric=metric), View("text"))
        assert source.table.trusted is trusted
        candidates = source.search([ASKED], 5)[0]
        expected = np.sort(rows @ ASKED.vector)[::-1][:5]
        assert candidates.cosines == pytest.approx(expected, abs=1e-6), metric
        assert "vector" not in candidates.payloads[0]().metadata


def test_a_partition_of_the_store_is_all_that_is_searched(make: Make) -> None:
    store = make(LINE)
    store.client.create_partition(store.collection_name, "late")
    row = {"pk": "late", "text": "late", "vector": [1.0, 0.0, 0.0, 0.0]}
    store.client.insert(store.collection_name, [row], partition_name="late")
    assert sorted(found(store)) == ["d0", "d1", "d2", "d3", "late"]
    # Given at once it would make the store load that partition alone, which Milvus Lite cannot.
    store.partition_names = ["late"]
    assert found(store) == ["late"]


def test_a_partition_key_can_be_filtered_by(make: Make) -> None:
    store = make(LINE, labeled, partition_key_field="modality")
    assert found(store, "image", modality_key="modality") == ["d1", "d3"]


def test_timeout_and_search_parameters_are_the_stores(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(LINE, metric="COSINE", search_params={"metric_type": "L2", "params": {"ef": 9}})
    store.timeout = 7.5  # The store cannot add documents if it is given at once.
    seen = []
    real = store.client.search
    monkeypatch.setattr(store.client, "search", lambda **keywords: seen.append(keywords) or real(**keywords))
    found(store)
    assert seen[0]["timeout"] == 7.5
    assert seen[0]["search_params"] == {"metric_type": "COSINE", "params": {"ef": 9}}
    assert store.search_params == {"metric_type": "L2", "params": {"ef": 9}}


def test_one_dense_field_beside_words_is_searched_and_two_are_refused(make: Make) -> None:
    embeddings = forms.lc_embeddings()
    store = make()
    hybrid = Milvus(
        embeddings,
        collection_name=f"c{uuid.uuid4().hex}",
        connection_args=store._connection_args,
        builtin_function=BM25BuiltInFunction(output_field_names="words"),
        vector_field=["dense", "words"],
        index_params=[
            {"index_type": "FLAT", "metric_type": "COSINE"},
            {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"},
        ],
    )
    add(hybrid, LINE, numbered)
    assert found(hybrid, k=2) == ["d0", "d1"]
    hybrid.client.close()
    two = Milvus(
        [embeddings, embeddings],
        collection_name=f"c{uuid.uuid4().hex}",
        connection_args=store._connection_args,
        vector_field=["a", "b"],
    )
    with pytest.raises(InvalidInputError, match=r"several fields of dense vectors \(a, b\)"):
        found(two)
    two.client.close()


def test_every_event_loop_is_answered(make: Make) -> None:
    source = source_of(make(LINE), View("text"))
    for _ in range(3):
        assert list(asyncio.run(source.asearch([ASKED], 2))[0].ids) == ["d0", "d1"]


def test_milvus_lite_is_not_remote(make: Make) -> None:
    assert not source_of(make(), View("text")).remote


def test_the_retriever_ranks_both_modalities(make: Make) -> None:
    corpus = Corpus(12, 8, DIMENSION)
    store = make()
    forms.add_documents(store, corpus.items)
    retriever = StandardizedMultiModalRetriever(
        store=store, embeddings=forms.lc_embeddings(questions=corpus.vectors), k=6
    )
    retriever.calibrate(list(QUESTIONS), method="standardized")
    found = retriever.invoke(QUESTIONS[0])
    assert [document.id for document in found] == [document_id for document_id, _ in corpus.ranking(0, 6)]
