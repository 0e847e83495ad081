"""What is particular to Chroma: spaces, filters under HNSW, records of every form, and a server that goes away."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("chromadb")
pytest.importorskip("langchain_chroma")
pytest.importorskip("llama_index.vector_stores.chroma")

from langchain_chroma import Chroma
from llama_index.core.schema import ImageNode, MediaResource, Node, TextNode
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.vector_stores.chroma import ChromaVectorStore

from commonscale import Question
from commonscale.core.cosines import to_cosine
from commonscale.core.errors import InvalidInputError, SourceError, UnknownScoreKindError
from commonscale.core.types import Hit
from commonscale.langchain.stores import source_of
from commonscale.langchain.view import View
from commonscale.llama_index.sources import StoreRequest
from commonscale.llama_index.stores import open_source
from commonscale.stores import chroma as chroma_module
from commonscale.stores.chroma_records import space_of
from sources import unit_rows
from store_suite.chroma import client
from store_suite.kind import Place

DIMENSION = 32

Make = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    one = Place(tmp_path, DIMENSION, request.getfixturevalue)
    yield one
    one.close()


@pytest.fixture
def collection(place: Place) -> Make:
    """Makes collections: ``collection("ip", mode="server")``."""

    def make(space: str | None = None, *, mode: str = "memory", name: str = "", **settings: Any) -> Any:
        if space is not None:
            settings["configuration"] = {"hnsw": {"space": space}}
        return client(place, mode).create_collection(place.name + name, embedding_function=None, **settings)

    return make


def question(vector: Any) -> Question:
    return Question(vector=np.asarray(vector, np.float32))


def asked(count: int = 10, dimension: int = DIMENSION) -> list[Question]:
    return [question(row) for row in unit_rows(np.random.default_rng(1), count, dimension)]


def put(collection: Any, vectors: Any, metadata: Any = lambda place: {"place": place}) -> None:
    rows = np.asarray(vectors, np.float32)
    for start in range(0, len(rows), 1000):
        places = range(start, min(start + 1000, len(rows)))
        collection.add(
            ids=[f"n{place}" for place in places],
            embeddings=rows[places.start : places.stop],
            metadatas=[metadata(place) for place in places],
            documents=[f"text {place}" for place in places],
        )


def li(collection: Any, **request: Any) -> Any:
    return open_source(ChromaVectorStore(chroma_collection=collection), StoreRequest(**{"modality": "text", **request}))


def lc(collection: Any, **view: Any) -> Any:
    store = Chroma(collection.name, client=_client_of(collection), create_collection_if_not_exists=False)
    return source_of(store, View(**{"modality": "text", **view}))


def _client_of(collection: Any) -> Any:
    class Client:
        """Hands out one collection, as a client would."""

        def get_collection(self, name: str) -> Any:
            return collection

    return Client()


def nearest(questions: list[Question], rows: np.ndarray, k: int, places: Any) -> list[list[str]]:
    cosines = np.stack([q.vector for q in questions]).astype(np.float64) @ rows[places].T
    return [[f"n{places[i]}" for i in np.argsort(-line)[:k]] for line in cosines]


@pytest.mark.parametrize("mode", ["memory", "server"])
@pytest.mark.parametrize("space", ["cosine", "l2", "ip"])
@pytest.mark.parametrize("opened", [li, lc])
def test_cosines_are_true_ones_in_every_space(opened: Make, space: str, mode: str, collection: Make) -> None:
    rows = unit_rows(np.random.default_rng(0), 60, DIMENSION)
    stretch = np.random.default_rng(2).uniform(0.5, 2, (60, 1))
    made = collection(space, mode=mode)
    put(made, rows * stretch)
    source = opened(made)
    assert source.remote is (mode == "server")
    assert source.dimension == DIMENSION
    for one, found in zip(asked(), source.search(asked(), 60), strict=True):
        assert sorted(found.ids) == sorted(f"n{i}" for i in range(60))
        true = rows[[int(i[1:]) for i in found.ids]].astype(np.float64) @ one.vector
        assert found.cosines == pytest.approx(true, abs=1e-6)
        assert np.all(np.diff(found.cosines) <= 0)


@pytest.mark.parametrize(
    ("settings", "space"),
    [
        ({}, "l2"),
        ({"metadata": {"hnsw:space": "cosine"}}, "cosine"),
        ({"configuration": {"hnsw": {"space": "ip"}}}, "ip"),
        ({"metadata": {"hnsw:space": "cosine"}, "configuration": {"hnsw": {"space": "ip"}}}, "ip"),
    ],
    ids=["neither", "metadata", "configuration", "both"],
)
def test_the_space_is_read_from_the_collection_and_is_what_chroma_computes(
    settings: dict[str, Any], space: str, collection: Make
) -> None:
    made = collection(**settings)
    made.add(ids=["a"], embeddings=[[0.0, 3.0]])
    assert space_of(made).space == space
    distance = made.query(query_embeddings=[[0.6, 0.8]])["distances"][0][0]
    assert distance == pytest.approx({"l2": 0.36 + 2.2**2, "cosine": 0.2, "ip": 1 - 2.4}[space], abs=1e-5)


def test_old_collections_say_it_in_their_metadata_and_unknown_spaces_are_refused() -> None:
    class Old:
        """A fake of what clients before Chroma 1.0 give, and of spaces that there may be one day."""

        id, name, _client, configuration_json = "1", "old", None, None

        def __init__(self, metadata: dict[str, Any] | None) -> None:
            self.metadata = metadata

    kinds = {"cosine": "cosine_distance", "ip": "inner_product_distance", "l2": "squared_l2"}
    for space, kind in kinds.items():
        table = chroma_module.ChromaTable(lambda space=space: Old({"hnsw:space": space}))
        assert (table.score_kind, table.trusted) == (kind, space == "cosine")
    silent = chroma_module.ChromaTable(lambda: Old(None))
    assert (silent.score_kind, silent.trusted) == (None, False)
    with pytest.raises(UnknownScoreKindError, match=r"'old' compares by 'hamming'.*cosine, ip, l2"):
        _ = chroma_module.ChromaTable(lambda: Old({"hnsw:space": "hamming"})).trusted


@pytest.mark.parametrize("space", ["cosine", "l2", "ip"])
def test_what_is_probed_is_what_the_store_calls_similarity(space: str, collection: Make) -> None:
    made = collection(space)
    put(made, unit_rows(np.random.default_rng(0), 20, DIMENSION))
    one = asked(1)[0]
    probe = li(made).probe([one], 5)[0]
    result = ChromaVectorStore(chroma_collection=made).query(
        VectorStoreQuery(query_embedding=one.vector.tolist(), similarity_top_k=5)
    )
    assert probe.ids == result.ids
    assert probe.numbers == pytest.approx(result.similarities, abs=1e-6)
    true = probe.vectors.astype(np.float64) @ one.vector
    assert to_cosine(probe.numbers, probe.kind) == pytest.approx(true, abs=1e-5)
    plain = lc(made).probe([one], 5)[0]
    assert plain.numbers == pytest.approx(-np.log(probe.numbers), abs=1e-6)
    assert to_cosine(plain.numbers, plain.kind) == pytest.approx(true, abs=1e-5)


@pytest.mark.parametrize("space", ["cosine", "l2", "ip"])
@pytest.mark.parametrize("opened", [li, lc])
def test_a_rare_modality_is_found_exactly(opened: Make, space: str, collection: Make) -> None:
    rows = unit_rows(np.random.default_rng(0), 3000, DIMENSION)
    made = collection(space)
    put(made, rows, lambda place: {"modality": "image" if place % 100 == 7 else "text"})
    request = {"mixed": True} if opened is li else {"modality_key": "modality"}
    images = opened(made, modality="image", **request)
    expected = nearest(asked(), rows, 20, np.arange(7, 3000, 100))
    assert [list(found.ids) for found in images.search(asked(), 20)] == expected
    assert [list(images.search([one], 20)[0].ids) for one in asked()] == expected


def test_where_many_pass_a_filter_more_are_asked_for_than_kept(
    collection: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = unit_rows(np.random.default_rng(0), 4000, DIMENSION)
    made = collection("cosine")
    put(made, rows, lambda place: {"modality": "image" if place % 2 else "text"})
    images = li(made, modality="image", mixed=True)
    expected = nearest(asked(), rows, 20, np.arange(1, 4000, 2))

    def recall() -> float:
        found = [images.search([one], 20)[0] for one in asked()]
        assert [len(one.ids) for one in found] == [20] * 10
        return float(np.mean([len(set(f.ids) & set(e)) / 20 for f, e in zip(found, expected, strict=True)]))

    wide = recall()
    assert wide >= 0.99
    monkeypatch.setattr(chroma_module, "_WIDE", 1)
    assert recall() <= wide


def test_listing_what_passes_is_not_repeated_while_nothing_changes(collection: Make) -> None:
    rows = unit_rows(np.random.default_rng(0), 700, DIMENSION)
    made = collection("cosine")
    put(made, rows, lambda place: {"modality": "text"})
    listings: list[Any] = []

    class Counting:
        """The collection, with its listings counted."""

        def __getattr__(self, name: str) -> Any:
            return getattr(made, name)

        def get(self, **arguments: Any) -> Any:
            if arguments.get("where"):
                listings.append(arguments["limit"])
            return made.get(**arguments)

    table = chroma_module.ChromaTable(Counting, {"modality": "text"})
    row = rows[:1]
    for _ in range(3):
        assert table.search(row, 1, False)[0].ids == ("n0",)
    assert listings == [501]
    made.delete(ids=[f"n{i}" for i in range(300, 700)])
    assert table.search(row, 1, False)[0].ids == ("n0",)
    assert len(table.search(row, 700, False)[0].ids) == 300
    assert listings == [501, 501, 501]


@pytest.mark.parametrize("opened", [li, lc])
def test_equal_vectors_are_all_found(opened: Make, collection: Make) -> None:
    made = collection("cosine")
    put(made, np.repeat(unit_rows(np.random.default_rng(0), 1, DIMENSION), 2000, axis=0))
    found = opened(made).search(asked(1), 1500)[0]
    assert len(set(found.ids)) == 1500


@pytest.mark.parametrize("space", ["cosine", "l2", "ip"])
@pytest.mark.parametrize("where", [None, {"place": {"$gte": 50}}])
def test_where_hnsw_does_not_reach_as_many_as_there_are_all_are_compared(
    where: Any, space: str, collection: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chroma_module, "_MOST", 200)
    rows = unit_rows(np.random.default_rng(0), 900, 8) * np.float32(2)
    made = collection(space)
    put(made, rows)

    class Torn:
        """The collection, with an index whose graph fell apart: 100 at most are reached."""

        def __getattr__(self, name: str) -> Any:
            return getattr(made, name)

        def query(self, **arguments: Any) -> Any:
            return made.query(**{**arguments, "n_results": min(arguments["n_results"], 100)})

    asks = unit_rows(np.random.default_rng(1), 2, 8)
    table = chroma_module.ChromaTable(Torn, where)
    first = 0 if where is None else 50
    for row, found in zip(asks, table.search(asks, 500, False), strict=True):
        assert list(found.ids) == nearest([question(row)], rows, 500, np.arange(first, 900))[0]
        asked_all = made.query(query_embeddings=[row], n_results=900)
        distances = dict(zip(asked_all["ids"][0], asked_all["distances"][0], strict=True))
        assert found.numbers == pytest.approx([distances[i] for i in found.ids], abs=1e-5)
    assert [len(set(found.ids)) for found in table.search(asks, 5000, False)] == [900 - first] * 2


def test_many_hits_are_read_by_pages_that_an_sql_statement_takes(collection: Make) -> None:
    rows = unit_rows(np.random.default_rng(0), 2500, 4)
    made = collection("l2")
    put(made, rows)
    pages: list[int] = []

    class Counting:
        """The collection, with the records that it is asked for counted."""

        def __getattr__(self, name: str) -> Any:
            return getattr(made, name)

        def get(self, **arguments: Any) -> Any:
            pages.extend([len(arguments["ids"])] if arguments.get("ids") else [])
            return made.get(**arguments)

    found = chroma_module.ChromaTable(Counting).search(rows[:1], 2500, True)[0]
    assert len(set(found.ids)) == 2500
    assert np.asarray(found.vectors) == pytest.approx(rows[[int(i[1:]) for i in found.ids]])
    assert pages[:3] == [1000, 1000, 500]


@pytest.mark.parametrize("space", ["cosine", "l2"])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_null_vector_is_named(space: str, filtered: bool, collection: Make) -> None:
    made = collection(space)
    put(made, [[1.0, 0.0], [0.0, 0.0]])
    source = lc(made, filter={"place": {"$gte": 0}} if filtered else None)
    with pytest.raises(SourceError, match=r"'n1'.*null"):
        source.search([question([1.0, 0.0])], 2)


def test_a_right_angle_is_no_null_vector(collection: Make) -> None:
    made = collection("cosine")
    put(made, [[1.0, 0.0], [0.0, 1.0]])
    found = lc(made).search([question([1.0, 0.0])], 2)[0]
    assert (list(found.ids), found.cosines.tolist()) == (["n0", "n1"], [1.0, 0.0])


def test_a_question_of_another_length_is_refused(collection: Make) -> None:
    made = collection("cosine")
    source = lc(made)
    assert source.dimension is None
    put(made, [[1.0, 0.0]])
    with pytest.raises(InvalidInputError, match="2"):
        source.search([question([1.0, 0.0, 0.0])], 1)


@pytest.mark.parametrize("filtered", [False, True])
def test_an_empty_collection_gives_no_hits(filtered: bool, collection: Make) -> None:
    made = collection("cosine")
    source = lc(made, filter={"place": 1} if filtered else None)
    assert [len(found.ids) for found in source.search(asked(3), 5)] == [0, 0, 0]


def test_a_deleted_collection_is_named(place: Place) -> None:
    store = Chroma(place.name, client=client(place, "memory"))
    source = source_of(store, View("text"))
    store._client.delete_collection(place.name)
    with pytest.raises(SourceError, match=f"'{place.name}' was deleted"):
        source.search(asked(1), 5)


def test_a_store_that_is_reset_is_searched_anew_and_one_without_a_collection_is_named(place: Place) -> None:
    store = Chroma(place.name, client=client(place, "memory"))
    put(store._collection, np.eye(2))
    source = source_of(store, View("text"))
    assert source.dimension == 2
    store.reset_collection()
    put(store._collection, np.eye(3)[1:])
    assert list(source.search([question([0.0, 0.0, 1.0])], 1)[0].ids) == ["n1"]
    store.delete_collection()
    with pytest.raises(SourceError, match="of this Chroma store was deleted"):
        source.search(asked(1), 5)


@pytest.mark.parametrize("bad", [{"a": 1, "b": 2}, [1], {"a": {"$gt": "x"}}])
def test_a_filter_that_chroma_does_not_know_is_refused_at_once(bad: Any, collection: Make) -> None:
    with pytest.raises(InvalidInputError, match="no filter of Chroma"):
        lc(collection("cosine"), filter=bad)


def test_filters_join_in_chromas_form(collection: Make) -> None:
    made = collection("cosine")
    put(made, np.eye(4), lambda place: {"modality": "image" if place else "text", "place": place})
    given = {"$or": [{"place": 1}, {"place": 0}]}
    found = lc(made, modality="image", modality_key="modality", filter=given).search([question(np.ones(4))], 4)[0]
    assert list(found.ids) == ["n1"]
    assert given == {"$or": [{"place": 1}, {"place": 0}]}
    own = lc(made, modality="image", modality_key="modality", modality_filter={"place": {"$in": [2, 3]}}, filter={})
    assert sorted(own.search([question(np.ones(4))], 4)[0].ids) == ["n2", "n3"]


def test_llama_index_filters_are_translated_or_refused(collection: Make) -> None:
    made = collection("cosine")
    put(made, np.eye(4))
    above = MetadataFilters(filters=[MetadataFilter(key="place", value=1, operator=FilterOperator.GT)])
    assert sorted(li(made, filters=above).search([question(np.ones(4))], 4)[0].ids) == ["n2", "n3"]
    assert len(li(made, filters=MetadataFilters(filters=[])).search([question(np.ones(4))], 4)[0].ids) == 4
    text = MetadataFilters(filters=[MetadataFilter(key="place", value="1", operator=FilterOperator.TEXT_MATCH)])
    with pytest.raises(InvalidInputError, match="not supported by Chroma; it has =="):
        li(made, filters=text)


def test_image_nodes_come_back_in_every_form(collection: Make) -> None:
    picture = base64.b64encode(b"not really a picture").decode()
    nodes = [
        ImageNode(id_="path", image_path="a.png", text="caption"),
        ImageNode(id_="url", image_url="http://example.org/a.png"),
        ImageNode(id_="base64", image=picture, image_mimetype="image/png"),
        Node(id_="resource", image_resource=MediaResource(path=Path("b.png"))),
        TextNode(id_="text", text="words", metadata={"nothing": None}),
    ]
    for node, row in zip(nodes, np.eye(5).tolist(), strict=True):
        node.embedding = row
    made = collection("cosine")
    ChromaVectorStore(chroma_collection=made).add(nodes)
    source = li(made)
    found = source.search([question([0.5, 0.4, 0.3, 0.2, 0.1])], 5)[0]
    back = source.nodes([Hit(i, "text", 0.0, 0.0, p) for i, p in zip(found.ids, found.payloads, strict=True)])
    assert [(type(node), node.node_id) for node in back] == [(type(node), node.node_id) for node in nodes]
    assert (back[0].image_path, back[0].text) == ("a.png", "caption")
    assert back[1].image_url == "http://example.org/a.png"
    assert (back[2].image, back[2].image_mimetype) == (picture, "image/png")
    assert str(back[3].image_resource.path).endswith("b.png")
    assert back[4].text == "words"
    images = li(made, modality="image", mixed=True, modality_key="_node_type").search([question(np.ones(5))], 5)[0]
    assert sorted(images.ids) == ["base64", "path", "url"]


def test_records_of_others_become_text_nodes(collection: Make) -> None:
    made = collection("cosine")
    made.add(ids=["bare"], embeddings=[[1.0, 0.0]])
    made.add(ids=["text"], embeddings=[[0.8, 0.6]], documents=["words"], metadatas=[{"topic": "x"}])
    source = li(made)
    found = source.search([question([1.0, 0.0])], 2)[0]
    bare, text = source.nodes([Hit(i, "text", 0, 0, p) for i, p in zip(found.ids, found.payloads, strict=True)])
    assert (bare.node_id, bare.text, bare.metadata) == ("bare", "", {})
    assert (text.node_id, text.text, text.metadata) == ("text", "words", {"topic": "x"})


def test_images_that_langchain_added_come_with_their_base64(place: Place, tmp_path: Path) -> None:
    from langchain_core.embeddings import Embeddings

    from commonscale.langchain import StandardizedMultiModalRetriever

    class Both(Embeddings):
        def embed_query(self, text: str) -> list[float]:
            return [1.0, 0.0]

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[0.8, 0.6]] * len(texts)

        def embed_image(self, uris: list[str]) -> list[list[float]]:
            return [[0.6, 0.8], [0.28, 0.96]]

    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        file.write_bytes(file.name.encode())
    store = Chroma(
        place.name, Both(), client=client(place, "memory"), collection_configuration={"hnsw": {"space": "ip"}}
    )
    images = store.add_images([str(file) for file in files], [{"modality": "image"}] * 2)
    store.add_texts(["words"], [{"modality": "text"}], ids=["t"])
    retriever = StandardizedMultiModalRetriever(store=store, embeddings=Both(), k=3, raw=True)
    found = retriever.invoke("?")
    assert [document.id for document in found] == ["t", *images]
    assert [base64.b64decode(document.page_content) for document in found[1:]] == [b"a.png", b"b.png"]
    # What was found is the caller's: marks on it are not on the record that another question finds.
    again = retriever.batch(["?", "?"])
    again[0][0].metadata["mine"] = True
    assert "mine" not in again[1][0].metadata


def test_old_llama_index_records_are_read(collection: Make) -> None:
    made = collection("cosine")
    made.add(
        ids=["old"],
        embeddings=[[1.0, 0.0]],
        documents=["words"],
        metadatas=[{"doc_id": "d", "ref_doc_id": "d", "node_info": '{"start": 3, "end": 8}', "relationships": "{}"}],
    )
    source = li(made)
    found = source.search([question([1.0, 0.0])], 1)[0]
    node = source.nodes([Hit("old", "text", 0, 0, found.payloads[0])])[0]
    assert (node.node_id, node.text) == ("old", "words")
