"""A few passages in numpy arrays, and an answerer that says what it is told to (a fake: it has no model)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from commonscale import JointSearch, Question
from commonscale.answering import QuestionAnswering, Request, Turn
from commonscale.core.types import Candidates
from commonscale.index import Document
from sources import ArraySource, unit_rows

VECTORS = {"red": [1.0, 0.0, 0.0], "blue": [0.0, 1.0, 0.0], "green": [0.0, 0.0, 1.0]}
"""What the fake encoder knows: a question has the direction of the last of these words in it."""

PASSAGES = {
    "bus": ("a red bus", [0.9, 0.1, 0.1]),
    "sea": ("the blue sea", [0.1, 0.9, 0.1]),
    "tree": ("a green tree", [0.1, 0.1, 0.9]),
}
TABLES = {"prices": ("red paint: 3", [0.4, 0.6, 0.6])}


class DocumentSource(ArraySource):
    """Gives documents of an index as payloads."""

    def __init__(self, modality: str, documents: dict[str, tuple[str, list[float]]]) -> None:
        vectors = np.array([vector for _, vector in documents.values()])
        super().__init__(list(documents), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), modality)
        self._documents = {key: Document(key, modality, text=text) for key, (text, _) in documents.items()}

    def _one(self, question: Question, k: int) -> Candidates:
        found = super()._one(question, k)
        return Candidates(found.ids, found.cosines, [self._documents[key] for key in found.ids])


class FakeEncoder:
    """Embeds by color, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, questions: Sequence[str]) -> np.ndarray:
        self.asked += questions
        return np.array([_vector(question) for question in questions], dtype=np.float32)


def _vector(question: str) -> list[float]:
    known = [word for word in question.split() if word in VECTORS]
    return VECTORS[known[-1]] if known else [0.6, 0.8, 0.0]


class FakeAnswerer:
    """Says the given pieces, after calling ``before`` if given, and remembers what it was asked."""

    name = "fake"

    def __init__(self, *pieces: str, before: Callable[[], object] = bool) -> None:
        self.pieces = pieces or ("a red", " bus [1]")
        self.requests: list[Request] = []
        self.closed = 0
        self._before = before

    def stream(self, request: Request) -> Iterator[str]:
        self.requests.append(request)
        try:
            for piece in self.pieces:
                self._before()
                yield piece
        finally:
            self.closed += 1


class FakeCondenser(FakeAnswerer):
    """Also words follow-up questions: it repeats the first question of the conversation."""

    def condense(self, question: str, history: Sequence[Turn]) -> str:
        return f"{question} {history[0].question} "


def search(*, calibrated: bool = True) -> JointSearch:
    joint = JointSearch({"text": DocumentSource("text", PASSAGES), "table": DocumentSource("table", TABLES)})
    if calibrated:
        bank = unit_rows(np.random.default_rng(0), 120, 3)
        joint.calibrate([Question(vector=row) for row in bank], method="standardized")
    return joint


def answering(answerer: FakeAnswerer | None = None, *, calibrated: bool = True, k: int = 3) -> QuestionAnswering:
    return QuestionAnswering(search(calibrated=calibrated), FakeEncoder(), answerer or FakeAnswerer(), k=k)
