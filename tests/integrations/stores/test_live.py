"""A retriever that is kept calibrated follows what comes into any store and what goes, in both frameworks."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from commonscale import Calibration
from store_suite import forms
from store_suite.corpus import QUESTIONS, Corpus
from store_suite.kind import Kind
from store_suite.ours import Ours
from store_suite.registry import KINDS

PAST = ("llama_index-fake-elasticsearch", "langchain-fake-elasticsearch-9-cosine-async")
"""Kinds that the suite adds to past the store that is wrapped, since their client belongs to one event loop; they have
tests of their own."""

EXACT = [kind for kind in KINDS if kind.recall == 1.0 and not kind.id.startswith(PAST)]
"""Approximate ones find other best hits from one day to the next."""

over_kinds = pytest.mark.parametrize("kind", EXACT, ids=lambda kind: kind.id)


def live(ours: Ours) -> None:
    """Wrap the stores of a kind, but not our own index, which tells of its changes itself."""
    if ours.kind.framework == "langchain":
        from commonscale.langchain import LiveVectorStore
    else:
        from commonscale.llama_index import LiveVectorStore  # type: ignore[assignment]
    if ours.kind.name != "index":
        ours.stores = {name: LiveVectorStore(store) for name, store in ours.stores.items()}


def scale(calibration: Calibration) -> dict[str, tuple[float, ...]]:
    return {
        modality: (entry.statistics.mean, entry.statistics.std, entry.location, entry.scale, entry.statistics.count)
        for modality, entry in calibration.modalities.items()
    }


def delete(ours: Ours, corpus: Corpus) -> list[str]:
    """Delete some items through the store, if it can; give their ids."""
    kind = ours.kind
    past = kind.framework == "llama_index" and kind.name == "lancedb"  # its own delete_nodes() does not work
    if kind.delete is None or "delete" in kind.skips or past:
        return []
    gone = [one for modality in ("text", "image") for one in corpus.nearest(1, 2, modality)]
    kind.delete(ours.stores["store"], gone)
    return gone


def opened(kind: Kind, open_kind: Any) -> tuple[Ours, list[Any], Corpus]:
    """A wrapped mixed store, what is to come, and what it holds in the end."""
    corpus = Corpus(norm=kind.norm)
    late = [one for modality in ("text", "image") for one in corpus.nearest(0, 2, modality)]
    ours: Ours = open_kind(kind, "mixed", corpus.without(late), behaviour="scan")
    live(ours)
    if kind.nodes is not None:
        ours.corpus.items = [*ours.corpus.items, *(corpus[one] for one in late)]
    return ours, [corpus[one] for one in late], corpus


@over_kinds
def test_statistics_are_those_of_a_fresh_calibration(kind: Kind, open_kind: Any) -> None:
    ours, late, corpus = opened(kind, open_kind)
    retriever = ours.retriever()
    living = retriever.keep_calibrated(list(QUESTIONS), method="standardized")
    before = scale(retriever.calibration)
    assert retriever.calibration is living.calibration
    kind.add(ours.stores["store"], late)
    assert scale(retriever.calibration) != before
    gone = delete(ours, corpus)
    assert retriever.calibration is living.calibration
    fresh = scale(ours.retriever().calibrate(list(QUESTIONS), method="standardized"))
    for modality, numbers in scale(retriever.calibration).items():
        assert numbers == pytest.approx(fresh[modality], abs=1e-6)
    expected = corpus.without(gone).statistics()
    assert {m: numbers[:2] for m, numbers in fresh.items()} == {
        m: pytest.approx(numbers, abs=1e-3 if "half" in kind.name else 1e-5) for m, numbers in expected.items()
    }
    assert living.scans <= 2


@over_kinds
def test_the_chance_level_knows_the_documents_that_are_there(kind: Kind, open_kind: Any) -> None:
    ours, late, corpus = opened(kind, open_kind)
    retriever = ours.retriever()
    living = retriever.keep_calibrated(list(QUESTIONS), method="chance")
    scans = living.scans
    kind.add(ours.stores["store"], late)
    gone = delete(ours, corpus)
    left = corpus.without(gone)
    for modality, entry in retriever.calibration.modalities.items():
        assert entry.background.documents == len(left.of(modality))
        assert sorted(entry.correction.documents.ids) == sorted(item.id for item in left.of(modality))
    # Nothing was read anew: vectors came with the documents, or were read before they went.
    assert living.scans == scans
    kept = scale(living.refit())
    fresh = scale(ours.retriever().calibrate(list(QUESTIONS), method="chance"))
    assert kept == {modality: pytest.approx(numbers, abs=1e-6) for modality, numbers in fresh.items()}


async def test_elasticsearch_of_llama_index_is_followed_in_its_event_loop(fake_elasticsearch_9: str) -> None:
    from elasticsearch import AsyncElasticsearch

    from commonscale.llama_index import LiveVectorStore, StandardizedMultiModalRetriever
    from llama_world import FixedEmbedding
    from store_suite.elasticsearch import llama_store

    corpus = Corpus()
    late = [one for modality in ("text", "image") for one in corpus.nearest(0, 2, modality)]
    model = FixedEmbedding(vectors=corpus.vectors)
    async with AsyncElasticsearch(fake_elasticsearch_9) as client:
        store = LiveVectorStore(llama_store(fake_elasticsearch_9, f"c{uuid.uuid4().hex}", client))
        await store.async_add(forms.nodes(corpus.without(late).items))
        retriever = StandardizedMultiModalRetriever(store=store, embed_model=model)
        living = await retriever.akeep_calibrated(list(QUESTIONS), method="chance")
        await store.async_add(forms.nodes([corpus[one] for one in late]))
        gone = [one for modality in ("text", "image") for one in corpus.nearest(1, 2, modality)]
        await store.adelete_nodes(gone)
    left = corpus.without(gone)
    for modality, entry in living.calibration.modalities.items():
        assert sorted(entry.correction.documents.ids) == sorted(item.id for item in left.of(modality))
        assert entry.background.documents == len(left.of(modality))
    assert retriever.calibration is living.calibration


async def test_the_asynchronous_elasticsearch_of_langchain_is_followed(fake_elasticsearch_9: str) -> None:
    from elasticsearch import AsyncElasticsearch
    from langchain_elasticsearch import AsyncDenseVectorStrategy, AsyncElasticsearchStore

    from commonscale.langchain import LiveVectorStore, StandardizedMultiModalRetriever

    corpus = Corpus()
    late = [one for modality in ("text", "image") for one in corpus.nearest(0, 2, modality)]
    embeddings = forms.lc_embeddings(corpus.items, corpus.vectors)
    async with AsyncElasticsearch(fake_elasticsearch_9) as client:
        index = f"c{uuid.uuid4().hex}"
        strategy = AsyncDenseVectorStrategy()
        inner = AsyncElasticsearchStore(
            index, embedding=embeddings, client=client, strategy=strategy, num_dimensions=corpus.dimension
        )
        store = LiveVectorStore(inner)
        first = corpus.without(late).items
        await store.aadd_documents(forms.documents(first), ids=[item.id for item in first])
        retriever = StandardizedMultiModalRetriever(store=store)
        living = await retriever.akeep_calibrated(list(QUESTIONS), method="chance")
        await store.aadd_documents(forms.documents([corpus[one] for one in late]), ids=late)
        gone = [one for modality in ("text", "image") for one in corpus.nearest(1, 2, modality)]
        await store.adelete(gone)
    left = corpus.without(gone)
    for modality, entry in living.calibration.modalities.items():
        assert sorted(entry.correction.documents.ids) == sorted(item.id for item in left.of(modality))


def test_all_exact_kinds_are_followed() -> None:
    assert len(EXACT) > 30
