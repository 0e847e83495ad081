"""Stores as sources: changes, filters, ids, unknown stores, degenerate content."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_community")
pytest.importorskip("faiss")

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from commonscale import Candidates
from commonscale.core.errors import (
    DegenerateStatisticsWarning,
    InvalidInputError,
    ScoreOutOfRangeError,
    SourceError,
    StoreCheckError,
    UnknownScoreKindError,
)
from commonscale.langchain import STORES, StandardizedMultiModalRetriever
from commonscale.langchain.scored_store import ScoredSource
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from langchain_world import DIMENSION, QUESTIONS, WordEmbeddings, World, add_to_memory, build_store
from sources import ArraySource

QUESTION = "what is red"
LOCAL = ["in-memory", "faiss-l2", "faiss-ip", "index"]


def raw(stores, **fields):
    return StandardizedMultiModalRetriever(**stores, embeddings=WordEmbeddings(), raw=True, **fields)


def ids(documents):
    return [document.id for document in documents]


def best_vector(scale=1.0):
    vector = np.array(WordEmbeddings().embed_query(QUESTION))
    return (scale * vector / np.linalg.norm(vector)).astype(np.float32)


def add(kind, store, document, vector):
    if kind == "in-memory":
        add_to_memory(store, [document], vector[None])
    elif kind == "index":
        from commonscale.index import Document as IndexDocument

        store.add([IndexDocument(document.id, document.metadata["modality"], document.page_content)], vector[None])
    else:
        store.add_embeddings([(document.page_content, vector.tolist())], [document.metadata], [document.id])


@pytest.mark.parametrize("norms", ["unit", "any-norm"])
@pytest.mark.parametrize("layout", ["two", "mixed"])
@pytest.mark.parametrize("kind", LOCAL)
def test_changes_are_seen_by_the_next_search(kind, layout, norms, tmp_path):
    world = World(norms)
    stores = world.stores(kind, layout, tmp_path)
    retriever = raw(stores, k=85)
    before = ids(retriever.invoke(QUESTION))
    store = stores.get("store") or stores["image_store"]
    for scale, name in ((1.0, "new"), (5.0, "newer")):
        document = Document(id=name, page_content="", metadata={"modality": "image"})
        add(kind, store, document, best_vector(scale))
    found = retriever.invoke(QUESTION)
    assert set(ids(found)[:2]) == {"new", "newer"}
    assert ids(found)[2:] == before[:-2]
    store.delete(["new"])
    store.delete([before[0]] if before[0] in world.ids["image"] or layout == "mixed" else ["newer"])
    left = ids(retriever.invoke(QUESTION, k=200))
    assert "new" not in left
    assert len(left) == 85 + 2 - 2


def test_deleting_and_adding_as_many_is_seen(tmp_path):
    """The length of the index alone would not show it."""
    for kind in LOCAL:
        store = World().store(kind, ["text", "image"], tmp_path / kind)
        retriever = raw({"store": store}, k=85)
        first = ids(retriever.invoke(QUESTION))[0]
        store.delete([first])
        add(kind, store, Document(id="new", page_content="x", metadata={"modality": "text"}), best_vector())
        found = ids(retriever.invoke(QUESTION))
        assert found[0] == "new"
        assert first not in found


def test_replaced_vector_in_memory_is_seen(tmp_path):
    store = World().store("in-memory", ["text"], tmp_path)
    retriever = raw({"text_store": store}, k=1)
    last = ids(retriever.invoke(QUESTION, k=60))[-1]
    store.store[last] = {**store.store[last], "vector": best_vector().tolist()}
    assert ids(retriever.invoke(QUESTION)) == [last]
    store.store[last]["vector"] = (-best_vector()).tolist()
    assert ids(retriever.invoke(QUESTION)) != [last]


@pytest.mark.parametrize("layout", ["two", "mixed"])
@pytest.mark.parametrize("kind", LOCAL)
async def test_filters_restrict_the_search_itself(kind, layout, tmp_path):
    world = World()
    stores = world.stores(kind, layout, tmp_path)
    numbers = [20, 21]
    given = {"number": {"$in": numbers}} if kind.startswith("faiss") else {"number": numbers}
    expected = [i for i, _, _ in world.expected(QUESTION, 85, raw=True) if int(i[1:]) in numbers]
    assert ids(raw(stores, filter=given).invoke(QUESTION)) == expected
    retriever = raw(stores)
    assert ids(retriever.invoke(QUESTION, filter=given)) == expected
    assert ids(await retriever.ainvoke(QUESTION, filter=given)) == expected
    assert ids(retriever.retrieve_batch([QUESTION], filter=given)[0]) == expected
    assert len(retriever.invoke(QUESTION)) == 10

    def even(given):
        return (given if kind.startswith("faiss") else given.metadata)["number"] % 2 == 0

    found = retriever.invoke(QUESTION, k=85, filter=even)
    assert len(found) == 43
    assert all(document.metadata["number"] % 2 == 0 for document in found)


def test_filter_changed_in_place_takes_effect(tmp_path):
    chosen = {"number": [1]}
    retriever = raw(World().stores("in-memory", "two", tmp_path))
    assert set(ids(retriever.invoke(QUESTION, filter=chosen))) == {"t1", "i1"}
    chosen["number"].append(2)
    assert set(ids(retriever.invoke(QUESTION, filter=chosen))) == {"t1", "i1", "t2", "i2"}


def test_many_filters_are_kept_apart(tmp_path):
    retriever = raw(World().stores("in-memory", "two", tmp_path))
    for _ in range(2):
        for number in range(12):
            assert set(ids(retriever.invoke(QUESTION, filter={"number": number}))) == {f"t{number}", f"i{number}"}


def test_filter_in_another_form_is_named(tmp_path):
    with pytest.raises(
        InvalidInputError, match=r"function of the document or a mapping.*got \{'number': \{'\$gt': 3\}\}"
    ):
        raw(World().stores("in-memory", "two", tmp_path), filter={"number": {"$gt": 3}}).invoke(QUESTION)


@pytest.mark.parametrize("kind", LOCAL)
def test_modality_filters_divide_a_mixed_store(kind, tmp_path):
    world = World()

    def is_low(given):
        return (given if kind.startswith("faiss") else given.metadata)["number"] < 5

    filters = {"text": is_low, "image": lambda given: not is_low(given)}
    if kind == "index":
        filters = {"text": None, "image": is_low}
    found = raw({"store": world.store(kind, ["text", "image"], tmp_path)}, modality_filters=filters, k=85).invoke(
        QUESTION
    )
    modalities = {d.id: d.metadata["commonscale_modality"] for d in found}
    if kind == "index":
        assert set(modalities) == {*world.ids["text"], "i0", "i1", "i2", "i3", "i4"}
    else:
        assert len(modalities) == 85
        assert all((m == "text") == (int(i[1:]) < 5) for i, m in modalities.items())


@pytest.mark.parametrize("kind", ["in-memory", "faiss-l2"])
def test_document_without_modality_is_not_lost_silently(kind, tmp_path):
    store = World().store(kind, ["text", "image"], tmp_path)
    add(kind, store, Document(id="odd", page_content="x", metadata={}), best_vector())
    with pytest.raises(InvalidInputError, match=r"document 'odd' of the mixed store has no metadata\['modality'\]"):
        raw({"store": store}).invoke(QUESTION)
    assert ids(raw({"text_store": store}).invoke(QUESTION))[0] == "odd"


def test_other_labels_and_keys(tmp_path):
    world = World()
    documents = [
        Document(id=i, page_content="", metadata={"kind": "sound" if number % 2 else "text"})
        for number, i in enumerate(world.ids["text"])
    ]
    store = build_store("faiss-ip", documents, world.vectors["text"], world.embeddings, tmp_path)
    retriever = raw({"store": store}, modality_key="kind", modalities=["text", "sound"], k=60)
    found = retriever.invoke(QUESTION)
    assert {d.metadata["commonscale_modality"] for d in found} == {"text", "sound"}
    assert all(d.metadata["kind"] == d.metadata["commonscale_modality"] for d in found)
    with pytest.raises(InvalidInputError, match="modalities="):
        raw({"store": store}, modalities=[])


def test_id_key_names_documents(tmp_path):
    store = World().store("in-memory", ["text"], tmp_path)
    for record in store.store.values():
        record["metadata"]["parent"] = f"p{record['metadata']['number'] % 7}"
    found = raw({"text_store": store}, id_key="parent", k=10).invoke(QUESTION)
    assert len(found) == 7
    assert len({d.metadata["parent"] for d in found}) == 7
    by_function = raw({"text_store": store}, id_key=lambda d: d.metadata["parent"], k=10).invoke(QUESTION)
    assert by_function == found
    assert all(d.id.startswith("t") for d in found)
    with pytest.raises(SourceError, match=r"has no id .*id_key="):
        raw({"text_store": store}, id_key="absent").invoke(QUESTION)


@pytest.mark.parametrize("kind", LOCAL)
async def test_documents_of_one_id_never_starve_others(kind, tmp_path):
    """Forty chunks of one page are nearer than any other: the search goes deeper until k pages are found."""
    chunks = [(f"c{n}", "long", best_vector() + 0.01 * n) for n in range(40)]
    pages = [(f"p{n}", f"page {n}", np.roll(best_vector(), n + 1)) for n in range(5)]
    documents = [
        Document(id=name, page_content=name, metadata={"modality": "text", "page": page})
        for name, page, _ in chunks + pages
    ]
    vectors = np.stack([v / np.linalg.norm(v) for _, _, v in chunks + pages]).astype(np.float32)
    store = build_store(kind, documents, vectors, WordEmbeddings(), tmp_path / "store")
    retriever = raw({"store": store}, modalities=["text"], id_key="page", k=3)
    found = retriever.invoke(QUESTION)
    assert len({d.metadata["page"] for d in found}) == 3
    assert found[0].id == "c0"
    assert found == await retriever.ainvoke(QUESTION)
    assert len(retriever.invoke(QUESTION, k=50)) == 6
    assert [len(each) for each in retriever.retrieve_batch([QUESTION, "other"], k=6)] == [6, 6]


def test_documents_of_one_id_in_an_asynchronous_source():
    world = World()

    class Asynchronous(ArraySource):
        async def asearch(self, questions, k):
            return [Candidates(c.ids, c.cosines, None) for c in self.search(questions, k)]

    source = Asynchronous(world.ids["text"], world.vectors["text"])
    retriever = raw({"text_store": source}, id_key=lambda d: f"page {int(d.id[1:]) // 20}", k=3)
    assert ids(asyncio.run(retriever.ainvoke(QUESTION))) == ids(retriever.invoke(QUESTION))
    assert len(retriever.invoke(QUESTION)) == 3


def test_bare_faiss_index_is_refused_at_once():
    import faiss

    with pytest.raises(InvalidInputError, match=r"bare faiss.IndexFlatIP .*FAISS store around it.*FaissIndex"):
        raw({"text_store": faiss.IndexFlatIP(DIMENSION)})


@pytest.mark.parametrize("id_key", [None, "id"])
@pytest.mark.parametrize(
    ("kind", "concurrent"),
    [("in-memory", True), ("faiss-ip", True), ("array", False), ("array", True), ("score", False)],
)
def test_which_sources_may_be_searched_in_helping_threads(kind, concurrent, id_key, tmp_path):
    world = World()
    view = View("text", id_key=id_key, score_kind="cosine" if kind == "score" else None)
    if kind == "array":
        store = ArraySource(world.ids["text"], world.vectors["text"])
        store.concurrent = concurrent
    elif kind == "score":
        store = SimpleNamespace(similarity_search_with_score_by_vector=lambda vector, k: [])
    else:
        store = world.store(kind, ["text"], tmp_path)
    assert getattr(source_of(store, view), "concurrent", False) is concurrent


def test_index_source_is_as_concurrent_as_the_index_says(tmp_path):
    index = World().store("index", ["text"], tmp_path)
    expected = bool(getattr(index.source("text"), "concurrent", False))
    assert source_of(index, View("text")).concurrent is expected


@pytest.mark.parametrize("kind", [*LOCAL, "faiss-normalized"])
async def test_empty_modality(kind, tmp_path):
    world = World(images=1)
    stores = world.stores(kind, "two", tmp_path)
    stores["image_store"].delete(["i0"])
    retriever = raw(stores, k=5)
    assert len(retriever.invoke(QUESTION)) == len(await retriever.ainvoke(QUESTION)) == 5
    with pytest.warns(DegenerateStatisticsWarning, match="'image' returned no document"):
        retriever.calibrate(QUESTIONS, method="standardized")
    assert len(retriever.invoke(QUESTION, raw=False)) == 5


def test_index_without_a_modality(tmp_path):
    index = World().store("index", ["text"], tmp_path)
    assert len(raw({"store": index}, k=100).invoke(QUESTION)) == 60


@pytest.mark.parametrize("kind", ["in-memory", "faiss-l2", "faiss-ip"])
def test_stored_vector_without_direction_is_named(kind, tmp_path):
    store = World().store(kind, ["text"], tmp_path)
    add(kind, store, Document(id="null", page_content="x", metadata={}), np.zeros(DIMENSION, np.float32))
    with pytest.raises(InvalidInputError, match=r"stored vector 60 \(null\)"):
        raw({"text_store": store}).invoke(QUESTION)


def test_foreign_document_of_a_faiss_store_is_named(tmp_path):
    store = World().store("faiss-l2", ["text"], tmp_path)
    store.docstore.delete(["t3"])
    with pytest.raises(SourceError, match=r"row 3 of the FAISS index has no document .*load_local"):
        raw({"text_store": store}, k=60).invoke(QUESTION)


def test_subclass_of_a_known_store_is_known(tmp_path):
    class Mine(InMemoryVectorStore):
        pass

    store = Mine(WordEmbeddings())
    add_to_memory(store, World().documents("text"), World().vectors["text"])
    assert len(raw({"text_store": store}).invoke(QUESTION)) == 10


class Distances(VectorStore):
    """A store that nobody knows: squared distances of unit vectors, no ids unless told."""

    def __init__(self, world: World, modality: str, with_ids: bool = True) -> None:
        self.documents = world.documents(modality)
        if not with_ids:
            self.documents = [Document(d.page_content, metadata=d.metadata) for d in self.documents]
        self.vectors = world.vectors[modality]
        self.asked: list[dict] = []

    def similarity_search_with_score_by_vector(self, embedding, k=4, **options):
        self.asked.append(options)
        distances = ((self.vectors - np.array(embedding)) ** 2).sum(axis=1)
        return [(self.documents[i], float(distances[i])) for i in np.argsort(distances)[:k]]

    def similarity_search(self, query, k=4, **kwargs):
        return []

    @classmethod
    def from_texts(cls, texts, embedding, metadatas=None, **kwargs):
        return cls(World(), "text")


def test_unknown_store_is_refused_and_a_named_kind_is_enough():
    world = World()
    with pytest.raises(
        UnknownScoreKindError, match=r"Distances.*score_kind='...'.*squared_l2.*InMemoryVectorStore, FAISS"
    ):
        raw({"text_store": Distances(world, "text")})
    retriever = raw(
        {"text_store": Distances(world, "text"), "image_store": Distances(world, "image")}, score_kind="squared_l2"
    )
    expected = world.expected(QUESTION, 10, raw=True)
    found = retriever.invoke(QUESTION)
    assert ids(found) == [i for i, _, _ in expected]
    assert [d.metadata["commonscale_cosine"] for d in found] == pytest.approx([c for _, c, _ in expected], abs=1e-5)
    assert (
        retriever.calibrate(QUESTIONS, method="standardized").modalities["text"].provenance.score_kind == "squared_l2"
    )


def test_score_kinds_by_modality_and_as_function(tmp_path):
    world = World()
    stores = {"text_store": world.store("in-memory", ["text"], tmp_path), "image_store": Distances(world, "image")}
    kinds = {"image": lambda scores: 1 - scores / 2}
    found = raw(stores, score_kind=kinds).invoke(QUESTION)
    assert ids(found) == [i for i, _, _ in world.expected(QUESTION, 10, raw=True)]
    assert (
        raw(stores, score_kind=kinds)
        .calibrate(QUESTIONS, method="standardized")
        .modalities["image"]
        .provenance.score_kind
        == "<lambda>"
    )


def test_wrong_kind_is_found_out(tmp_path):
    world = World()
    # It gives no vectors to compare with, but its best hits come with the lowest numbers.
    with pytest.raises(StoreCheckError, match=r"error \(inverted\): read as 'cosine'"):
        raw({"image_store": Distances(world, "image")}, score_kind="cosine").invoke(QUESTION)
    with pytest.raises(ScoreOutOfRangeError, match="read as 'cosine'"):
        raw({"image_store": Distances(world, "image")}, score_kind="cosine", check=False).invoke(QUESTION, k=25)
    with pytest.raises(UnknownScoreKindError, match="unknown score kind 'l3'"):
        raw({"image_store": Distances(world, "image")}, score_kind="l3")


def test_store_without_search_by_vector_is_refused():
    class Opaque(VectorStore):
        def similarity_search(self, query, k=4, **kwargs):
            return []

        @classmethod
        def from_texts(cls, texts, embedding, metadatas=None, **kwargs):
            return cls()

    for settings in ({}, {"score_kind": "cosine"}):
        with pytest.raises(InvalidInputError, match=r"has no method similarity_search_with_score_by_vector\(\)") as no:
            raw({"text_store": Opaque()}, **settings)
        assert "score_kind" not in str(no.value)
        with pytest.raises(InvalidInputError, match=r"Opaque cannot be searched .* no method ask\(\)$"):
            ScoredSource(Opaque(), View("text", **settings), "ask")


def test_search_by_vector_under_its_other_name():
    world = World()

    class Named(VectorStore):
        def __init__(self, modality):
            self.held = Distances(world, modality)

        def similarity_search(self, query, k=4, **kwargs):
            return []

        def similarity_search_by_vector_with_relevance_scores(self, embedding, k=4, **kwargs):
            return self.held.similarity_search_with_score_by_vector(embedding, k=k, **kwargs)

        @classmethod
        def from_texts(cls, texts, embedding, metadatas=None, **kwargs):
            return cls("text")

    stores = {"text_store": Named("text"), "image_store": Named("image")}
    found = raw(stores, score_kind="squared_l2").invoke(QUESTION)
    assert ids(found) == [i for i, _, _ in world.expected(QUESTION, 10, raw=True)]
    with pytest.raises(UnknownScoreKindError, match=r"Named\.similarity_search_by_vector_with_relevance_scores\(\)"):
        raw(stores)


def test_what_is_no_store_is_named(tmp_path):
    world = World()
    retriever = world.store("in-memory", ["text"], tmp_path).as_retriever()
    with pytest.raises(
        InvalidInputError, match=r"this is a retriever; pass its vector store \(retriever.vectorstore\)"
    ):
        raw({"text_store": retriever})
    with pytest.raises(InvalidInputError, match=r"this is a retriever; pass its vector store$"):
        raw({"image_store": raw({"text_store": retriever.vectorstore})})
    for path in (tmp_path, str(tmp_path)):
        with pytest.raises(InvalidInputError, match=r"open the index there with commonscale.index.FaissIndex.open"):
            raw({"text_store": path})


def test_documents_without_ids_need_an_id_key():
    store = Distances(World(), "text", with_ids=False)
    with pytest.raises(SourceError, match="id_key="):
        raw({"text_store": store}, score_kind="squared_l2").invoke(QUESTION)
    found = raw({"text_store": store}, score_kind="squared_l2", id_key="number").invoke(QUESTION)
    assert ids(found) == [str(d.metadata["number"]) for d in found]


def test_unknown_mixed_store_gets_filters():
    store = Distances(World(), "text")
    for modality in ("text", "image"):  # It records filters only.
        asker = raw(
            {"store": store}, score_kind="squared_l2", filter={"year": 2020}, check=False, modalities=[modality]
        )
        with nullcontext() if modality == "text" else pytest.raises(SourceError, match="does not heed the filter"):
            asker.invoke(QUESTION)
    assert store.asked == [
        {"filter": {"modality": "text", "year": 2020}},
        {"filter": {"modality": "image", "year": 2020}},
    ]
    with pytest.raises(InvalidInputError, match=r"cannot be joined.*modality_filters"):
        raw({"store": store}, score_kind="squared_l2", filter=len).invoke(QUESTION)


def test_no_filter_of_an_unknown_store_replaces_that_of_the_modality():
    store = Distances(World(), "text")
    with pytest.raises(InvalidInputError, match=r"'modality': 'image'.*cannot be joined.*modality_filters"):
        raw({"store": store}, score_kind="squared_l2", modalities=["image"], filter={"modality": "text"})
    own = {"image": {"kind": "picture", "year": 2020}}
    with pytest.raises(InvalidInputError, match=r"one complete filter per modality"):
        raw({"store": store}, score_kind="squared_l2", modality_filters=own, filter={"year": 2021})
    assert store.asked == []
    raw({"store": store}, score_kind="squared_l2", modality_filters=own, check=False).invoke(QUESTION)
    assert store.asked == [{"filter": {"kind": "picture", "year": 2020}}]


async def test_own_asynchronous_search_of_a_store_is_used():
    loops = []

    class Native(Distances):
        async def asimilarity_search_with_score_by_vector(self, embedding, k=4, **options):
            loops.append(asyncio.get_running_loop())
            return self.similarity_search_with_score_by_vector(embedding, k, **options)

    world = World()
    retriever = raw({"text_store": Native(world, "text")}, score_kind="squared_l2")
    found = await retriever.ainvoke(QUESTION)
    assert found == retriever.invoke(QUESTION)
    assert loops == [asyncio.get_running_loop()]
    assert len((await retriever.aretrieve_batch(["a", "b"]))[1]) == 10


async def test_any_source_of_the_core_can_be_a_store():
    world = World()
    sources = {f"{m}_store": ArraySource(world.ids[m], world.vectors[m], m) for m in ("text", "image")}
    found = raw(sources).invoke(QUESTION)
    expected = world.expected(QUESTION, 10, raw=True)
    assert ids(found) == [i for i, _, _ in expected]
    assert [d.metadata["commonscale_cosine"] for d in found] == pytest.approx([c for _, c, _ in expected], abs=1e-5)
    assert await raw(sources).ainvoke(QUESTION) == found


class Payloads:
    def __init__(self, *payloads: object) -> None:
        self.payloads = payloads

    def search(self, questions, k):
        count = min(k, len(self.payloads))
        names = [f"p{i}" for i in range(count)]
        return [Candidates(names, np.linspace(0.9, 0.1, len(self.payloads))[:count], self.payloads[:count])] * len(
            questions
        )


def test_payloads_of_sources_become_documents():
    own = Document(id="own", page_content="mine", metadata={"a": 1})
    found = raw({"text_store": Payloads("words", None, own)}).invoke(QUESTION)
    assert [(d.id, d.page_content) for d in found] == [("p0", "words"), ("p1", ""), ("own", "mine")]
    assert own.metadata == {"a": 1}
    with pytest.raises(SourceError, match="payload of type int for document 'p0'"):
        raw({"text_store": Payloads(7)}).invoke(QUESTION)


async def test_filtered_source_is_searched_deeper_until_enough_pass():
    source = Payloads(*[Document(id=f"d{i}", page_content="", metadata={"good": i >= 30}) for i in range(40)])

    class Async(Payloads):
        async def asearch(self, questions, k):
            return self.search(questions, k)

    for store in (source, Async(*source.payloads)):
        retriever = raw({"text_store": store}, filter={"good": True}, k=4)
        assert ids(retriever.invoke(QUESTION)) == ids(await retriever.ainvoke(QUESTION)) == ["d30", "d31", "d32", "d33"]
        assert len(retriever.invoke(QUESTION, k=100)) == 10


def test_source_that_leaves_out_a_question_is_named():
    class Lazy(Payloads):
        def search(self, questions, k):
            return []

    with pytest.raises(SourceError, match="answered 0 of 1 questions"):
        raw({"text_store": Lazy()}).invoke(QUESTION)


def test_paths_of_index_documents_reach_metadata(tmp_path):
    from commonscale.index import Document as IndexDocument
    from commonscale.index import FaissIndex

    index = FaissIndex.create(tmp_path / "i", DIMENSION)
    index.add(
        [
            IndexDocument("a.jpg", "image", "a caption", path="/p/a.jpg", metadata={"by": "me"}),
            IndexDocument("b.txt", "text", "words", path="/p/b.txt"),
        ],
        np.stack([best_vector(), -best_vector()]),
    )
    image, text = raw({"store": index}).invoke(QUESTION)
    assert image.page_content == "a caption"
    assert image.metadata["image_path"] == image.metadata["source"] == "/p/a.jpg"
    assert image.metadata["by"] == "me"
    assert (text.page_content, text.metadata["source"]) == ("words", "/p/b.txt")
    assert "image_path" not in text.metadata


def test_a_row_in_the_table_is_all_that_a_new_store_needs(monkeypatch):
    class Shelf:
        """Stands for a store of another package."""

    def adapter(store: Shelf, view: View) -> ArraySource:
        world = World()
        return ArraySource(world.ids[view.modality], world.vectors[view.modality], view.modality)

    monkeypatch.setitem(STORES, "Shelf", adapter)
    found = raw({"store": Shelf()}).invoke(QUESTION)
    assert ids(found) == [i for i, _, _ in World().expected(QUESTION, 10, raw=True)]


async def test_documents_are_read_off_the_event_loop(tmp_path):
    world = World()
    stores = world.stores("faiss-ip", "two", tmp_path)
    threads = []
    docstore = stores["text_store"].docstore
    look = docstore.search

    def watched(name):
        threads.append(threading.current_thread())
        return look(name)

    docstore.search = watched
    found = await raw(stores).aretrieve_batch([QUESTION])
    assert len(found[0]) == 10
    assert threads
    assert threading.current_thread() not in threads
