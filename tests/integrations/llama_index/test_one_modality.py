"""Retrieving texts or images alone, beside the joint ranking: the same checks, policy and calibration hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_index.core")

from commonscale import Calibration
from commonscale.core.calibration import Provenance
from commonscale.core.errors import CalibrationMismatchError, StoreCheckError
from commonscale.core.failures import FailurePolicy
from commonscale.core.types import Probe
from commonscale.llama_index import StandardizedMultiModalRetriever
from llama_world import QUESTIONS, World, pairs, simple_store
from sources import ArraySource


class Probed(ArraySource):
    """A fake store that can be verified; ``number`` makes its numbers of cosines, which it says they are."""

    def __init__(self, world: World, number: Any = lambda c: c) -> None:
        super().__init__([n.node_id for n in world.text_nodes], world.text_vectors)
        self.number = number
        self.probes = 0

    def probe(self, questions: Any, k: int) -> list[Probe]:
        self.probes += 1
        found = ArraySource(self.ids, self.vectors).search(questions, k)
        return [
            Probe(c.ids, self.number(c.cosines), self.vectors[[self.ids.index(i) for i in c.ids]], "cosine")
            for c in found
        ]


@pytest.fixture
def world() -> World:
    return World()


def over(world: World, store: Any, **settings: Any) -> StandardizedMultiModalRetriever:
    return StandardizedMultiModalRetriever(
        text_store=store,
        image_store=simple_store(world.image_nodes),
        image_nodes={n.node_id: n for n in world.image_nodes},
        text_nodes={n.node_id: n for n in world.text_nodes},
        embed_model=world.model,
        **settings,
    )


async def test_a_store_is_checked_once_for_all_ways_to_retrieve(world: World) -> None:
    store = Probed(world)
    retriever = over(world, store, raw=True)
    retriever.text_retrieve(QUESTIONS[0])
    first = store.probes
    assert first > 0
    for question in QUESTIONS[:3]:
        retriever.text_retrieve(question)
        await retriever.atext_retrieve(question)
        retriever.retrieve(question)
    assert (store.probes, len(store.calls)) == (first, 10)


async def test_without_checks_nothing_is_verified(world: World) -> None:
    store = Probed(world, lambda c: 1 - c)
    retriever = over(world, store, raw=True, check=False)
    assert len(retriever.text_retrieve(QUESTIONS[0])) == 10
    assert len(await retriever.atext_retrieve(QUESTIONS[0])) == 10
    assert (store.probes, len(store.calls)) == (0, 2)
    with pytest.raises(StoreCheckError):
        over(world, Probed(world, lambda c: 1 - c), raw=True).text_retrieve(QUESTIONS[0])


def test_a_calibration_and_a_policy_assigned_later_hold(world: World) -> None:
    retriever = over(world, Probed(world))
    retriever.calibrate(QUESTIONS, method="standardized")
    before = pairs(retriever.text_retrieve(QUESTIONS[0]))
    tops = {"text": [0.9, 1.0, 0.8] * 20, "image": [0.1, 0.2, 0.3] * 20}
    other = Calibration.from_labeled_pairs(
        [*tops["text"], *tops["image"]], ["text"] * 60 + ["image"] * 60, retriever._search.provenance
    )
    retriever.calibration = other
    scored = retriever.text_retrieve(QUESTIONS[0])
    assert pairs(scored) != before
    cosines = np.array([n.node.metadata["commonscale_cosine"] for n in scored])
    mean, spread = np.mean(tops["text"]), np.std(tops["text"])
    np.testing.assert_allclose([n.score for n in scored], (cosines - mean) / spread, rtol=1e-6)
    policy = FailurePolicy(timeout=7)
    retriever.failures = policy
    assert retriever._single("text").failures is policy


def test_a_calibration_of_another_encoder_is_refused_for_one_modality_too(world: World) -> None:
    retriever = over(world, Probed(world))
    retriever.calibrate(QUESTIONS, method="standardized")
    # What is known of a store may be learned after the calibration was given.
    retriever._search.provenance["image"] = Provenance(score_kind="BM25Okapi:raw")
    with pytest.raises(CalibrationMismatchError, match="'cosine', not 'BM25Okapi:raw'"):
        retriever.text_to_image_retrieve(QUESTIONS[0])
    assert len(retriever.text_retrieve(QUESTIONS[0])) == 10
