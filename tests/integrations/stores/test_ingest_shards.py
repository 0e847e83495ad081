"""Loading shards of embedded documents into stores: as add_texts and add_images, but embedding nothing."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from commonscale.core.errors import EncoderMismatchError, FileFormatError, IngestError, InvalidInputError
from commonscale.embedding import ShardBatch, open_shards, write_shards
from commonscale.stores.ingest_ids import id_of
from store_suite.corpus import QUESTIONS, Corpus, Item
from store_suite.filled import Filled
from store_suite.kind import Kind
from store_suite.registry import KINDS

_NAMES = (
    "simple", "in-memory", "index", "faiss-map-ip", "faiss-flat-ip", "faiss-flat-l2", "faiss-hnsw",
    "qdrant-memory-cosine", "qdrant-disk-cosine", "chroma-memory-cosine", "chroma-disk-cosine", "lancedb",
    "postgres", "postgres-cosine_distance", "postgres-old-cosine", "milvus-cosine", "fake-elasticsearch-9-cosine",
    "fake-opensearch-faiss-l2", "fake-opensearch-nmslib-cosinesimil",
)  # fmt: skip

over_kinds = pytest.mark.parametrize("kind", [k for k in KINDS if k.name in _NAMES], ids=lambda kind: kind.id)
"""One at least of every store but Weaviate, whose client waits a second for every batch."""

_UUIDS = ("qdrant", "postgres-old", "postgres-cosine_distance")
"""Stores that get UUIDs: they take nothing else, or keep ids once for several collections."""


def named(item: Item) -> str:
    """The id in the shards: no UUID."""
    return f"{item.modality}s/{item.metadata['place']}"


def batch(items: list[Item]) -> ShardBatch:
    texts = [item.text if item.modality == "text" else f"caption of {item.text}" for item in items]
    return ShardBatch(
        ids=[named(item) for item in items],
        modalities=[item.modality for item in items],
        vectors=np.array([item.vector for item in items], dtype=np.float32),
        texts=texts,
        paths=[f"{item.text}.png" if item.modality == "image" else None for item in items],
        metadata=[{key: value for key, value in item.metadata.items() if key != "modality"} for item in items],
    )


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(texts=30, images=15, norm=5.0)


@pytest.fixture
def shards(corpus: Corpus, tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    parts = [batch(corpus.items[start : start + 20]) for start in range(0, 45, 20)]
    write_shards(folder, parts, encoder_fingerprint="looked-up-1")
    return folder


@pytest.fixture
def filled(open_kind: Any, corpus: Corpus) -> Any:
    def make(kind: Kind) -> Filled:
        empty = corpus.without([item.id for item in corpus.items])
        return Filled(kind, open_kind(kind, "mixed", empty, behaviour="ranking").stores["store"], corpus)

    return make


def of_suite(found: list[tuple[str, float]], ids: dict[str, str]) -> list[tuple[str, float]]:
    return [(ids[key], score) for key, score in found]


def test_shards_with_an_id_twice_are_refused_before_anything_is_written(
    corpus: Corpus, filled: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "twice"
    items = corpus.items[:2]
    shards = write_shards(folder, [batch([item]) for item in items], encoder_fingerprint="looked-up-1")
    # As two rows of a corpus could make it: write_shards itself refuses this.
    first, second = (folder / part for part in shards.manifest.parts)
    second.write_bytes(first.read_bytes())
    store = filled(next(kind for kind in KINDS if kind.name == "in-memory"))
    with pytest.raises(
        InvalidInputError, match=f"{named(items[0])!r} comes twice, in {first.name}:0 and in {second.name}:0"
    ):
        store.add_embedded(folder)
    assert store.contents() == {}


@over_kinds
def test_shards_rank_and_calibrate_as_what_is_embedded_does(kind: Kind, filled: Any, shards: Path) -> None:
    loaded, embedded = filled(kind), filled(kind)
    embedded.add(embedded.corpus.items)
    uuids = kind.name.startswith(_UUIDS)
    place = loaded.store.collection_name if "postgres-old" in kind.name else ""
    ids = {id_of(item.modality, named(item), place) if uuids else named(item): item.id for item in loaded.corpus.items}
    retrievers = []
    for again in (False, True):
        assert loaded.add_embedded(shards) == {"text": 30, "image": 15}, again
        contents = loaded.contents()
        assert {ids[key]: value for key, value in contents.items()} == embedded.contents()
    for store in (loaded, embedded):
        retrievers.append(store.retriever(20))
        retrievers[-1].calibrate(list(QUESTIONS), method="standardized")
    assert loaded.model.embedded == []
    for modality in ("text", "image"):
        ours, theirs = (retriever.calibration.statistics(modality) for retriever in retrievers)
        assert (ours.mean, ours.std) == pytest.approx((theirs.mean, theirs.std), abs=1e-6)
    questions = QUESTIONS[:10]
    for ours, theirs in zip(loaded.ask(retrievers[0], questions), embedded.ask(retrievers[1], questions), strict=True):
        assert [key for key, _ in of_suite(ours, ids)] == [key for key, _ in theirs]
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], abs=1e-4)
    found = loaded.retriever(60, raw=True)
    hits = found.invoke(QUESTIONS[0]) if kind.framework == "langchain" else found.retrieve(QUESTIONS[0])
    metadatas = [hit.metadata for hit in hits]
    assert len(metadatas) == 45
    originals = {metadata.get("commonscale_id") for metadata in metadatas}
    assert originals == ({named(item) for item in loaded.corpus.items} if uuids else {None})


_UNEQUAL = (
    "lancedb", "chroma-memory-cosine", "qdrant-memory-cosine", "simple", "in-memory", "postgres",
    "postgres-cosine_distance", "milvus-cosine", "milvus-default",
)  # fmt: skip


@pytest.mark.parametrize("kind", [k for k in KINDS if k.name in _UNEQUAL], ids=lambda kind: kind.id)
def test_documents_with_other_metadata_than_the_first_are_taken(kind: Kind, filled: Any, tmp_path: Path) -> None:
    store = filled(kind)
    items = store.corpus.of("image") + store.corpus.of("text")
    whole = batch(items)
    # As `commonscale embed` has it: only texts have a passage, and only some a title.
    own = [
        dict(metadata) if kind_ == "image" else {**metadata, "passage": place, **({"title": "t"} if place % 9 else {})}
        for place, (kind_, metadata) in enumerate(zip(whole.modalities, whole.metadata, strict=True))
    ]
    paths = [path or f"notes/{place}.txt" for place, path in enumerate(whole.paths)]
    folder = tmp_path / "unequal"
    made = ShardBatch(whole.ids, whole.modalities, whole.vectors, whole.texts, paths, own)
    write_shards(folder, [made], encoder_fingerprint="x-1")
    assert store.add_embedded(folder) == {"text": 30, "image": 15}
    retriever = store.retriever(60, raw=True)
    hits = retriever.invoke(QUESTIONS[0]) if kind.framework == "langchain" else retriever.retrieve(QUESTIONS[0])
    found = {hit.metadata["place"] if hit.metadata["modality"] == "text" else None: hit.metadata for hit in hits}
    assert len(hits) == 45
    for place, (item, metadata) in enumerate(zip(items, own, strict=True)):
        if item.modality == "text":
            expected = {**metadata, "modality": "text", "source": f"notes/{place}.txt"}
            assert expected.items() <= found[item.metadata["place"]].items()


def in_memory(framework: str) -> Any:
    if framework == "langchain":
        from langchain_core.vectorstores import InMemoryVectorStore

        from store_suite.forms import lc_embeddings

        return InMemoryVectorStore(lc_embeddings())
    from commonscale.index import MemoryIndex

    return MemoryIndex(16)


def add_embedded(framework: str) -> Any:
    if framework == "langchain":
        from commonscale.langchain import add_embedded as add
    else:
        from commonscale.llama_index import add_embedded as add
    return add


both = pytest.mark.parametrize("framework", ["llama_index", "langchain"])


@both
def test_one_modality_goes_into_a_store_of_its_own(framework: str, corpus: Corpus, shards: Path) -> None:
    pytest.importorskip("faiss")
    pytest.importorskip(framework if framework == "llama_index" else "langchain_core")
    texts, images = in_memory(framework), in_memory(framework)
    assert add_embedded(framework)(texts, open_shards(shards), modality="text") == {"text": 30}
    assert add_embedded(framework)(images, shards, modality="image") == {"image": 15}
    if framework == "langchain":
        from commonscale.langchain import StandardizedMultiModalRetriever as ForLangChain
        from store_suite.forms import lc_embeddings

        retriever: Any = ForLangChain(
            text_store=texts, image_store=images, embeddings=lc_embeddings(questions=corpus.vectors), k=45
        )
    else:
        from commonscale.llama_index import StandardizedMultiModalRetriever as ForLlamaIndex
        from llama_world import FixedEmbedding

        model = FixedEmbedding(vectors=corpus.vectors)
        retriever = ForLlamaIndex(text_store=texts, image_store=images, embed_model=model, similarity_top_k=45)
    retriever.calibrate(list(QUESTIONS), method="standardized")
    for modality, (mean, std) in corpus.statistics().items():
        found = retriever.calibration.statistics(modality)
        assert (found.mean, found.std) == pytest.approx((mean, std), abs=1e-6)


def test_langchain_documents_are_those_of_add_texts_and_add_images(corpus: Corpus, shards: Path) -> None:
    from langchain_core.vectorstores import InMemoryVectorStore

    from commonscale.langchain import add_embedded, add_images, add_texts
    from store_suite.filled import Model, lc_model

    loaded, embedded = in_memory("langchain"), InMemoryVectorStore(lc_model(Model(corpus), corpus))
    add_embedded(loaded, shards)
    whole = batch(corpus.items)
    for modality, add in (("text", add_texts), ("image", add_images)):
        rows = [row for row, kind in enumerate(whole.modalities) if kind == modality]
        about = {"ids": [whole.ids[r] for r in rows], "metadatas": [whole.metadata[r] for r in rows]}
        if modality == "image":
            add(embedded, [whole.paths[r] for r in rows], captions=[whole.texts[r] for r in rows], **about)
        else:
            add(embedded, [whole.texts[r] for r in rows], **about)
    assert set(loaded.store) == set(embedded.store)
    for key, entry in loaded.store.items():
        other = embedded.store[key]
        assert (entry["text"], entry["metadata"]) == (other["text"], other["metadata"])
        assert entry["vector"] == pytest.approx(other["vector"], abs=1e-6)


def test_llama_index_nodes_are_those_of_add_texts_and_add_images(corpus: Corpus, shards: Path) -> None:
    from llama_index.core.storage.docstore import SimpleDocumentStore
    from llama_index.core.vector_stores import SimpleVectorStore

    from commonscale.llama_index import add_embedded, add_images, add_texts
    from store_suite.filled import Model, li_model

    loaded, embedded, model = SimpleDocumentStore(), SimpleDocumentStore(), li_model(Model(corpus), corpus)
    add_embedded(SimpleVectorStore(), shards, docstore=loaded)
    store, whole = SimpleVectorStore(), batch(corpus.items)
    for modality, add in (("text", add_texts), ("image", add_images)):
        rows = [row for row, kind in enumerate(whole.modalities) if kind == modality]
        about: dict[str, Any] = {"ids": [whole.ids[r] for r in rows], "metadatas": [whole.metadata[r] for r in rows]}
        if modality == "image":
            about["captions"] = [whole.texts[r] for r in rows]
        column = whole.texts if modality == "text" else whole.paths
        add(store, [column[r] for r in rows], model, docstore=embedded, **about)
    assert set(loaded.docs) == set(whole.ids)
    assert {key: node.to_dict() for key, node in loaded.docs.items()} == {
        key: node.to_dict() for key, node in embedded.docs.items()
    }


@both
def test_files_of_texts_and_urls_of_pictures_are_kept(framework: str, tmp_path: Path) -> None:
    rows = np.eye(3, 16, dtype=np.float32)
    kept = ShardBatch(
        ["notes/a.txt", "b", "11111111-1111-1111-1111-111111111111"], ["text", "image", "table"], rows,
        ["words", "", ""], ["/data/notes/a.txt", "https://example.org/b.png", None], [{"page": 1}, {}, {}],
    )  # fmt: skip
    folder = tmp_path / "shards"
    write_shards(folder, [kept], encoder_fingerprint="x-1")
    if framework == "langchain":
        store = in_memory(framework)
        assert add_embedded(framework)(store, folder, modality_key="kind") == {"text": 1, "image": 1, "table": 1}
        assert {key: (entry["text"], entry["metadata"]) for key, entry in store.store.items()} == {
            "notes/a.txt": ("words", {"page": 1, "kind": "text", "source": "/data/notes/a.txt"}),
            "b": ("", {"kind": "image", "image_url": "https://example.org/b.png"}),
            "11111111-1111-1111-1111-111111111111": ("", {"kind": "table"}),
        }
        return
    from llama_index.core.storage.docstore import SimpleDocumentStore
    from llama_index.core.vector_stores import SimpleVectorStore

    docstore = SimpleDocumentStore()
    add_embedded(framework)(SimpleVectorStore(), folder, modality_key="kind", docstore=docstore)
    text, image = docstore.get_node("notes/a.txt"), docstore.get_node("b")
    assert text.metadata == {"page": 1, "kind": "text", "source": "/data/notes/a.txt"}
    assert text.get_content() == "words"
    assert set(text.excluded_llm_metadata_keys) == {"kind", "source"}
    assert (image.image_url, image.image_path, image.metadata) == ("https://example.org/b.png", None, {"kind": "image"})


@both
def test_a_uuid_stays_as_it_is_and_other_ids_become_those_of_add_images(framework: str, tmp_path: Path) -> None:
    client_module = pytest.importorskip("qdrant_client")
    own = "11111111-1111-1111-1111-111111111111"
    kept = ShardBatch(
        [own, "photos/a.png"], ["image"] * 2, np.eye(2, 16, dtype=np.float32), ["", ""], [None, "photos/a.png"],
        [{}, {}],
    )  # fmt: skip
    write_shards(tmp_path / "shards", [kept], encoder_fingerprint="x-1")
    client = client_module.QdrantClient(":memory:")
    if framework == "langchain":
        module = pytest.importorskip("langchain_qdrant")
        from store_suite.forms import lc_embeddings

        client.create_collection("c", client_module.models.VectorParams(size=16, distance="Cosine"))
        store = module.QdrantVectorStore(client, "c", lc_embeddings(), validate_collection_config=False)
    else:
        store = pytest.importorskip("llama_index.vector_stores.qdrant").QdrantVectorStore("c", client=client)
    add_embedded(framework)(store, tmp_path / "shards")
    assert {point.id for point in client.scroll("c")[0]} == {own, id_of("image", "photos/a.png")}
    client.close()


@both
def test_a_store_that_stops_says_which_batch_and_what_is_in(
    framework: str, corpus: Corpus, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import MemoryIndex

    store, added = MemoryIndex(16), MemoryIndex.add
    left = [3]

    def full(index: Any, *args: Any, **settings: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return added(index, *args, **settings)

    monkeypatch.setattr(MemoryIndex, "add", full)
    first = batch(corpus.items[:20]).ids
    # Batches of 10 hold both modalities, each of which is written by itself.
    with pytest.raises(
        IngestError, match=r"No space left.*Of 45 documents .* in the MemoryIndex: \d+ text, \d+ image; of that"
    ) as caught:
        add_embedded(framework)(store, shards, batch_size=10)
    assert f"OSError at batch 2 of 10 documents ('{first[10]}' to '{first[19]}')" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert 10 < len(store) < 20
    left[0] = 1000
    assert add_embedded(framework)(store, shards, batch_size=10) == {"text": 30, "image": 15}
    assert len(store) == 45


@both
def test_a_damaged_shard_is_told_before_and_half_way(framework: str, shards: Path) -> None:
    store = in_memory(framework)
    parts = sorted(shards.glob("part-*.parquet"))
    whole = parts[1].read_bytes()
    opened = open_shards(shards)
    # In the middle of the vectors: the header at the end of the file is whole.
    parts[1].write_bytes(whole[:200] + bytes(100) + whole[300:])
    with pytest.raises(IngestError, match=r"FileFormatError after batch 1 .*: \d+ text, \d+ image\. Load") as caught:
        add_embedded(framework)(store, opened)
    assert isinstance(caught.value.__cause__, FileFormatError)
    parts[1].write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match="damaged"):
        add_embedded(framework)(store, shards)
    parts[1].unlink()
    with pytest.raises(InvalidInputError, match=r"the embedding is not finished: 1 of 3 parts are missing"):
        add_embedded(framework)(store, shards)
    assert add_embedded(framework)(in_memory(framework), open_shards(shards, partial=True)).keys() == {"text", "image"}


@both
def test_mistakes_write_nothing(framework: str, shards: Path, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import MemoryIndex

    add = add_embedded(framework)
    store = MemoryIndex(8)
    with pytest.raises(InvalidInputError, match=r"hold vectors of length 16, but the MemoryIndex holds .* length 8"):
        add(store, shards)
    store = MemoryIndex(16)
    with pytest.raises(InvalidInputError, match=r"modality='video': the shards .* they hold \d+ \w+, \d+ \w+"):
        add(store, shards, modality="video")
    with pytest.raises(InvalidInputError, match="no shards here"):
        add(store, tmp_path)
    with pytest.raises(InvalidInputError, match="shards must be a folder"):
        add(store, [1, 2])
    with pytest.raises(InvalidInputError, match="batch_size must be an integer"):
        add(store, shards, batch_size=0)
    store.encoder_fingerprint = "another-1"
    with pytest.raises(EncoderMismatchError, match="another-1"):
        add(store, shards)
    assert len(store) == 0
    labeled = ShardBatch(["a"], ["text"], np.eye(1, 16, dtype=np.float32), ["a"], [None], [{"modality": "image"}])
    write_shards(tmp_path / "labeled", [labeled], encoder_fingerprint="x-1")
    with pytest.raises(InvalidInputError, match="says modality='image'"):
        add(MemoryIndex(16), tmp_path / "labeled")


@both
def test_an_index_learns_whose_vectors_it_holds(framework: str, shards: Path) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import MemoryIndex

    store = MemoryIndex(16)
    add_embedded(framework)(store, shards)
    assert store.encoder_fingerprint == "looked-up-1"
    kept = store.get("images/3")
    assert (kept.modality, kept.text, kept.path) == ("image", "caption of image 3", "image 3.png")
    assert json.loads(json.dumps(dict(kept.metadata))) == {"parity": 1, "place": 3}


@both
def test_one_batch_at_a_time_is_in_memory(framework: str, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, alive, most = open_shards(shards), [], [0]
    read = type(opened).batches

    def watched(self: Any, *args: Any) -> Any:
        for one in read(self, *args):
            alive.append(weakref.ref(one.vectors))
            most[0] = max(most[0], sum(reference() is not None for reference in alive))
            yield one
            del one

    monkeypatch.setattr(type(opened), "batches", watched)
    pytest.importorskip("faiss")
    from commonscale.index import MemoryIndex

    add_embedded(framework)(MemoryIndex(16), opened, batch_size=5)
    assert len(alive) == 9
    assert most[0] <= 2


@both
def test_progress_is_shown_on_request(framework: str, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_embedded(framework)(in_memory(framework), shards)
    assert capsys.readouterr().err == ""
    add_embedded(framework)(in_memory(framework), shards, show_progress=True)
    assert "45/45" in capsys.readouterr().err
