"""Real pictures and passages through a real encoder into a store of each framework, and what goes wrong there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import (
    EncoderMismatchError,
    IngestError,
    InvalidInputError,
    SkippedImageWarning,
    UnknownScoreKindError,
)

pytest.importorskip("torch")
pytest.importorskip("transformers")

from commonscale.demo import ENCODER_FOLDER, build_world, draw_pictures
from commonscale.encoders import load_encoder


@pytest.fixture(scope="module")
def encoder() -> Any:
    return load_encoder(str(ENCODER_FOLDER))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return sorted(draw_pictures(build_world(), tmp_path_factory.mktemp("pictures")).values())[:12]


@pytest.fixture(scope="module")
def passages() -> list[str]:
    return sorted(set(build_world().passages.values()))[:12]


def qdrant(framework: str, encoder: Any, distance: str = "COSINE") -> Any:
    pytest.importorskip("qdrant_client")
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    params = models.VectorParams(size=encoder.dimension, distance=models.Distance[distance])
    if framework == "langchain":
        module = pytest.importorskip("langchain_qdrant")
        from commonscale.langchain import CommonscaleEmbeddings

        client.create_collection("c", params)
        return module.QdrantVectorStore(
            client,
            "c",
            CommonscaleEmbeddings(encoder),
            distance=models.Distance[distance],
            validate_collection_config=False,
        )
    module = pytest.importorskip("llama_index.vector_stores.qdrant")
    if distance != "COSINE":
        client.create_collection("c", {"text-dense": params})
    return module.QdrantVectorStore("c", client=client)


def test_llama_index_end_to_end(encoder: Any, pictures: list[str], passages: list[str], tmp_path: Path) -> None:
    from llama_index.core.schema import ImageNode

    from commonscale.llama_index import StandardizedMultiModalRetriever, add_images, add_texts

    store = qdrant("llama_index", encoder)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(Path(pictures[0]).read_bytes()[:200])
    text_ids = add_texts(store, passages, encoder)
    with pytest.warns(
        SkippedImageWarning, match="2 pictures could not be read.*damaged.png.*missing.png.*no such file"
    ):
        image_ids = add_images(
            store,
            [*pictures[:5], damaged, "missing.png", *pictures[5:]],
            encoder,
            captions=["drawn"] * 14,
            batch_size=5,
        )
    assert len(text_ids) == len(image_ids) == 12
    assert store.client.count("c").count == 24
    assert add_texts(store, passages, encoder) == text_ids
    assert add_images(store, pictures, encoder) == image_ids
    assert store.client.count("c").count == 24
    retriever = StandardizedMultiModalRetriever(store=store, embed_model=encoder, similarity_top_k=24)
    retriever.calibrate(list(build_world().calibration_questions[:40]), method="standardized")
    found = retriever.retrieve(question := build_world().entries[0].question)
    expected = np.concatenate([encoder.encode_texts(passages), encoder.encode_images(pictures)])
    cosines = dict(zip([*text_ids, *image_ids], expected @ encoder.encode_questions([question])[0], strict=True))
    assert {h.node.node_id: h.node.metadata["commonscale_cosine"] for h in found} == pytest.approx(cosines, abs=1e-5)
    images = {h.node.node_id: h.node for h in found if isinstance(h.node, ImageNode)}
    assert [images[i].image_path for i in image_ids] == pictures
    assert all(node.image is None and node.metadata["modality"] == "image" for node in images.values())


def test_langchain_end_to_end(encoder: Any, pictures: list[str], passages: list[str], tmp_path: Path) -> None:
    from langchain_core.documents import Document

    from commonscale.langchain import StandardizedMultiModalRetriever, add_images, add_texts, to_content_blocks

    store = qdrant("langchain", encoder)
    own = store.embeddings
    documents = [Document(passage, metadata={"page": page}) for page, passage in enumerate(passages)]
    text_ids = add_texts(store, documents, show_progress=True)
    with pytest.warns(
        SkippedImageWarning, match=r"1 picture could not be read and was left out: 'missing.png' \(no such file\)"
    ):
        image_ids = add_images(store, [*pictures, "missing.png"], captions=["drawn"] * 13)
    assert store.embeddings is own
    assert store.client.count("c").count == 24
    assert (add_texts(store, documents), add_images(store, pictures)) == (text_ids, image_ids)
    assert store.client.count("c").count == 24
    assert documents[0].metadata == {"page": 0}
    assert documents[0].id is None
    retriever = StandardizedMultiModalRetriever(store=store, k=24)
    retriever.calibrate(list(build_world().calibration_questions[:40]), method="standardized")
    found = retriever.invoke(question := build_world().entries[0].question)
    expected = np.concatenate([encoder.encode_texts(passages), encoder.encode_images(pictures)])
    cosines = dict(zip([*text_ids, *image_ids], expected @ encoder.encode_questions([question])[0], strict=True))
    assert {d.id: d.metadata["commonscale_cosine"] for d in found} == pytest.approx(cosines, abs=1e-5)
    shown = [d for d in found if d.metadata["modality"] == "image"]
    assert {d.id: d.metadata["image_path"] for d in shown} == dict(zip(image_ids, pictures, strict=True))
    assert [block["type"] for block in to_content_blocks(shown[:1])] == ["image"]


@pytest.mark.parametrize("framework", ["llama_index", "langchain"])
def test_pictures_without_a_path_go_in_only_if_they_may_be_stored(
    framework: str, encoder: Any, pictures: list[str]
) -> None:
    contents = Path(pictures[0]).read_bytes()
    store = qdrant(framework, encoder)
    settings = {"store": store, "modalities": ["image"]}
    if framework == "llama_index":
        from commonscale.llama_index import StandardizedMultiModalRetriever, add_images
    else:
        from commonscale.langchain import StandardizedMultiModalRetriever as ForLangChain
        from commonscale.langchain import add_images, to_content_blocks
    with pytest.raises(InvalidInputError, match=r"has neither path nor URL.*store_base64=True"):
        add_images(store, [contents], encoder)
    (key,) = add_images(store, [contents], encoder, store_base64=True)
    questions = list(build_world().calibration_questions[:40])
    if framework == "llama_index":
        retriever = StandardizedMultiModalRetriever(embed_model=encoder, **settings)
        retriever.calibrate(questions, method="standardized")
        (hit,) = retriever.retrieve("a picture")
        assert hit.node.node_id == key
        assert hit.node.resolve_image().read() == contents
        return
    chain = ForLangChain(embeddings=encoder, **settings)
    chain.calibrate(questions, method="standardized")
    (document,) = chain.invoke("a picture")
    assert document.id == key
    assert to_content_blocks([document])[0]["mime_type"] == "image/png"


@pytest.mark.parametrize("framework", ["llama_index", "langchain"])
def test_stores_that_cannot_keep_cosines_and_ids_that_they_do_not_take_are_refused(
    framework: str, encoder: Any
) -> None:
    add_texts = _add_texts(framework)
    store = qdrant(framework, encoder, "MANHATTAN")
    with pytest.raises(UnknownScoreKindError, match=r"compares by manhattan distance.*cosine is best"):
        add_texts(store, ["a cat"], encoder)
    assert store.client.count("c").count == 0
    with pytest.raises(InvalidInputError, match="a QdrantVectorStore takes only UUIDs as ids, got 'one'"):
        add_texts(qdrant(framework, encoder), ["a cat"], encoder, ids=["one"])


@pytest.mark.parametrize("framework", ["llama_index", "langchain"])
def test_an_index_keeps_what_it_is_given_and_whose_vectors_they_are(
    framework: str, encoder: Any, pictures: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("faiss")
    from commonscale.index import FaissIndex

    add_texts = _add_texts(framework)
    index = FaissIndex.create(tmp_path / "index", encoder.dimension)
    if framework == "llama_index":
        from commonscale.llama_index import add_images
    else:
        from commonscale.langchain import add_images
    (text,) = add_texts(index, ["a cat"], encoder, metadatas=[{"page": 3}])
    (image,) = add_images(index, pictures[:1], encoder, captions=["drawn"])
    stored = index.get(text)
    assert (stored.modality, stored.text, stored.path, stored.metadata) == ("text", "a cat", None, {"page": 3})
    stored = index.get(image)
    assert (stored.modality, stored.text, stored.path, stored.metadata) == ("image", "drawn", pictures[0], {})
    assert index.encoder_fingerprint == encoder.fingerprint
    index.encoder_fingerprint = "another"
    with pytest.raises(EncoderMismatchError, match="holds vectors of the encoder 'another'"):
        add_texts(index, ["a dog"], encoder)


@pytest.mark.parametrize("framework", ["llama_index", "langchain"])
@pytest.mark.parametrize(
    ("texts", "more", "message"),
    [
        ("a cat", {}, "a list of texts is needed, got one str"),
        (["a cat", " "], {}, r"texts\[1\] has no text"),
        (["a cat", 3], {}, r"texts\[1\] must be a string or a"),
        (["a cat"], {"metadatas": [{}, {}]}, "metadatas has 2 entries for 1 items"),
        (["a cat"], {"metadatas": ["x"]}, r"metadatas\[0\] must be a mapping"),
        (["a cat"], {"metadatas": [{"modality": "image"}]}, "says modality='image'"),
        (["a cat", "a cat"], {"metadatas": [{"page": 1}, {"page": 2}]}, "have the same id"),
        (["a cat"], {"batch_size": 0}, "batch_size must be an integer"),
    ],
)
def test_mistakes(framework: str, texts: Any, more: dict[str, Any], message: str, encoder: Any) -> None:
    with pytest.raises(InvalidInputError, match=message):
        _add_texts(framework)(qdrant(framework, encoder), texts, encoder, **more)


def test_stores_of_vectors_need_a_place_for_nodes(encoder: Any) -> None:
    faiss = pytest.importorskip("faiss")
    stores = pytest.importorskip("llama_index.vector_stores.faiss")
    from llama_index.core.storage.docstore import SimpleDocumentStore
    from llama_index.core.vector_stores import SimpleVectorStore

    from commonscale.llama_index import StandardizedMultiModalRetriever, add_texts

    with pytest.raises(
        InvalidInputError, match=r"SimpleVectorStore keeps only vectors.*docstore=SimpleDocumentStore\(\)"
    ):
        add_texts(SimpleVectorStore(), ["a cat"], encoder)
    flat = stores.FaissVectorStore(faiss.IndexFlatIP(encoder.dimension))
    with pytest.raises(
        InvalidInputError, match=r"a FaissVectorStore numbers its vectors and knows no ids.*FaissMapVectorStore"
    ):
        add_texts(flat, ["a cat"], encoder, docstore=SimpleDocumentStore())
    store, docstore = SimpleVectorStore(), SimpleDocumentStore()
    (key,) = add_texts(store, ["a cat"], encoder, docstore=docstore)
    retriever = StandardizedMultiModalRetriever(
        store=store, docstore=docstore, modalities=["text"], embed_model=encoder, similarity_top_k=1
    )
    retriever.calibrate(list(build_world().calibration_questions[:40]), method="standardized")
    assert [hit.node.node_id for hit in retriever.retrieve("a cat")] == [key]
    assert docstore.get_node(key).embedding is None


def test_nodes_are_copied_and_embedded_as_they_say(encoder: Any) -> None:
    from llama_index.core.schema import Document, ImageNode, MetadataMode, TextNode

    from commonscale.llama_index import add_texts

    store = qdrant("llama_index", encoder)
    titled = TextNode(text="a cat", metadata={"title": "Cats"}, id_="00000000-0000-0000-0000-000000000001")
    ready = TextNode(text="b", embedding=[3.0] + [0.0] * (encoder.dimension - 1))
    document = Document(text="a dog")
    before = [node.model_copy(deep=True) for node in (titled, ready, document)]
    ids = add_texts(store, [titled, ready, document], encoder)
    assert ids == [titled.node_id, ready.node_id, document.node_id]
    assert [titled, ready, document] == before
    stored = {node.node_id: node for node in store.get_nodes(node_ids=ids)}
    said = titled.get_content(metadata_mode=MetadataMode.EMBED)
    assert said == "title: Cats\n\na cat"
    assert stored[ids[0]].embedding == pytest.approx(encoder.encode_texts([said])[0].tolist(), abs=1e-6)
    assert stored[ids[1]].embedding == pytest.approx([1.0] + [0.0] * (encoder.dimension - 1))
    assert stored[ids[0]].metadata == {"title": "Cats", "modality": "text"}
    assert stored[ids[0]].get_content(metadata_mode=MetadataMode.LLM) == said
    assert stored[ids[2]].text == "a dog"
    with pytest.raises(InvalidInputError, match=r"texts\[0\] is an image .*use add_images"):
        add_texts(store, [ImageNode(image_path="a.png")], encoder)


def test_a_store_that_fails_half_way_says_what_is_in(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_core.vectorstores import InMemoryVectorStore

    from commonscale.langchain import CommonscaleEmbeddings, add_texts

    class Full(InMemoryVectorStore):
        def add_documents(self, documents: Any, ids: Any = None, **kwargs: Any) -> list[str]:
            if len(self.store) >= 4:
                raise OSError(28, "No space left on device")
            return super().add_documents(documents, ids, **kwargs)

    store = Full(CommonscaleEmbeddings(encoder))
    texts = [f"text {number}" for number in range(7)]
    with pytest.raises(IngestError, match=r"No space left.* 4 of 7 texts are in the Full") as caught:
        add_texts(store, texts, batch_size=2)
    assert list(caught.value.stored) == list(store.store)


def test_every_known_store_has_a_way_of_its_own() -> None:
    from commonscale.langchain.ingest_stores import WAYS as OF_LANGCHAIN
    from commonscale.langchain.stores import STORES as IN_LANGCHAIN
    from commonscale.llama_index.ingest_stores import WAYS as OF_LLAMA_INDEX
    from commonscale.llama_index.stores import STORES as IN_LLAMA_INDEX

    # A FaissIndex is a MemoryIndex; rows of a FaissVectorStore go in through the index that has a table of them.
    assert set(IN_LANGCHAIN) - set(OF_LANGCHAIN) == {"FaissIndex"}
    assert set(IN_LLAMA_INDEX) - set(OF_LLAMA_INDEX) == {"FaissVectorStore"}


def _add_texts(framework: str) -> Any:
    if framework == "llama_index":
        from commonscale.llama_index import add_texts
    else:
        from commonscale.langchain import add_texts
    return add_texts
