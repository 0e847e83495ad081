"""A LangChain store that tells of its changes works as before, and keeps a retriever's scale right."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_community.docstore import InMemoryDocstore
from langchain_community.vectorstores.faiss import FAISS
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from commonscale import Calibration
from commonscale.core.errors import InvalidInputError, StaleCalibrationWarning
from commonscale.embedding import ShardBatch, write_shards
from commonscale.index import MemoryIndex
from commonscale.langchain import LiveVectorStore, StandardizedMultiModalRetriever, add_embedded, add_texts
from store_suite import forms
from store_suite.corpus import QUESTIONS, Corpus, Item


class TestWrappedInMemory(VectorStoreIntegrationTests):
    """LangChain's own suite over a wrapped store."""

    @pytest.fixture
    def vectorstore(self) -> Any:
        return LiveVectorStore(InMemoryVectorStore(self.get_embeddings()))


class TestWrappedAndFollowed(VectorStoreIntegrationTests):
    """The same while a calibration follows it."""

    @pytest.fixture
    def vectorstore(self) -> Any:
        corpus = Corpus(dimension=6)
        store = LiveVectorStore(InMemoryVectorStore(self.get_embeddings()))
        other = MemoryIndex(6)
        _fill(other, corpus)
        embeddings = forms.lc_embeddings(questions=corpus.vectors)
        retriever = StandardizedMultiModalRetriever(text_store=store, image_store=other, embeddings=embeddings)
        with pytest.warns(UserWarning, match="hold no document|no document|none"):
            retriever.keep_calibrated(list(QUESTIONS), method="standardized")
        return store


_REFUSED = pytest.mark.xfail(
    reason="FAISS itself refuses ids that it has already, and to delete ids that it has not", strict=True
)


class TestWrappedFAISS(VectorStoreIntegrationTests):
    """LangChain's own suite over a wrapped FAISS, as far as FAISS itself passes it."""

    @pytest.fixture
    def vectorstore(self) -> Any:
        import faiss

        return LiveVectorStore(FAISS(self.get_embeddings(), faiss.IndexFlatL2(6), InMemoryDocstore(), {}))

    @_REFUSED
    def test_add_documents_by_id_with_mutation(self, vectorstore: VectorStore) -> None:
        super().test_add_documents_by_id_with_mutation(vectorstore)

    @_REFUSED
    async def test_add_documents_by_id_with_mutation_async(self, vectorstore: VectorStore) -> None:
        await super().test_add_documents_by_id_with_mutation_async(vectorstore)

    @_REFUSED
    def test_add_documents_with_ids_is_idempotent(self, vectorstore: VectorStore) -> None:
        super().test_add_documents_with_ids_is_idempotent(vectorstore)

    @_REFUSED
    async def test_add_documents_with_ids_is_idempotent_async(self, vectorstore: VectorStore) -> None:
        await super().test_add_documents_with_ids_is_idempotent_async(vectorstore)

    @_REFUSED
    def test_delete_missing_content(self, vectorstore: VectorStore) -> None:
        super().test_delete_missing_content(vectorstore)

    @_REFUSED
    async def test_delete_missing_content_async(self, vectorstore: VectorStore) -> None:
        await super().test_delete_missing_content_async(vectorstore)


def _fill(index: MemoryIndex, corpus: Corpus, items: list[Item] | None = None) -> None:
    from commonscale.index import Document as Stored

    chosen = corpus.items if items is None else items
    index.add([Stored(one.id, one.modality, one.text) for one in chosen], [one.vector for one in chosen])


def scale(calibration: Calibration | None) -> dict[str, tuple[float, ...]]:
    assert calibration is not None
    return {m: (e.statistics.mean, e.statistics.std, e.statistics.count) for m, e in calibration.modalities.items()}


def single(corpus: Corpus, inner: Any = None, **settings: Any) -> tuple[LiveVectorStore, Any]:
    store = LiveVectorStore(inner or InMemoryVectorStore(forms.lc_embeddings()))
    forms.add_documents(store, corpus.items)
    return store, retriever_of(corpus, store, **settings)


def retriever_of(corpus: Corpus, store: Any, **settings: Any) -> StandardizedMultiModalRetriever:
    embeddings = forms.lc_embeddings(corpus.items, questions=corpus.vectors)
    return StandardizedMultiModalRetriever(store=store, embeddings=embeddings, **settings)


def known(calibration: Calibration | None) -> dict[str, set[str]]:
    assert calibration is not None
    return {m: set(e.correction.documents.ids) for m, e in calibration.modalities.items() if e.correction is not None}


def held(corpus: Corpus) -> dict[str, set[str]]:
    return {m: {item.id for item in corpus.of(m)} for m in ("text", "image")}


@pytest.mark.parametrize("method", ["standardized", "chance"])
async def test_asynchronous_changes_are_followed(method: str) -> None:
    corpus = Corpus()
    late = [one for m in ("text", "image") for one in corpus.nearest(0, 2, m)]
    gone = [one for m in ("text", "image") for one in corpus.nearest(1, 2, m)]
    store, retriever = single(corpus.without(late))
    living = await retriever.akeep_calibrated(list(QUESTIONS), method=method)
    store.embeddings.learn([corpus[one] for one in late])
    documents = forms.documents([corpus[one] for one in late])
    await asyncio.gather(*(store.aadd_documents([one], ids=[one.id]) for one in documents))
    await asyncio.gather(*(store.adelete([one]) for one in gone))
    if method == "chance":
        assert known(retriever.calibration) == held(corpus.without(gone))
        living.refit()
    fresh = await retriever_of(corpus, store).acalibrate(list(QUESTIONS), method=method)
    expected = scale(fresh)
    assert scale(retriever.calibration) == {m: pytest.approx(numbers, abs=1e-6) for m, numbers in expected.items()}


def test_adding_texts_with_metadata_and_again_under_the_same_ids_is_followed() -> None:
    corpus = Corpus()
    store, retriever = single(corpus)
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    texts, images = corpus.of("text"), corpus.of("image")
    # The same ids with other texts, so with other vectors.
    ids = store.add_texts([t.text for t in texts[5:8]], [t.metadata for t in texts[:3]], ids=[t.id for t in texts[:3]])
    assert ids == [item.id for item in texts[:3]]
    # An image becomes a text.
    store.add_texts([texts[9].text], [{"modality": "text"}], ids=[images[0].id])
    expected = held(corpus)
    expected["text"].add(images[0].id)
    expected["image"].remove(images[0].id)
    assert known(retriever.calibration) == expected
    fresh = retriever_of(corpus, store).calibrate(list(QUESTIONS), method="standardized")
    plain = retriever_of(corpus, store)
    plain.keep_calibrated(list(QUESTIONS), method="standardized")
    assert scale(plain.calibration) == scale(fresh)


def test_our_own_functions_tell_too(tmp_path: Path) -> None:
    corpus = Corpus()
    store, retriever = single(corpus)
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    add_texts(store, ["more"], _Embeds(corpus), ids=["more"])
    vectors = np.array([corpus.items[1].vector, corpus.items[2].vector], dtype=np.float32)
    batch = ShardBatch(["a", "b"], ["text", "image"], vectors, ["a", ""], [None, "b.png"], [{}, {}])
    write_shards(tmp_path / "shards", [batch], encoder_fingerprint="drawn-1")
    add_embedded(store, tmp_path / "shards")
    expected = held(corpus)
    expected["text"] |= {"more", "a"}
    expected["image"] |= {"b"}
    assert known(retriever.calibration) == expected


class _Embeds:
    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.corpus.items[0].vector for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.corpus.vectors[text]


def test_the_index_of_ours_is_followed() -> None:
    corpus = Corpus()
    late = [one for m in ("text", "image") for one in corpus.nearest(0, 2, m)]
    index = MemoryIndex(corpus.dimension)
    _fill(index, corpus.without(late))
    retriever = retriever_of(corpus, index)
    living = retriever.keep_calibrated(list(QUESTIONS), method="chance")
    scans = living.scans
    _fill(index, corpus, [corpus[one] for one in late])
    gone = [item.id for item in corpus.items[::7]]
    index.delete([*gone, "never there"])
    assert known(retriever.calibration) == held(corpus.without(gone))
    assert living.scans == scans
    living.refit()
    fresh = retriever_of(corpus, index).calibrate(list(QUESTIONS), method="chance")
    assert scale(retriever.calibration) == {m: pytest.approx(n, abs=1e-6) for m, n in scale(fresh).items()}


class _Failing(InMemoryVectorStore):
    def add_documents(self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        if any(document.page_content == "fails" for document in documents):
            raise OSError("the disk is full")
        return super().add_documents(documents, ids, **kwargs)

    def delete(self, ids: Any = None, **kwargs: Any) -> None:
        raise OSError("the disk is full")


def test_a_store_that_fails_leaves_the_statistics_as_they_were() -> None:
    corpus = Corpus()
    store, retriever = single(corpus, _Failing(forms.lc_embeddings()))
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    before = retriever.calibration
    with pytest.raises(OSError, match="disk is full"):
        store.add_documents([Document("fails", metadata={"modality": "text"})])
    with pytest.raises(OSError, match="disk is full"):
        store.delete([corpus.items[0].id])
    assert retriever.calibration is before


def test_methods_of_the_stores_own_are_followed_by_fitting_anew() -> None:
    import faiss

    corpus = Corpus()
    more = corpus.of("text")[:5]
    rest = corpus.without([item.id for item in more])
    embeddings = forms.lc_embeddings(corpus.items)
    stores = [FAISS(embeddings, faiss.IndexFlatIP(corpus.dimension), InMemoryDocstore(), {}) for _ in range(2)]
    store, retriever = single(rest, stores[0])
    forms.add_documents(stores[1], more)
    living = retriever.keep_calibrated(list(QUESTIONS), method="chance")
    store.merge_from(stores[1])
    assert known(retriever.calibration) == held(corpus)
    assert living.calibration is retriever.calibration
    store.save_local  # noqa: B018 (what changes nothing is the store's own)


def test_a_wrapped_store_is_made_of_texts() -> None:
    corpus = Corpus()
    items = corpus.of("text")[:4]
    store = LiveVectorStore.from_texts(
        [item.text for item in items],
        forms.lc_embeddings(items),
        [item.metadata for item in items],
        ids=[item.id for item in items],
        store=InMemoryVectorStore,
    )
    assert isinstance(store.store, InMemoryVectorStore)
    assert [document.id for document in store.get_by_ids([items[2].id])] == [items[2].id]
    assert store.similarity_search(items[2].text, k=1)[0].id == items[2].id
    assert store.as_retriever(search_kwargs={"k": 1}).invoke(items[1].text)[0].id == items[1].id
    assert store.embeddings is store.store.embeddings


def test_many_threads_change_a_store() -> None:
    corpus = Corpus()
    store, retriever = single(corpus)
    retriever.keep_calibrated(list(QUESTIONS), method="chance")
    gone = [item.id for item in corpus.items[::3]]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: store.delete([one]), gone))
    assert known(retriever.calibration) == held(corpus.without(gone))


def test_what_cannot_be_followed_is_said() -> None:
    corpus = Corpus()
    store, retriever = single(corpus)
    with pytest.raises(InvalidInputError, match="none of the stores tells"):
        retriever_of(corpus, store.store).keep_calibrated(list(QUESTIONS), method="standardized")
    for settings in ({"filter": {"parity": 0}}, {"id_key": "place"}):
        with pytest.raises(InvalidInputError, match="cannot be followed"):
            retriever_of(corpus, store, **settings).keep_calibrated(list(QUESTIONS), method="standardized")
    with pytest.raises(InvalidInputError, match="got a dict"):
        LiveVectorStore({})  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="already"):
        LiveVectorStore(store)
    retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    store.embeddings.vectors["null"] = [0.0] * corpus.dimension
    with pytest.warns(StaleCalibrationWarning, match="could not be kept up to date"):
        store.add_texts(["null"], [{"modality": "text"}])


async def test_strata_are_kept_too() -> None:
    asked = list(QUESTIONS)
    keys = [*("ab"[place % 2] for place in range(len(asked) - 1)), None]
    _, retriever = single(Corpus(), stratum="other")
    once = retriever.calibrate(asked, method="standardized", strata=keys)
    for living in (
        retriever.keep_calibrated(asked, method="standardized", strata=keys),
        await retriever.akeep_calibrated(asked, method="standardized", strata=keys),
    ):
        assert set(living.calibration.strata) == {"a", "b", "other"}
        mine, theirs = scale(living.calibration.strata["a"]), scale(once.strata["a"])
        assert mine == {modality: pytest.approx(numbers, abs=1e-6) for modality, numbers in theirs.items()}
