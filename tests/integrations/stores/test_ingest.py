"""Putting texts and images into every kind of store, twice and changed, and what is found then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from commonscale.core.errors import InvalidInputError
from store_suite.checks import recall
from store_suite.corpus import QUESTIONS, Corpus, Item
from store_suite.kind import Kind
from store_suite.registry import KINDS

# Weaviate's client waits a second for every batch, whatever the metric is.
_KINDS = [kind for kind in KINDS if "fake-weaviate" not in kind.id or "cosine" in kind.id]

over_kinds = pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.id)

CANNOT_REPLACE = {"faiss-ivf": "inverted file", "faiss-hnsw": "graph"}


class Model:
    """Looks vectors of any norm up, and counts what it embeds; one for both frameworks."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.vectors = {item.text: item.vector for item in corpus.items}
        self.embedded: list[str] = []

    def text(self, text: str) -> list[float]:
        self.embedded.append(text)
        return list(self.vectors[text])

    def image(self, path: Any) -> list[float]:
        self.embedded.append(path)
        return list(self.vectors[path.removesuffix(".png")])


class Filled:
    """A mixed store of one kind that is filled by ``add_texts`` and ``add_images``."""

    def __init__(self, kind: Kind, store: Any, corpus: Corpus) -> None:
        self.kind = kind
        self.store = store
        self.corpus = corpus
        self.model = Model(corpus)
        self.docstore: Any = None
        self.target = store
        if kind.framework == "llama_index" and kind.nodes is not None:
            from llama_index.core import StorageContext, VectorStoreIndex
            from llama_index.core.storage.docstore import SimpleDocumentStore

            self.docstore = SimpleDocumentStore()
            if kind.nodes == "rows":
                context = StorageContext.from_defaults(vector_store=store, docstore=self.docstore)
                self.target = VectorStoreIndex([], storage_context=context, embed_model=self.embeddings())

    def embeddings(self) -> Any:
        if self.kind.framework == "langchain":
            return _lc_model(self.model, self.corpus)
        return _li_model(self.model, self.corpus)

    def add(self, items: Sequence[Item]) -> list[str]:
        """Put items in, in batches of 7."""
        texts = [item for item in items if item.modality == "text"]
        images = [item for item in items if item.modality == "image"]
        if self.kind.framework == "langchain":
            from commonscale.langchain import add_images, add_texts
        else:
            from commonscale.llama_index import add_images, add_texts
        more: dict[str, Any] = {"batch_size": 7}
        if self.docstore is not None and self.target is self.store:
            more["docstore"] = self.docstore
        put = add_texts(self.target, [t.text for t in texts], self.embeddings(), **_about(texts), **more)
        paths, captions = [f"{i.text}.png" for i in images], [f"caption of {i.text}" for i in images]
        put += add_images(self.target, paths, self.embeddings(), captions=captions, **_about(images), **more)
        return put

    def retriever(self, k: int, **settings: Any) -> Any:
        if self.kind.framework == "langchain":
            from commonscale.langchain import StandardizedMultiModalRetriever as ForLangChain

            return ForLangChain(store=self.store, embeddings=self.embeddings(), k=k, **settings)
        from commonscale.llama_index import StandardizedMultiModalRetriever as ForLlamaIndex

        if self.target is not self.store:
            return ForLlamaIndex.from_index(self.target, similarity_top_k=k, **settings)
        if self.docstore is not None:
            settings["docstore"] = self.docstore
        return ForLlamaIndex(store=self.store, embed_model=self.embeddings(), similarity_top_k=k, **settings)

    def ask(self, retriever: Any, questions: Sequence[str]) -> list[list[tuple[str, float]]]:
        found = retriever.retrieve_batch(list(questions))
        if self.kind.framework == "langchain":
            return [[(d.id, d.metadata["commonscale_score"]) for d in documents] for documents in found]
        return [[(hit.node.node_id, float(hit.score)) for hit in hits] for hits in found]

    def contents(self) -> dict[str, tuple[str, Any, str]]:
        """Text, path and label of everything that is found."""
        retriever = self.retriever(2 * len(self.corpus.items), raw=True)
        if self.kind.framework == "langchain":
            found = retriever.invoke(QUESTIONS[0])
            assert len(found) == len({d.id for d in found})
            return {d.id: (d.page_content, d.metadata.get("image_path") or None, d.metadata["modality"]) for d in found}
        nodes = [hit.node for hit in retriever.retrieve(QUESTIONS[0])]
        assert len(nodes) == len({node.node_id for node in nodes})
        return {n.node_id: (n.text, getattr(n, "image_path", None), n.metadata["modality"]) for n in nodes}


def _about(items: Sequence[Item]) -> dict[str, Any]:
    own = [{key: value for key, value in item.metadata.items() if key != "modality"} for item in items]
    return {"ids": [item.id for item in items], "metadatas": own}


def _lc_model(model: Model, corpus: Corpus) -> Any:
    from langchain_core.embeddings import Embeddings

    class LookUp(Embeddings):
        def embed_query(self, text: str) -> list[float]:
            return corpus.vectors[text]

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [model.text(text) for text in texts]

        def embed_image(self, uris: list[str]) -> list[list[float]]:
            return [model.image(uri) for uri in uris]

    return LookUp()


def _li_model(model: Model, corpus: Corpus) -> Any:
    from llama_world import FixedEmbedding

    class LookUp(FixedEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return corpus.vectors[query]

        def _get_text_embedding(self, text: str) -> list[float]:
            return model.text(text)

        def _get_image_embedding(self, img_file_path: Any) -> list[float]:
            return model.image(img_file_path)

    return LookUp()


@pytest.fixture
def filled(open_kind: Any) -> Any:
    def make(kind: Kind) -> Filled:
        corpus = Corpus(texts=30, images=15, norm=5.0)
        empty = corpus.without([item.id for item in corpus.items])
        ours = open_kind(kind, "mixed", empty, behaviour="ranking")
        return Filled(kind, ours.stores["store"], corpus)

    return make


def _ranks_as_numpy(store: Filled) -> None:
    retriever = store.retriever(20)
    retriever.calibrate(list(QUESTIONS))
    recalls = []
    for place, found in enumerate(store.ask(retriever, QUESTIONS)):
        expected = store.corpus.ranking(place, 20)
        if store.kind.recall == 1.0:
            assert [i for i, _ in found] == [i for i, _ in expected]
            assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-4)
        recalls.append(recall([i for i, _ in found], [i for i, _ in expected]))
    assert np.mean(recalls) >= store.kind.recall


@over_kinds
def test_what_is_put_in_ranks_as_numpy_says_also_when_it_is_put_in_again(kind: Kind, filled: Any) -> None:
    store = filled(kind)
    items = store.corpus.items
    ids = store.add(items)
    assert sorted(ids) == sorted(item.id for item in items)
    # The store's own embeddings know none of the texts: it would have failed, had it embedded them a second time.
    assert len(store.model.embedded) == len(items)
    _ranks_as_numpy(store)
    before = store.contents()
    assert before == {
        item.id: (item.text, None, "text")
        if item.modality == "text"
        else (f"caption of {item.text}", f"{item.text}.png", "image")
        for item in items
    }
    assert store.add(items) == ids
    assert store.contents() == before
    _ranks_as_numpy(store)


@over_kinds
def test_changed_content_takes_the_place_of_the_old(kind: Kind, filled: Any) -> None:
    store = filled(kind)
    items = store.corpus.items
    store.add(items)
    retriever = store.retriever(len(items) + 5, raw=True)
    old = items[3]
    store.ask(retriever, QUESTIONS[7:8])
    new = Item(old.id, "text", "changed", {"modality": "text", "parity": 0, "place": 0}, [])
    store.model.vectors["changed"] = (3 * store.corpus.questions[7]).tolist()
    if any(kind.name == name for name in CANNOT_REPLACE) or kind.nodes == "rows":
        with pytest.raises(InvalidInputError, match="cannot replace rows"):
            store.add([new])
        return
    store.add([new])
    (again,) = store.ask(store.retriever(len(items) + 5, raw=True), QUESTIONS[7:8])
    assert again[0] == (old.id, pytest.approx(1.0, abs=5e-3))
    assert [i for i, _ in again].count(old.id) == 1
    assert len(again) == len(items)
    assert store.contents()[old.id] == ("changed", None, "text")
    # A retriever that has looked at the store before sees it too.
    assert store.ask(retriever, QUESTIONS[7:8])[0][0][0] == old.id


@over_kinds
def test_nothing_is_written_that_does_not_fit(kind: Kind, filled: Any) -> None:
    store = filled(kind)
    store.add(store.corpus.items)
    before = store.contents()
    store.model.vectors |= {"short": [1.0, 2.0], "null": [0.0] * store.corpus.dimension}
    short, null = (Item(store.corpus.items[0].id, "text", text, {"modality": "text"}, []) for text in ("short", "null"))
    if (
        "fake-weaviate" not in kind.name
    ):  # Weaviate does not say how long vectors are; it refuses others, the fake takes them.
        with pytest.raises(InvalidInputError, match=r"length 2, but the .* holds vectors of length 16"):
            store.add([short])
    with pytest.raises(InvalidInputError, match=r"vector for texts\[0\] that is null"):
        store.add([null])
    assert store.contents() == before
