"""An index over stores that tell of their changes: whatever LlamaIndex does to it, the retriever's scale is right."""

from __future__ import annotations

import asyncio
import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faiss
import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery
from llama_index.vector_stores.faiss import FaissVectorStore

from commonscale import Calibration
from commonscale.core.errors import InvalidInputError, StaleCalibrationWarning
from commonscale.llama_index import LiveVectorStore, StandardizedMultiModalRetriever, add_images, add_texts
from llama_world import FixedEmbedding
from store_suite import forms
from store_suite.corpus import QUESTIONS, Corpus, Item

METHODS = pytest.mark.parametrize("method", ["standardized", "chance"])


def model_of(corpus: Corpus) -> FixedEmbedding:
    """Knows the questions, the texts and the pictures' paths."""
    vectors = {item.text: list(item.vector) for item in corpus.items}
    return FixedEmbedding(vectors={**corpus.vectors, **vectors, **{f"{t}.png": v for t, v in vectors.items()}})


def scale(calibration: Calibration | None) -> dict[str, tuple[float, ...]]:
    assert calibration is not None
    return {m: (e.statistics.mean, e.statistics.std, e.statistics.count) for m, e in calibration.modalities.items()}


def close(one: Calibration | None, other: Calibration | None) -> None:
    mine, theirs = scale(one), scale(other)
    assert mine == {modality: pytest.approx(numbers, abs=1e-6) for modality, numbers in theirs.items()}


def belonging(items: list[Item], document: str) -> list[Any]:
    """Nodes of one document."""
    nodes = forms.nodes(items)
    for node in nodes:
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=document)
    return nodes


def split(corpus: Corpus) -> tuple[list[Item], list[Item], list[Item]]:
    """What is there for good, what is there and goes, and what comes."""
    goes = [one for m in ("text", "image") for question in (0, 1) for one in corpus.nearest(question, 1, m)]
    comes = [one for m in ("text", "image") for question in (2, 3) for one in corpus.nearest(question, 1, m)]
    comes = [one for one in comes if one not in goes]
    stays = corpus.without([*goes, *comes]).items
    return stays, [corpus[one] for one in dict.fromkeys(goes)], [corpus[one] for one in dict.fromkeys(comes)]


def multi_modal(stores: dict[str, Any], model: Any) -> MultiModalVectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=stores["text"], image_store=stores["image"])
    return MultiModalVectorStoreIndex([], storage_context=context, embed_model=model, image_embed_model=model)


@METHODS
def test_insertions_and_deletions_through_a_multi_modal_index_are_followed(method: str) -> None:
    corpus = Corpus()
    stays, goes, comes = split(corpus)
    stores = {modality: LiveVectorStore(SimpleVectorStore()) for modality in ("text", "image")}
    index = multi_modal(stores, model_of(corpus))
    index.insert_nodes(belonging(stays, "stays"))
    index.insert_nodes(belonging(goes, "goes"))
    retriever = StandardizedMultiModalRetriever.from_index(index)
    living = retriever.keep_calibrated(list(QUESTIONS), method=method)
    index.insert_nodes(belonging(comes, "comes"))
    for store in stores.values():
        store.delete("goes")
    assert retriever.calibration is living.calibration
    fresh = StandardizedMultiModalRetriever.from_index(index)
    if method == "chance":
        known = {m: set(e.correction.documents.ids) for m, e in living.calibration.modalities.items()}
        left = corpus.without([item.id for item in goes])
        assert known == {m: {item.id for item in left.of(m)} for m in ("text", "image")}
        living.refit()
    close(retriever.calibration, fresh.calibrate(list(QUESTIONS), method=method))
    assert [hit.node.node_id for hit in retriever.retrieve(QUESTIONS[2])] == [
        hit.node.node_id for hit in fresh.retrieve(QUESTIONS[2])
    ]


async def test_a_multi_modal_index_deletes_nodes_from_its_text_store_only() -> None:
    # LlamaIndex's own behaviour, which docs/living.md names; the scale is that of what the stores hold all the same.
    corpus = Corpus()
    stays, goes, _ = split(corpus)
    stores = {modality: LiveVectorStore(SimpleVectorStore()) for modality in ("text", "image")}
    index = multi_modal(stores, model_of(corpus))
    index.insert_nodes(belonging(stays, "stays"))
    index.insert_nodes(belonging(goes, "goes"))
    retriever = StandardizedMultiModalRetriever.from_index(index)
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    gone = [item.id for item in goes]
    pictures = {item.id for item in goes if item.modality == "image"}

    def known(modality: str) -> set[str]:
        entry = retriever.calibration.modalities[modality]  # type: ignore[union-attr]
        return set(entry.correction.documents.ids)  # type: ignore[union-attr]

    index.delete_nodes(gone)
    await index.adelete_ref_doc("goes")
    assert not known("text") & set(gone)
    assert pictures <= known("image") == set(stores["image"].data.embedding_dict)
    index.delete_ref_doc("goes")
    assert not pictures & known("image")
    assert known("image") == set(stores["image"].data.embedding_dict)


@pytest.mark.parametrize("kind", ["simple", "qdrant"])
@METHODS
async def test_a_mixed_index_is_followed_asynchronously(kind: str, method: str) -> None:
    corpus = Corpus()
    stays, goes, comes = split(corpus)
    inner: Any = SimpleVectorStore()
    if kind == "qdrant":
        inner = threaded_qdrant()
    store = LiveVectorStore(inner)
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex([], storage_context=context, embed_model=model_of(corpus), use_async=True)
    await index.ainsert_nodes(belonging(stays, "stays"))
    await index.ainsert_nodes(belonging(goes, "goes"))
    retriever = StandardizedMultiModalRetriever.from_index(index)
    living = await retriever.akeep_calibrated(list(QUESTIONS), method=method)
    await asyncio.gather(*(index.ainsert_nodes(belonging([one], "comes")) for one in comes))
    await index.adelete_ref_doc("goes", delete_from_docstore=True)
    fresh = StandardizedMultiModalRetriever.from_index(index)
    if method == "chance":
        known = {one for e in living.calibration.modalities.values() for one in e.correction.documents.ids}
        assert known == {item.id for item in [*stays, *comes]}
        living.refit()
    close(retriever.calibration, await fresh.acalibrate(list(QUESTIONS), method=method))


def threaded_qdrant() -> Any:
    """A QdrantVectorStore in memory, with the asynchronous methods that every store has: in memory two clients would be
    two databases."""
    from llama_index.core.vector_stores.types import BasePydanticVectorStore
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    class Threaded(QdrantVectorStore):
        async_add = BasePydanticVectorStore.async_add
        adelete = BasePydanticVectorStore.adelete

    return Threaded("live", client=QdrantClient(":memory:"))


def test_a_faiss_store_that_numbers_its_rows_is_followed_through_its_index() -> None:
    corpus = Corpus()
    stays, goes, comes = split(corpus)
    store = LiveVectorStore(FaissVectorStore(faiss.IndexFlatIP(corpus.dimension)))
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(forms.nodes([*stays, *goes]), storage_context=context, embed_model=model_of(corpus))
    retriever = StandardizedMultiModalRetriever.from_index(index)
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    index.insert_nodes(forms.nodes(comes))
    found = {m: set(e.correction.documents.ids) for m, e in retriever.calibration.modalities.items()}  # type: ignore[union-attr]
    assert found == {m: {item.id for item in corpus.of(m)} for m in ("text", "image")}


def test_our_own_functions_tell_too() -> None:
    corpus = Corpus()
    stays, _, comes = split(corpus)
    index = multi_modal({m: LiveVectorStore(SimpleVectorStore()) for m in ("text", "image")}, model_of(corpus))
    index.insert_nodes(forms.nodes(stays))
    retriever = StandardizedMultiModalRetriever.from_index(index)
    retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    for item in comes:
        given = {"ids": [item.id], "docstore": index.docstore}
        if item.modality == "text":
            add_texts(index.vector_store, [item.text], model_of(corpus), **given)
        else:
            add_images(index.image_vector_store, [f"{item.text}.png"], model_of(corpus), **given)
        for node_id in given["ids"]:
            index.index_struct.nodes_dict[node_id] = node_id
    close(
        retriever.calibration,
        StandardizedMultiModalRetriever.from_index(index).calibrate(list(QUESTIONS), method="standardized"),
    )


class _Failing(SimpleVectorStore):
    """A store that fails when it is told to."""

    def add(self, nodes: Any, **kwargs: Any) -> Any:
        if any(node.metadata.get("fails") for node in nodes):
            raise OSError("the disk is full")
        return super().add(nodes, **kwargs)

    def delete_nodes(self, node_ids: Any = None, filters: Any = None, **kwargs: Any) -> None:
        raise OSError("the disk is full")


def single(corpus: Corpus, store: Any, **settings: Any) -> tuple[LiveVectorStore, StandardizedMultiModalRetriever]:
    live = LiveVectorStore(store)
    live.add(forms.nodes(corpus.items))
    nodes = {node.node_id: node for node in forms.nodes(corpus.items)}
    return live, StandardizedMultiModalRetriever(store=live, nodes=nodes, embed_model=model_of(corpus), **settings)


def test_a_store_that_fails_leaves_the_statistics_as_they_were() -> None:
    corpus = Corpus()
    store, retriever = single(corpus, _Failing())
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    before = retriever.calibration
    node = TextNode(text="", embedding=corpus.items[0].vector, metadata={"fails": True, "modality": "text"})
    with pytest.raises(OSError, match="disk is full"):
        store.add([node])
    with pytest.raises(OSError, match="disk is full"):
        store.delete_nodes([corpus.items[0].id])
    assert retriever.calibration is before


def test_a_store_works_as_before() -> None:
    corpus = Corpus()
    plain = SimpleVectorStore()
    plain.add(forms.nodes(corpus.items))
    live, _ = single(corpus, SimpleVectorStore())
    query = VectorStoreQuery(query_embedding=corpus.questions[0].tolist(), similarity_top_k=5)
    assert live.query(query).ids == plain.query(query).ids
    assert live.client is live.store.client
    assert live.data.embedding_dict == plain.data.embedding_dict
    assert live.get(corpus.items[0].id) == plain.get(corpus.items[0].id)
    assert (live.stores_text, live.is_embedding_query) == (False, True)
    assert copy.deepcopy(live).changes is live.changes
    with pytest.raises(AttributeError, match="no_such"):
        _ = live.no_such


def test_clearing_and_filling_again(recwarn: Any) -> None:
    corpus = Corpus()
    store, retriever = single(corpus, _Clearing())
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    store.clear()
    store.add(forms.nodes(corpus.items))
    fresh = single(corpus, SimpleVectorStore())[1].calibrate(list(QUESTIONS), method="chance")
    for modality, entry in retriever.calibration.modalities.items():  # type: ignore[union-attr]
        assert entry.background.documents == fresh.modalities[modality].background.documents  # type: ignore[union-attr]


class _Clearing(SimpleVectorStore):
    def clear(self) -> None:
        self.delete_nodes(list(self.data.embedding_dict))


def test_deletion_by_filters_is_followed() -> None:
    corpus = Corpus()
    store, retriever = single(corpus, SimpleVectorStore())
    retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    store.delete_nodes(filters=forms.li_even())
    odd = Corpus()
    odd.items = [item for item in corpus.items if item.metadata["parity"] == 1]
    assert {m: numbers[:2] for m, numbers in scale(retriever.calibration).items()} == {
        m: pytest.approx(numbers, abs=1e-6) for m, numbers in odd.statistics().items()
    }


def test_an_image_that_becomes_a_text_moves() -> None:
    corpus = Corpus()
    store, retriever = single(corpus, SimpleVectorStore())
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    item = corpus.of("image")[0]
    store.add([TextNode(id_=item.id, text="now a text", embedding=item.vector, metadata={"modality": "text"})])
    known = {m: set(e.correction.documents.ids) for m, e in retriever.calibration.modalities.items()}  # type: ignore[union-attr]
    assert item.id in known["text"]
    assert item.id not in known["image"]


def test_another_calibration_ends_it() -> None:
    corpus = Corpus()
    store, retriever = single(corpus, SimpleVectorStore())
    retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    with pytest.warns(StaleCalibrationWarning, match="no longer kept up to date"):
        mine = retriever.calibrate(list(QUESTIONS[:35]), method="standardized")
    store.delete_nodes([corpus.nearest(0, 1, "text")[0]])
    assert retriever.calibration is mine
    assert store.changes.watchers == ()


def test_many_threads_change_a_store() -> None:
    corpus = Corpus()
    store, retriever = single(corpus, SimpleVectorStore())
    living = retriever.keep_calibrated(list(QUESTIONS), method="chance")
    gone = [item.id for item in corpus.items[::3]]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: store.delete_nodes([one]), gone))
    left = {item.id for item in corpus.without(gone).items}
    assert {one for e in living.calibration.modalities.values() for one in e.correction.documents.ids} == left
    assert set(store.data.embedding_dict) == left


def test_what_cannot_be_followed_is_said() -> None:
    corpus = Corpus()
    plain = SimpleVectorStore()
    plain.add(forms.nodes(corpus.items))
    nodes = {node.node_id: node for node in forms.nodes(corpus.items)}
    model = model_of(corpus)
    retriever = StandardizedMultiModalRetriever(store=plain, nodes=nodes, embed_model=model)
    with pytest.raises(InvalidInputError, match="none of the stores tells of its changes"):
        retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    retriever = StandardizedMultiModalRetriever(
        store=LiveVectorStore(plain), nodes=nodes, embed_model=model, filters=forms.li_even()
    )
    with pytest.raises(InvalidInputError, match="has filters="):
        retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    stores = {}
    for modality in ("text", "image"):
        stores[modality] = SimpleVectorStore()
        stores[modality].add(forms.nodes(corpus.of(modality)))
    retriever = StandardizedMultiModalRetriever(
        text_store=LiveVectorStore(stores["text"]),
        image_store=stores["image"],
        text_nodes=nodes,
        image_nodes=nodes,
        embed_model=model,
    )
    with pytest.warns(StaleCalibrationWarning, match="'image' are not seen: its SimpleSource"):
        retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    with pytest.raises(InvalidInputError, match="takes a LlamaIndex vector store, got a dict"):
        LiveVectorStore({})  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="tells of its changes already"):
        LiveVectorStore(LiveVectorStore(plain))


def test_what_the_calibration_cannot_do_is_a_warning() -> None:
    corpus = Corpus()
    store, retriever = single(corpus, SimpleVectorStore())
    retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    null = ImageNode(embedding=[0.0] * corpus.dimension, metadata={"modality": "image"}, image_path="null.png")
    with pytest.warns(StaleCalibrationWarning, match="could not be kept up to date"):
        store.add([null])
    assert null.node_id in store.data.embedding_dict
    np.testing.assert_allclose(scale(retriever.calibration)["text"][:2], corpus.statistics()["text"], atol=1e-6)


async def test_strata_are_kept_too() -> None:
    _, retriever = single(Corpus(), SimpleVectorStore())
    asked = list(QUESTIONS)
    keys = ["ab"[place % 2] for place in range(len(asked))]
    once = retriever.calibrate(asked, method="standardized", strata=keys)
    for living in (
        retriever.keep_calibrated(asked, method="standardized", strata=keys),
        await retriever.akeep_calibrated(asked, method="standardized", strata=keys),
    ):
        assert set(living.calibration.strata) == {"a", "b"}
        close(living.calibration.strata["a"], once.strata["a"])
