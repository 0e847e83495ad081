"""LangChain's FAISS store when it is changed under a source without growing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

faiss: Any = pytest.importorskip("faiss")
community: Any = pytest.importorskip("langchain_community.vectorstores.faiss")

from langchain_community.docstore import InMemoryDocstore  # noqa: E402
from langchain_core.documents import Document  # noqa: E402

from commonscale.core.types import Question  # noqa: E402
from commonscale.langchain.faiss_store import FaissStoreSource  # noqa: E402
from commonscale.langchain.view import View  # noqa: E402

DIMENSION = 16
COUNT = 300


def rows(seed: int = 0, norm: float = 1.0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((COUNT, DIMENSION))
    return (norm * found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def fill(store: Any, vectors: np.ndarray) -> None:
    metadatas = [{"lang": "en" if i % 2 else "de"} for i in range(COUNT)]
    pairs = [(f"text {i}", row.tolist()) for i, row in enumerate(vectors)]
    store.add_embeddings(pairs, metadatas, [f"n{i}" for i in range(COUNT)])


def filled(vectors: np.ndarray) -> Any:
    # Questions are vectors already, so nothing is embedded.
    store = community.FAISS(lambda text: [0.0] * DIMENSION, faiss.IndexFlatL2(DIMENSION), InMemoryDocstore(), {})
    fill(store, vectors)
    return store


def found(source: FaissStoreSource, vector: np.ndarray, k: int = 3) -> dict[str, float]:
    best = source.search([Question("", vector / np.linalg.norm(vector))], k)[0]
    return dict(zip(best.ids, best.cosines.tolist(), strict=True))


def test_a_document_that_is_replaced_is_filtered_by_what_it_says_now() -> None:
    vectors = rows()
    store = filled(vectors)
    source = FaissStoreSource(store, View("text", filter={"lang": "en"}))
    assert "n100" not in found(source, vectors[100])
    assert "n101" in found(source, vectors[101])
    for name, lang in (("n100", "en"), ("n101", "de")):
        store.docstore.delete([name])
        store.docstore.add({name: Document(id=name, page_content="new", metadata={"lang": lang})})
    assert found(source, vectors[100])["n100"] == pytest.approx(1.0, abs=1e-5)
    assert "n101" not in found(source, vectors[101])


@pytest.mark.parametrize("changed", ["all", "one"])
def test_an_index_that_was_reset_and_filled_again(changed: str) -> None:
    store = filled(rows(norm=2.0))
    source = FaissStoreSource(store, View("text"))
    after = rows(norm=2.0)
    places = slice(None) if changed == "all" else slice(101, 102)
    after[places] = rows(seed=5, norm=2.0)[places]
    assert "n101" not in found(source, after[101])
    store.index.reset()
    store.docstore.delete(list(store.index_to_docstore_id.values()))
    store.index_to_docstore_id.clear()
    fill(store, after)
    assert found(source, after[101])["n101"] == pytest.approx(1.0, abs=1e-5)


def test_names_that_are_given_in_another_order() -> None:
    vectors = rows()
    store = filled(vectors)
    source = FaissStoreSource(store, View("text", filter={"lang": "en"}))
    found(source, vectors[0])
    names = list(store.index_to_docstore_id.values())
    store.index_to_docstore_id.clear()
    store.index_to_docstore_id.update(enumerate(reversed(names)))
    assert found(source, vectors[0], 1) == {"n299": pytest.approx(1.0, abs=1e-5)}
