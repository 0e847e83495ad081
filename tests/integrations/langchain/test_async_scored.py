"""Stores that are not known, searched by their own asynchronous method; the store here is a fake, to see how."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
from langchain_core.documents import Document

from commonscale.core.concurrency import ASKED_AT_ONCE
from commonscale.core.types import Question
from commonscale.langchain.scored_store import ScoredSource
from commonscale.langchain.view import View
from sources import unit_rows

ROWS = unit_rows(np.random.default_rng(5), 3 * ASKED_AT_ONCE, 8)


class FakeStore:
    """Answers every vector with the rows closest to it; counts how many questions are under way at once."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.threads: list[threading.Thread] = []

    def similarity_search_with_score_by_vector(self, vector: list[float], k: int) -> list[tuple[Document, float]]:
        self.threads.append(threading.current_thread())
        cosines = ROWS @ np.array(vector, dtype=np.float32)
        best = np.argsort(-cosines, kind="stable")[:k]
        return [(Document(id=str(i), page_content=f"row {i}"), float(cosines[i])) for i in best]

    async def asimilarity_search_with_score_by_vector(self, vector: list[float], k: int) -> Any:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return self.similarity_search_with_score_by_vector(vector, k)


async def test_questions_are_put_a_few_at_once() -> None:
    store = FakeStore()
    source = ScoredSource(store, View("text", score_kind="cosine"))
    questions = [Question(str(i), row) for i, row in enumerate(ROWS)]
    found = await source.asearch(questions, 3)
    assert [list(c.ids) for c in found] == [list(c.ids) for c in source.search(questions, 3)]
    assert [c.ids[0] for c in found] == [str(i) for i in range(len(ROWS))]
    assert 1 < store.most <= ASKED_AT_ONCE
