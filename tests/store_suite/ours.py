"""Our retriever over any kind of store, asked the same way in both frameworks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store_suite import forms
from store_suite.corpus import QUESTIONS, Corpus
from store_suite.kind import Kind, Place

Pairs = list[tuple[str, float]]


class Ours:
    """A retriever over the stores of one kind."""

    def __init__(self, kind: Kind, corpus: Corpus, stores: dict[str, Any], places: Sequence[Place]) -> None:
        self.kind = kind
        self.corpus = corpus
        self.stores = stores
        self.places = places

    def retriever(self, **settings: Any) -> Any:
        """Make a retriever; ``k`` is how many, ``even`` applies the kind's own filter."""
        settings = {"k": 20, **settings}
        even = settings.pop("even", False)
        assert not even or self.kind.even is not None
        if self.kind.framework == "langchain":
            from commonscale.langchain import StandardizedMultiModalRetriever as ForLangChain

            if even:
                settings["filter"] = self.kind.even()
            return ForLangChain(
                **self.stores, embeddings=forms.lc_embeddings(questions=self.corpus.vectors), **settings
            )
        from commonscale.llama_index import StandardizedMultiModalRetriever as ForLlamaIndex
        from llama_world import FixedEmbedding

        settings["similarity_top_k"] = settings.pop("k")
        if even:
            settings["filters"] = self.kind.even()
        model = FixedEmbedding(vectors=self.corpus.vectors)
        return ForLlamaIndex(**self.stores, **self._nodes(), embed_model=model, **settings)

    def calibrated(self, **settings: Any) -> Any:
        """Make a retriever and calibrate it."""
        retriever = self.retriever(**settings)
        retriever.calibrate(list(QUESTIONS), method="standardized")
        return retriever

    def sources(self, **settings: Any) -> dict[str, Any]:
        """The sources that a retriever searches, by modality."""
        retriever = self.retriever(**settings)
        return dict(retriever._wired().sources if self.kind.framework == "langchain" else retriever._sources)

    def ask(self, retriever: Any, question: str) -> Pairs:
        """Retrieve for one question."""
        if self.kind.framework == "langchain":
            return _documents(retriever.invoke(question))
        return _nodes(retriever.retrieve(question))

    async def aask(self, retriever: Any, question: str) -> Pairs:
        """Retrieve for one question, asynchronously."""
        if self.kind.framework == "langchain":
            return _documents(await retriever.ainvoke(question))
        return _nodes(await retriever.aretrieve(question))

    def ask_all(self, retriever: Any, questions: Sequence[str]) -> list[Pairs]:
        """Retrieve for many questions in one batch."""
        found = retriever.retrieve_batch(list(questions))
        return [_documents(f) if self.kind.framework == "langchain" else _nodes(f) for f in found]

    async def aask_all(self, retriever: Any, questions: Sequence[str]) -> list[Pairs]:
        """Retrieve for many questions in one batch, asynchronously."""
        found = await retriever.aretrieve_batch(list(questions))
        return [_documents(f) if self.kind.framework == "langchain" else _nodes(f) for f in found]

    def reopen(self) -> None:
        """Close the stores and open them again."""
        assert self.kind.reopen is not None
        for place in self.places:
            place.close()
        self.stores = {name: self.kind.reopen(place) for name, place in zip(self.stores, self.places, strict=True)}

    def delete(self, ids: list[str]) -> None:
        """Delete items from the stores that hold them."""
        assert self.kind.delete is not None
        for name, store in self.stores.items():
            held = [i for i in ids if name == "store" or name.startswith(self.corpus[i].modality)]
            if held:
                self.kind.delete(store, held)

    def _nodes(self) -> dict[str, Any]:
        if self.kind.nodes is None:
            return {}
        given: dict[str, Any] = {}
        for name in self.stores:
            modality = name.removesuffix("_store") if name != "store" else None
            nodes = forms.nodes(self.corpus.items if modality is None else self.corpus.of(modality))
            key = "nodes" if modality is None else f"{modality}_nodes"
            given[key] = nodes if self.kind.nodes == "rows" else {node.node_id: node for node in nodes}
        return given


def _nodes(found: Any) -> Pairs:
    return [(hit.node.node_id, float(hit.score)) for hit in found]


def _documents(found: Any) -> Pairs:
    return [(document.id, float(document.metadata["commonscale_score"])) for document in found]
