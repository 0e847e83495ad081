"""What ranking is worth to an answerer: questions about facts, answered from what was retrieved."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commonscale.core.types import IMAGE, TEXT, Modality, Ranking
from commonscale.demo.answering import READ, best
from commonscale.demo.facts import KINDS, Fact, facts_about
from commonscale.demo.world import Entry, World

if TYPE_CHECKING:
    from PIL import Image

    from commonscale.demo.reading import Reader, Reading

CLOSED, RAW, STANDARDIZED = "right item given", "raw cosine", "standardized"
WAYS = (CLOSED, RAW, STANDARDIZED)
"""What the answerer is given to read: one item that shows the scene asked about, or the first hits of a ranking."""

ALL = "all"
FACTS_SEED = 20261

Item = Callable[[str], "str | Image.Image"]
"""From a document's id to its passage or picture."""


@dataclass(frozen=True)
class FactQuestion:
    """One question with the only scene of the corpus that answers it.

    Attributes:
        entry: the scene.
        fact: what is asked about it.
        question: the same in words.
    """

    entry: Entry
    fact: Fact
    question: str


@dataclass(frozen=True)
class FactAnswer:
    """What the answerer made of a question.

    Attributes:
        answer: its word; None if nothing that it read answers the question.
        document: the document that it took the answer from.
    """

    answer: str | None
    document: str | None


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """How often answers were right.

    Attributes:
        questions: what was asked.
        answers: by way of `WAYS`, one answer per question.
    """

    questions: tuple[FactQuestion, ...]
    answers: Mapping[str, tuple[FactAnswer, ...]]

    def chosen(self, modality: Modality = ALL, kind: str = ALL) -> list[int]:
        """List the questions whose answer is known in one modality and that ask for one kind of fact."""
        return [
            place
            for place, asked in enumerate(self.questions)
            if modality in (ALL, asked.entry.modality) and kind in (ALL, asked.fact.kind)
        ]

    def accuracy(self, way: str, modality: Modality = ALL, kind: str = ALL) -> float:
        """Give the share of right answers, from 0 to 1; one that was not given is not right."""
        chosen = self.chosen(modality, kind)
        return sum(self.right(way, place) for place in chosen) / len(chosen)

    def right(self, way: str, place: int) -> bool:
        """Say whether one answer was right."""
        return self.answers[way][place].answer == self.questions[place].fact.answer


ROWS = (*((modality, kind) for modality in (IMAGE, TEXT) for kind in (*KINDS, ALL)), (ALL, ALL))
"""Rows of the table: the modality that holds the answer, and what is asked for."""


def fact_questions(world: World) -> tuple[FactQuestion, ...]:
    """Ask for one fact of each kind about every scene of the corpus; the same questions every time."""
    rng = random.Random(FACTS_SEED)
    scenes = [entry.scene for entry in world.entries]
    return tuple(
        FactQuestion(entry, fact, fact.question())
        for entry in world.entries
        for fact in facts_about(entry.scene, scenes, rng)
    )


def answer_all(
    reader: Reader, questions: Sequence[FactQuestion], rankings: Mapping[str, Sequence[Ranking]], item: Item
) -> AnswerTable:
    """Answer every question from the right item, and from the first hits of each ranking.

    Args:
        reader: the model.
        questions: what is asked.
        rankings: by way, one ranking per question; only the first `READ` hits are read.
        item: gives what a document holds.

    Returns:
        All answers.
    """
    given = {CLOSED: [[asked.entry.documents[0]] for asked in questions]}
    given |= {way: [[hit.id for hit in ranking[:READ]] for ranking in ranked] for way, ranked in rankings.items()}
    readings = _read_all(reader, questions, given, item)
    answers = {
        way: tuple(_answer([(key, readings[place, key]) for key in read]) for place, read in enumerate(documents))
        for way, documents in given.items()
    }
    return AnswerTable(tuple(questions), answers)


def _read_all(
    reader: Reader, questions: Sequence[FactQuestion], given: Mapping[str, Sequence[Sequence[str]]], item: Item
) -> dict[tuple[int, str], Reading]:
    """Read every document once, for all questions that it is given for."""
    wanted: dict[str, list[int]] = defaultdict(list)
    for place in range(len(questions)):
        for key in dict.fromkeys(key for documents in given.values() for key in documents[place]):
            wanted[key].append(place)
    readings: dict[tuple[int, str], Reading] = {}
    for key, places in wanted.items():
        found = reader.read(item(key), [questions[place].question for place in places])
        readings |= {(place, key): reading for place, reading in zip(places, found, strict=True)}
    return readings


def _answer(readings: Sequence[tuple[str, Reading]]) -> FactAnswer:
    found = best([reading for _, reading in readings])
    return FactAnswer(None, None) if found is None else FactAnswer(found[1].answer, readings[found[0]][0])


def answer_verdict(table: AnswerTable) -> str:
    """Say in a sentence or two what standardizing does to the answers, and which kinds stay weak."""
    shares = {
        where: tuple(f"{table.accuracy(way, where):.0%}" for way in (RAW, STANDARDIZED)) for where in (IMAGE, TEXT, ALL)
    }
    return (
        f"With standardized retrieval the answerer is right on {shares[IMAGE][1]} of the questions about pictured "
        f"scenes instead of {shares[IMAGE][0]}, on {shares[TEXT][1]} instead of {shares[TEXT][0]} of those about "
        f"scenes in passages, and on {shares[ALL][1]} instead of {shares[ALL][0]} of all."
    )
