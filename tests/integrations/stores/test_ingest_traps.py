"""What is particular to single stores when items are put in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commonscale.core.errors import InvalidInputError
from store_suite.kind import Place


class Model:
    """The same few vectors for both frameworks."""

    def __init__(self, **vectors: list[float]) -> None:
        self.vectors = vectors

    @property
    def dimension(self) -> int:
        return 2

    @property
    def fingerprint(self) -> str:
        return "model"

    def encode_texts(self, texts: Any) -> Any:
        import numpy as np

        return np.array([self.vectors[text] for text in texts], dtype=np.float32)

    encode_questions = encode_texts

    def encode_images(self, images: Any) -> Any:
        return self.encode_texts([Path(image).stem for image in images])


MODEL = Model(cat=[3.0, 0.0], dog=[0.0, 2.0], bird=[1.0, 1.0], sketch=[0.6, 0.8])


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(tmp_path, 2, request.getfixturevalue)
    yield made
    made.close()


def test_a_lancedb_table_that_somebody_else_made_is_not_made_anew(place: Place) -> None:
    pytest.importorskip("llama_index.vector_stores.lancedb")
    from commonscale.llama_index import add_images, add_texts
    from store_suite.lancedb import li_open

    # Both were opened before there was a table, and would make it with mode "overwrite".
    texts, images = li_open(place), li_open(place)
    (one,) = add_texts(texts, ["cat"], MODEL)
    (other,) = add_images(images, ["sketch.png"], MODEL)
    assert {row["id"] for row in li_open(place).table.to_arrow().to_pylist()} == {one, other}


def test_langchain_lancedb_keeps_what_was_there_and_has_room_for_images(place: Place) -> None:
    community = pytest.importorskip("langchain_community.vectorstores")
    pytest.importorskip("lancedb")
    from commonscale.langchain import CommonscaleEmbeddings, add_images, add_texts

    embeddings = CommonscaleEmbeddings(MODEL)
    store = community.LanceDB(uri=str(place.folder), table_name="t", embedding=embeddings, api_key="")
    assert store.mode == "overwrite"
    add_texts(store, ["cat", "dog"])
    add_texts(store, ["bird"])
    add_images(store, ["sketch.png", "https://example.org/bird"], captions=["a", "b"])
    rows = store.get_table().to_arrow().to_pylist()
    assert sorted(row["text"] for row in rows) == ["a", "b", "bird", "cat", "dog"]
    pictures = {row["text"]: row["metadata"] for row in rows if row["metadata"]["modality"] == "image"}
    assert (pictures["a"]["image_path"], pictures["b"]["image_url"]) == ("sketch.png", "https://example.org/bird")
    assert store.mode == "overwrite"
    assert store.embeddings is embeddings


def test_a_faiss_map_from_which_was_deleted_gives_no_number_away_twice() -> None:
    faiss = pytest.importorskip("faiss")
    stores = pytest.importorskip("llama_index.vector_stores.faiss")
    from llama_index.core.storage.docstore import SimpleDocumentStore

    from commonscale.llama_index import StandardizedMultiModalRetriever, add_texts

    store, docstore = stores.FaissMapVectorStore(faiss.IndexIDMap2(faiss.IndexFlatIP(2))), SimpleDocumentStore()
    cat, _dog = add_texts(store, ["cat", "dog"], MODEL, docstore=docstore)
    store.delete_nodes([cat])
    add_texts(store, ["bird", "sketch"], MODEL, docstore=docstore)
    assert sorted(faiss.vector_to_array(store.client.id_map).tolist()) == [1, 2, 3]
    retriever = StandardizedMultiModalRetriever(
        store=store, docstore=docstore, modalities=["text"], embed_model=MODEL, similarity_top_k=9, raw=True
    )
    found = {hit.node.text: hit.score for hit in retriever.retrieve("sketch")}
    assert found == pytest.approx({"sketch": 1.0, "bird": 1.4 / 2**0.5, "dog": 0.8}, abs=1e-6)


@pytest.mark.parametrize("factory", ["HNSW16,Flat", "HNSW16,SQ8"])
def test_a_faiss_map_over_a_graph_takes_the_same_again_but_nothing_changed(factory: str) -> None:
    faiss = pytest.importorskip("faiss")
    stores = pytest.importorskip("llama_index.vector_stores.faiss")
    import numpy as np
    from llama_index.core.storage.docstore import SimpleDocumentStore

    from commonscale.llama_index import add_texts

    inner = faiss.index_factory(2, factory)
    inner.train(np.array([[-1, -1], [1, 1]], np.float32))
    store, docstore = stores.FaissMapVectorStore(faiss.IndexIDMap2(inner)), SimpleDocumentStore()
    ids = add_texts(store, ["cat", "dog"], MODEL, docstore=docstore)
    assert add_texts(store, ["cat", "dog", "bird"], MODEL, docstore=docstore)[:2] == ids
    assert store.client.ntotal == 3
    with pytest.raises(
        InvalidInputError, match=r"1 of these ids are in the FaissMapVectorStore already.*cannot replace"
    ):
        add_texts(store, ["sketch"], MODEL, ids=ids[:1], docstore=docstore)
    assert store.client.ntotal == 3


def test_two_collections_of_a_pgvector_database_do_not_take_each_others_documents(place: Place) -> None:
    from store_suite import postgres

    pytest.importorskip("langchain_postgres")
    if reason := postgres.no_server():
        pytest.skip(reason)
    from commonscale.langchain import CommonscaleEmbeddings, add_texts

    one = postgres.old_open(place, "COSINE")
    two = type(one)(
        CommonscaleEmbeddings(MODEL),
        connection=one._engine,
        collection_name="others",
        create_extension=False,
    )
    first, second = add_texts(one, ["cat"], MODEL), add_texts(two, ["cat"], MODEL)
    assert first != second
    assert [len(store.get_by_ids(ids)) for store, ids in ((one, first), (two, second))] == [1, 1]
    with pytest.raises(InvalidInputError, match=r"the id .* belongs to another collection of this database"):
        add_texts(two, ["dog"], MODEL, ids=first)
    assert one.get_by_ids(first)[0].page_content == "cat"


def test_opensearch_without_ids_and_milvus_with_its_own_are_refused() -> None:
    from commonscale.langchain.ingest_stores import WAYS

    class Milvus:
        auto_id = True

    with pytest.raises(InvalidInputError, match=r"this Milvus gives ids of its own \(auto_id=True\)"):
        WAYS["Milvus"].refuse(Milvus())
