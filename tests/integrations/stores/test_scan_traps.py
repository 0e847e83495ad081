"""What reading a whole store must not stumble over, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from langchain_community.docstore import InMemoryDocstore
from langchain_community.vectorstores.faiss import FAISS
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.schema import TextNode
from llama_index.vector_stores.faiss import FaissVectorStore

from commonscale import Candidates, Question
from commonscale.core.errors import MethodFallbackWarning, SourceError, UnreadableVectorsError
from commonscale.core.scanning import scan
from commonscale.embedding import ShardBatch, open_shards, write_shards
from commonscale.embedding.source import ShardSource
from commonscale.index import Document as Stored
from commonscale.index import FaissIndex, MemoryIndex
from commonscale.langchain import StandardizedMultiModalRetriever as ForLangChain
from commonscale.llama_index import StandardizedMultiModalRetriever as ForLlamaIndex
from llama_world import FixedEmbedding
from store_suite import forms
from store_suite.corpus import QUESTIONS, Corpus
from store_suite.elasticsearch import chain_store
from store_suite.fakes.elasticsearch import FakeElasticsearch
from store_suite.fakes.http import serve
from store_suite.kind import Place


@pytest.fixture
def corpus() -> Corpus:
    return Corpus()


def elastic(corpus: Corpus, fake: FakeElasticsearch, url: str, folder: Path) -> tuple[Any, Any]:
    from elasticsearch import Elasticsearch
    from langchain_elasticsearch import DenseVectorStrategy

    client = Elasticsearch(url, max_retries=0)
    place = Place(folder, corpus.dimension, lambda _: url)
    store = chain_store(place, client, DenseVectorStrategy())
    forms.add_documents(store, corpus.items)
    embeddings = forms.lc_embeddings(questions=corpus.vectors)
    return client, ForLangChain(store=store, embeddings=embeddings)


def test_places_in_an_index_are_given_back_even_if_a_scan_is_left(corpus: Corpus, tmp_path: Path) -> None:
    fake = FakeElasticsearch("8.19.3")
    with serve(fake) as url:
        client, retriever = elastic(corpus, fake, url, tmp_path)
        source = retriever._wired().sources["text"]
        pages = source.scan(10)
        assert len(next(pages)[0]) == 10
        assert len(fake.scrolls) == 1
        pages.close()
        assert fake.scrolls == {}
        assert sum(len(ids) for ids, _ in source.scan(10)) == len(corpus.of("text"))
        assert fake.scrolls == {}
        client.close()


def test_a_server_that_does_not_scroll_is_calibrated_otherwise(corpus: Corpus, tmp_path: Path) -> None:
    fake = FakeElasticsearch("8.19.3")
    with serve(fake) as url:
        client, retriever = elastic(corpus, fake, url, tmp_path)
        refusal = {"error": {"type": "illegal_argument_exception", "reason": "no scroll"}, "status": 400}
        fake.faults.append(lambda request: (400, refusal) if "scroll" in request.parameters else None)
        with pytest.raises(UnreadableVectorsError, match=r"does not let the index .* be scrolled through"):
            list(retriever._wired().sources["text"].scan(10))
        with pytest.warns(MethodFallbackWarning, match="scrolled through"):
            calibration = retriever.calibrate(list(QUESTIONS), method="chance")
        assert calibration.method == "standardized"
        client.close()


def test_a_part_of_an_index_is_never_taken_for_the_whole(corpus: Corpus, tmp_path: Path) -> None:
    fake = FakeElasticsearch("8.19.3")
    with serve(fake) as url:
        client, retriever = elastic(corpus, fake, url, tmp_path)
        failed = {"took": 1, "timed_out": False, "_shards": {"total": 2, "failed": 1}, "hits": {"hits": []}}
        fake.faults.append(lambda request: (200, failed) if "scroll" in request.parameters else None)
        with pytest.raises(SourceError, match="only a part of the index"):
            list(retriever._wired().sources["text"].scan(10))
        client.close()


def test_an_index_without_its_vectors_says_so() -> None:
    """A map of ids gives no rows by their numbers; score_kind= tells what its numbers mean."""
    rows = np.eye(8, dtype=np.float32)
    index = faiss.IndexIDMap(faiss.IndexFlatIP(8))
    index.add_with_ids(rows, np.arange(8))
    nodes = [TextNode(id_=str(number), text="a") for number in range(8)]
    retriever = ForLlamaIndex(
        text_store=FaissVectorStore(index), text_nodes=nodes, embed_model=FixedEmbedding(), score_kind="inner_product"
    )
    with pytest.raises(UnreadableVectorsError, match="IndexIDMap does not give back"):
        list(retriever._sources["text"].scan())


def test_a_compressed_index_gives_decoded_vectors_and_says_so() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    nodes = [TextNode(id_=str(number), text="a") for number in range(300)]
    for factory, lossy in (("SQ8", True), ("IVF4,Flat", False), ("IVF4,SQ8", True), ("HNSW8,Flat", False)):
        index = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(rows)
        index.add(rows)
        store = FaissVectorStore(index)
        source = ForLlamaIndex(text_store=store, text_nodes=nodes, embed_model=FixedEmbedding())._sources["text"]
        found = np.concatenate([vectors for _, vectors in source.scan(64)])
        assert source.lossy_vectors is lossy, factory
        assert (np.abs(found - rows).max() < 1e-6) is not lossy, factory
        np.testing.assert_allclose(found, rows, atol=0.02)


def test_few_rows_among_many_are_read_by_themselves() -> None:
    corpus = Corpus(texts=500, images=3)
    embeddings = forms.lc_embeddings(corpus.items, corpus.vectors)
    store = FAISS(embeddings, faiss.IndexFlatIP(corpus.dimension), InMemoryDocstore(), {})
    forms.add_documents(store, corpus.items)
    source = ForLangChain(store=store)._wired().sources["image"]
    ((ids, vectors),) = list(source.scan())
    assert sorted(ids) == sorted(item.id for item in corpus.of("image"))
    expected = np.array([corpus[one].vector for one in ids])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def named(corpus: Corpus, key: str) -> Any:
    store = InMemoryVectorStore(forms.lc_embeddings(corpus.items, corpus.vectors))
    items = corpus.of("text")
    store.add_documents(
        [Document(i.text, id=i.id, metadata={**i.metadata, "page": i.metadata["place"] // 2}) for i in items],
        ids=[item.id for item in items],
    )
    return ForLangChain(text_store=store, id_key=key)._wired().sources["text"]


def test_ids_of_the_users_own_are_given_if_each_is_one_document(corpus: Corpus) -> None:
    source = named(corpus, "place")
    ids = [one for page, _ in source.scan(7) for one in page]
    assert sorted(map(int, ids)) == list(range(60))
    item = next(item for item in corpus.of("text") if item.metadata["place"] == 5)
    np.testing.assert_allclose(source.vectors_of(["5"])[0], item.vector, atol=1e-6)
    with pytest.raises(UnreadableVectorsError, match="stands for several documents"):
        list(named(corpus, "page").scan(7))


class OwnSource:
    """A source of a user's own."""

    def __init__(self, index: MemoryIndex) -> None:
        self.index = index

    def search(self, questions: list[Question], k: int) -> list[Candidates]:
        return self.index.search(questions, "text", k)


class ReadableSource(OwnSource):
    def scan(self, size: int = 10) -> Any:
        return self.index.scan("text", size)

    def vectors_of(self, ids: Any) -> Any:
        return self.index.vectors(ids)


@pytest.mark.parametrize("readable", [True, False])
def test_sources_of_the_users_own(corpus: Corpus, readable: bool) -> None:
    index = MemoryIndex(corpus.dimension)
    texts = corpus.of("text")
    index.add([Stored(item.id, "text", item.text) for item in texts], [item.vector for item in texts])
    own = ReadableSource(index) if readable else OwnSource(index)
    sources = [
        ForLangChain(text_store=own, embeddings=forms.lc_embeddings())._wired().sources["text"],
        ForLlamaIndex(text_store=own, embed_model=FixedEmbedding())._sources["text"],
    ]
    for source in sources:
        if readable:
            assert sum(len(ids) for ids, _ in scan(source, "text")) == len(texts)
            assert source.vectors_of([texts[0].id]).shape == (1, corpus.dimension)
        else:
            with pytest.raises(UnreadableVectorsError, match="does not give back"):
                list(scan(source, "text"))


def test_words_have_no_vectors() -> None:
    pytest.importorskip("llama_index.retrievers.bm25")
    from llama_index.retrievers.bm25 import BM25Retriever

    bm25 = BM25Retriever.from_defaults(nodes=[TextNode(text="a cat"), TextNode(text="a dog")], similarity_top_k=1)
    source = ForLlamaIndex(text_store=bm25)._sources["text"]
    with pytest.raises(UnreadableVectorsError, match="does not give back"):
        list(scan(source, "text"))


def test_an_index_is_read_while_it_changes_and_when_it_is_mapped(corpus: Corpus, tmp_path: Path) -> None:
    index = FaissIndex.create(tmp_path / "index", corpus.dimension)
    index.add([Stored(i.id, i.modality, i.text) for i in corpus.items], [i.vector for i in corpus.items])
    index.save()
    texts = [item.id for item in corpus.of("text")]
    for opened in (index, FaissIndex.open(tmp_path / "index", mmap=True)):
        assert [one for ids, _ in opened.source("text").scan(9) for one in ids] == texts
    pages = index.source("text").scan(9)
    found = [*next(pages)[0]]
    index.delete(texts[-20:])
    index.add([Stored("late", "text", "")], [corpus.items[0].vector])
    found += [one for ids, _ in pages for one in ids]
    assert found == texts[:-20]


def test_shards_are_read(corpus: Corpus, tmp_path: Path) -> None:
    items = corpus.items
    vectors = np.array([item.vector for item in items], dtype=np.float32)
    empty: list[dict[str, Any]] = [{}] * len(items)
    batch = ShardBatch(
        [i.id for i in items], [i.modality for i in items], vectors, [i.text for i in items], [None] * len(items), empty
    )
    write_shards(tmp_path / "shards", [batch], encoder_fingerprint="drawn-1")
    source = ShardSource(open_shards(tmp_path / "shards"), "image")
    found = {one: row for ids, rows in source.scan(6) for one, row in zip(ids, rows, strict=True)}
    assert sorted(found) == sorted(item.id for item in corpus.of("image"))
    some = list(found)[4:7]
    np.testing.assert_array_equal(source.vectors_of(some), np.stack([found[one] for one in some]))
    with pytest.raises(SourceError, match="holds no vector of the document 'nobody'"):
        source.vectors_of(["nobody"])
