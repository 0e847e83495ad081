"""A store of any kind that is filled by our own functions, and asked for what it holds then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store_suite.corpus import QUESTIONS, Corpus, Item
from store_suite.kind import Kind


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

    @property
    def batch_size(self) -> int:
        """Few at once, but for Weaviate, whose client waits a second for every batch."""
        return 50 if "weaviate" in self.kind.name else 7

    def embeddings(self) -> Any:
        if self.kind.framework == "langchain":
            return lc_model(self.model, self.corpus)
        return li_model(self.model, self.corpus)

    def add(self, items: Sequence[Item]) -> list[str]:
        """Put items in, in small batches."""
        texts = [item for item in items if item.modality == "text"]
        images = [item for item in items if item.modality == "image"]
        if self.kind.framework == "langchain":
            from commonscale.langchain import add_images, add_texts
        else:
            from commonscale.llama_index import add_images, add_texts
        more: dict[str, Any] = {"batch_size": self.batch_size}
        if self.docstore is not None and self.target is self.store:
            more["docstore"] = self.docstore
        put = add_texts(self.target, [t.text for t in texts], self.embeddings(), **_about(texts), **more)
        paths, captions = [f"{i.text}.png" for i in images], [f"caption of {i.text}" for i in images]
        put += add_images(self.target, paths, self.embeddings(), captions=captions, **_about(images), **more)
        return put

    def add_embedded(self, shards: Any, **settings: Any) -> dict[str, int]:
        """Put shards in, in small batches, with whatever the kind needs beside the store."""
        if self.kind.framework == "langchain":
            from commonscale.langchain import add_embedded
        else:
            from commonscale.llama_index import add_embedded
        if self.docstore is not None and self.target is self.store:
            settings["docstore"] = self.docstore
        return add_embedded(self.target, shards, **{"batch_size": self.batch_size, **settings})

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


def lc_model(model: Model, corpus: Corpus) -> Any:
    """LangChain embeddings that look vectors up."""
    from langchain_core.embeddings import Embeddings

    class LookUp(Embeddings):
        def embed_query(self, text: str) -> list[float]:
            return corpus.vectors[text]

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [model.text(text) for text in texts]

        def embed_image(self, uris: list[str]) -> list[list[float]]:
            return [model.image(uri) for uri in uris]

    return LookUp()


def li_model(model: Model, corpus: Corpus) -> Any:
    """A LlamaIndex embedding model that looks vectors up."""
    from llama_world import FixedEmbedding

    class LookUp(FixedEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return corpus.vectors[query]

        def _get_text_embedding(self, text: str) -> list[float]:
            return model.text(text)

        def _get_image_embedding(self, img_file_path: Any) -> list[float]:
            return model.image(img_file_path)

    return LookUp()
