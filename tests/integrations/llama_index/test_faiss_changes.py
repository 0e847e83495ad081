"""FAISS stores that are changed under a retriever without growing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

faiss: Any = pytest.importorskip("faiss")
module = pytest.importorskip("llama_index.vector_stores.faiss")

from llama_index.core.schema import BaseNode, ImageNode, TextNode  # noqa: E402
from llama_index.core.storage.docstore import SimpleDocumentStore  # noqa: E402
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters  # noqa: E402

from commonscale.core.types import Question  # noqa: E402
from commonscale.llama_index.catalog import DocstoreNodes, MappedNodes  # noqa: E402
from commonscale.llama_index.ingest import add_texts  # noqa: E402
from commonscale.llama_index.sources import StoreRequest  # noqa: E402
from commonscale.llama_index.stores import open_source  # noqa: E402
from llama_world import DIMENSION, FixedEmbedding  # noqa: E402

ENGLISH = MetadataFilters(filters=[MetadataFilter(key="lang", value="en")])


def rows(count: int, norm: float = 1.0, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return (norm * found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def text(name: str, vector: np.ndarray, **metadata: Any) -> TextNode:
    return TextNode(id_=name, text=name, metadata=metadata, embedding=vector.tolist())


def map_store(nodes: list[Any]) -> Any:
    store = module.FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(DIMENSION)))
    store.add(nodes)
    return store


def search(source: Any, vector: np.ndarray, k: int = 10) -> dict[str, float]:
    found = source.search([Question("", vector / np.linalg.norm(vector))], k)[0]
    return dict(zip(found.ids, np.round(found.cosines, 5).tolist(), strict=True))


def cosines(vectors: dict[str, np.ndarray], question: np.ndarray) -> dict[str, float]:
    unit = question / np.linalg.norm(question)
    return {name: float(row @ unit / np.linalg.norm(row)) for name, row in vectors.items()}


@pytest.mark.parametrize("by", ["the-store", "our-ingest"])
@pytest.mark.parametrize("norm", [1.0, 2.0])
def test_a_number_given_again_to_another_node(norm: float, by: str) -> None:
    vectors = dict(zip("abcd", rows(4, norm), strict=True))
    nodes = {name: text(name, row) for name, row in vectors.items()}
    store = map_store([nodes[name] for name in "abc"])
    docstore = SimpleDocumentStore()
    docstore.add_documents(list(nodes.values()))
    source = open_source(store, StoreRequest("text", catalog=DocstoreNodes(docstore)))
    question = rows(1, seed=9)[0]
    assert set(search(source, question)) == set("abc")
    store.delete_nodes(["c"])
    if by == "the-store":
        store.add([nodes["d"]])
    else:
        add_texts(store, [nodes["d"]], FixedEmbedding(), docstore=docstore)
    assert store._node_id_to_faiss_id_map["d"] == 2
    expected = {name: value for name, value in cosines(vectors, question).items() if name != "c"}
    assert search(source, question) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("vector", ["another", "the-same"])
def test_a_text_replaced_by_an_image_in_a_mixed_store(vector: str) -> None:
    first = rows(4)
    nodes: dict[str, BaseNode] = {name: text(name, row) for name, row in zip("abc", first, strict=False)}
    new = first[2] if vector == "the-same" else first[3]
    nodes["d"] = ImageNode(id_="d", image_path="d.png", embedding=new.tolist())
    store = map_store([nodes[name] for name in "abc"])
    sources = {
        modality: open_source(store, StoreRequest(modality, mixed=True, catalog=MappedNodes(nodes)))
        for modality in ("text", "image")
    }
    assert set(search(sources["text"], first[0])) == set("abc")
    assert search(sources["image"], first[0]) == {}
    store.delete_nodes(["c"])
    store.add([nodes["d"]])
    assert set(search(sources["text"], first[0])) == set("ab")
    assert set(search(sources["image"], first[0])) == {"d"}


def test_metadata_put_in_again_are_filtered_by() -> None:
    vectors = rows(20)
    nodes = [text(f"n{i}", row, lang="en" if i % 2 else "de") for i, row in enumerate(vectors)]
    store, docstore = map_store([]), SimpleDocumentStore()
    add_texts(store, nodes, FixedEmbedding(), docstore=docstore)
    source = open_source(store, StoreRequest("text", catalog=DocstoreNodes(docstore), filters=ENGLISH))
    assert set(search(source, vectors[0], 20)) == {f"n{i}" for i in range(1, 20, 2)}
    nodes[19], nodes[4] = text("n19", vectors[19], lang="de"), text("n4", vectors[4], lang="en")
    add_texts(store, nodes, FixedEmbedding(), docstore=docstore)
    assert set(search(source, vectors[0], 20)) == {f"n{i}" for i in range(1, 19, 2)} | {"n4"}


@pytest.mark.parametrize("catalog", ["list", "dict", "docstore"])
def test_metadata_of_one_node_among_many(catalog: str) -> None:
    vectors = rows(500)
    held: list[Any] = [text(f"n{i}", row, lang="en" if i % 2 else "de") for i, row in enumerate(vectors)]
    by_id = {node.node_id: node for node in held}
    docstore = SimpleDocumentStore()
    docstore.add_documents(held)
    if catalog == "list":
        store = module.FaissVectorStore(faiss.IndexFlatIP(DIMENSION))
        store.add(held)
    else:
        store = map_store(held)
    nodes = {"list": MappedNodes(held), "dict": MappedNodes(by_id), "docstore": DocstoreNodes(docstore)}[catalog]
    source = open_source(store, StoreRequest("text", catalog=nodes, filters=ENGLISH))
    assert "n100" not in search(source, vectors[100], 3)
    replaced = text("n100", vectors[100], lang="en")
    held[100] = by_id["n100"] = replaced
    docstore.add_documents([replaced])
    assert search(source, vectors[100], 3)["n100"] == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize("changed", ["all", "one", "one-and-more-rows"])
def test_an_index_that_was_reset_and_filled_again(changed: str) -> None:
    before, after = rows(300, 2.0), rows(300, 2.0)
    places = slice(None) if changed == "all" else slice(101, 102)
    after[places] = rows(300, 2.0, seed=5)[places]
    if changed == "one-and-more-rows":
        after = np.concatenate([after, rows(3, 2.0, seed=6)])
    nodes = [text(f"n{i}", row) for i, row in enumerate(after)]
    store = module.FaissVectorStore(faiss.IndexFlatL2(DIMENSION))
    store.add([text(f"n{i}", row) for i, row in enumerate(before)])
    source = open_source(store, StoreRequest("text", catalog=MappedNodes(nodes)))
    search(source, after[101])
    store.client.reset()
    store.add(nodes)
    best = sorted(cosines({f"n{i}": row for i, row in enumerate(after)}, after[101]).items(), key=lambda x: -x[1])[:5]
    assert search(source, after[101], 5) == pytest.approx(dict(best), abs=2e-5)


def test_unit_vectors_replaced_by_others() -> None:
    """What was found out about norms no longer holds, though it is the index itself that is searched."""
    store = module.FaissVectorStore(faiss.IndexFlatIP(DIMENSION))
    nodes = [text(f"n{i}", row) for i, row in enumerate(rows(200))]
    store.add(nodes)
    source = open_source(store, StoreRequest("text", catalog=MappedNodes(nodes)))
    question = rows(1, seed=9)[0]
    expected = search(source, question)
    store.client.reset()
    store.add([text(n.node_id, 3 * row) for n, row in zip(nodes, rows(200), strict=True)])
    assert search(source, question) == pytest.approx(expected, abs=2e-5)


def test_another_index_is_put_into_the_store() -> None:
    store = module.FaissVectorStore(faiss.IndexFlatIP(DIMENSION))
    nodes = [text(f"n{i}", row) for i, row in enumerate(rows(20))]
    store.add(nodes)
    source = open_source(store, StoreRequest("text", catalog=MappedNodes(nodes)))
    search(source, rows(1)[0])
    store._faiss_index = faiss.IndexFlatIP(DIMENSION)
    store._faiss_index.add(rows(20, seed=5))
    assert search(source, rows(20, seed=5)[7], 1) == {"n7": pytest.approx(1.0, abs=2e-5)}
