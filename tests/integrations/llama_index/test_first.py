from __future__ import annotations

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.vector_stores import SimpleVectorStore

from commonscale.llama_index import StandardizedMultiModalRetriever
from llama_world import QUESTIONS, World, pairs


def test_two_stores() -> None:
    world = World()
    stores = SimpleVectorStore(), SimpleVectorStore()
    stores[0].add(world.text_nodes)
    stores[1].add(world.image_nodes)
    retriever = StandardizedMultiModalRetriever(
        text_store=stores[0],
        image_store=stores[1],
        text_nodes={n.node_id: n for n in world.text_nodes},
        image_nodes={n.node_id: n for n in world.image_nodes},
        embed_model=world.model,
    )
    retriever.calibrate(QUESTIONS)
    got = pairs(retriever.retrieve(QUESTIONS[3]))
    want = world.ranking(3, 10)
    assert [i for i, _ in got] == [i for i, _ in want]
    assert [s for _, s in got] == pytest.approx([s for _, s in want], abs=1e-5)
