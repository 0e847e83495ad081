from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale import Candidates, JointSearch, Question
from commonscale.core.errors import InvalidInputError, UnreadableVectorsError
from commonscale.core.padding import padded

RNG = np.random.default_rng(11)
PASSAGES = RNG.standard_normal((300, 16)) + 2.0 * np.eye(16)[0]
PASSAGES = (PASSAGES / np.linalg.norm(PASSAGES, axis=1, keepdims=True)).astype(np.float32)


class Passages:
    """A source that reads out, in batches of some size."""

    def __init__(self, vectors: np.ndarray = PASSAGES, batch: int = 64) -> None:
        self.vectors = vectors
        self.batch = batch

    def search(self, questions: list[Question], k: int) -> list[Candidates]:
        found = np.stack([q.vector for q in questions]) @ self.vectors.T
        best = np.argsort(-found, axis=1)[:, :k]
        return [Candidates([str(i) for i in rows], found[q, rows]) for q, rows in enumerate(best)]

    def scan(self, size: int = 2048) -> Iterator[tuple[list[str], np.ndarray]]:
        for start in range(0, len(self.vectors), self.batch):
            rows = self.vectors[start : start + self.batch]
            yield [str(start + i) for i in range(len(rows))], rows


def asked(count: int, seed: int = 0) -> list[Question]:
    rows = np.random.default_rng(seed).standard_normal((count, 16)) * 0.4 + 2.0 * np.eye(16)[1]
    return [Question(f"q{i}", row.astype(np.float32) / np.float32(np.linalg.norm(row))) for i, row in enumerate(rows)]


def moved_by_hand(questions: list[Question], passages: np.ndarray) -> np.ndarray:
    rows = np.stack([q.vector for q in questions]).astype(np.float64)
    mean = rows.mean(axis=0)
    radius = np.sqrt(((rows - mean) ** 2).sum() / (len(rows) - 1))
    away = passages.astype(np.float64) - passages.mean(axis=0, dtype=np.float64)
    made = mean + radius * away / np.linalg.norm(away, axis=1, keepdims=True)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@given(st.integers(2, 60), st.integers(1, 120), st.integers(1, 400))
def test_fills_up_with_different_moved_passages(count: int, at_least: int, batch: int) -> None:
    questions = asked(count)
    bank = padded(questions, Passages(batch=batch), at_least=at_least)
    assert len(bank) == max(count, at_least)
    assert bank[:count] == questions
    possible = moved_by_hand(questions, PASSAGES)
    nearest = [int(np.argmin(np.linalg.norm(possible - q.vector, axis=1))) for q in bank[count:]]
    assert len(set(nearest)) == len(nearest)
    for question, row in zip(bank[count:], nearest, strict=True):
        np.testing.assert_allclose(question.vector, possible[row], atol=1e-6)
        assert (question.text, question.kind, question.stratum) == ("", "text", None)


def test_what_is_chosen_depends_on_the_seed_and_not_on_batches() -> None:
    def chosen(batch: int, seed: int) -> np.ndarray:
        return np.stack([q.vector for q in padded(asked(10), Passages(batch=batch), at_least=50, seed=seed)[10:]])

    np.testing.assert_allclose(chosen(7, 0), chosen(300, 0), atol=1e-6)
    assert not np.allclose(chosen(7, 0), chosen(7, 1), atol=1e-3)


def test_enough_questions_stay_as_they_are_and_nothing_is_read() -> None:
    questions = asked(30)
    assert padded(questions, object(), at_least=30) == questions  # type: ignore[arg-type]


def test_takes_what_there_is() -> None:
    questions = asked(10)
    assert len(padded(questions, Passages(PASSAGES[:25]))) == 35
    assert padded(questions, Passages(PASSAGES[:0])) == questions
    assert padded(questions, Passages(PASSAGES[:1])) == questions  # it is the mean, and so has no direction from it


@pytest.mark.parametrize("questions", [asked(1), asked(1) * 3])
def test_questions_without_a_spread_borrow_that_of_the_passages(questions: list[Question]) -> None:
    made = np.stack([q.vector for q in padded(questions, Passages())[len(questions) :]])
    mean = PASSAGES.mean(axis=0, dtype=np.float64)
    radius = np.sqrt(((PASSAGES - mean) ** 2).sum(axis=1).mean())
    # The cosine of unit(m + r g) and m is (1 + r m.g) / |m + r g|: so r can be told from the angles.
    away = (PASSAGES - mean) / np.linalg.norm(PASSAGES - mean, axis=1, keepdims=True)
    possible = questions[0].vector + radius * away
    possible /= np.linalg.norm(possible, axis=1, keepdims=True)
    assert np.linalg.norm(made[:, None] - possible, axis=2).min(axis=1).max() < 1e-5


def test_pictures_that_ask_are_joined_by_pictures() -> None:
    questions = [Question(vector=q.vector, kind="image") for q in asked(5)]
    bank = padded(questions, Passages(), "image", at_least=9)
    assert [q.kind for q in bank] == ["image"] * 9


def test_what_cannot_be_filled_up_is_refused() -> None:
    words, picture = asked(2), Question(vector=PASSAGES[0], kind="image")
    with pytest.raises(InvalidInputError, match="without questions"):
        padded([], Passages())
    with pytest.raises(InvalidInputError, match="kinds"):
        padded([*words, picture], Passages())
    with pytest.raises(InvalidInputError, match="vectors of their own"):
        padded([Question(vectors={"text": PASSAGES[0], "image": PASSAGES[1]})], Passages())
    with pytest.raises(InvalidInputError, match="same encoder"):
        padded([Question("q", np.ones(3, dtype=np.float32))], Passages())
    with pytest.raises(UnreadableVectorsError):
        padded(words, object())  # type: ignore[arg-type]


def test_calibrates() -> None:
    search = JointSearch({"text": Passages(), "image": Passages(PASSAGES[::-1] * np.float32(-1.0))})
    calibration = search.calibrate(padded(asked(20), search.sources["text"]), method="chance")
    assert calibration.questions == 100
