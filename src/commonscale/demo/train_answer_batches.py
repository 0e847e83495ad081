"""How the answerer is trained on several questions about one item at once.

All questions about an item share its tokens: each sees the item and itself and none of the others (a block mask), at
the positions that it would have alone. The gradient is that of as many separate prompts, for a third of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

IGNORED = -100
"""The label of a token after which no answer is to be learned, as transformers and torch have it."""


@dataclass(frozen=True)
class Asked:
    """One question in tokens.

    Attributes:
        question: from ``<question>`` to ``<answer>``.
        answer: with the end of the text.
        known: whether the item answers the question.
    """

    question: list[int]
    answer: list[int]
    known: bool


@dataclass(frozen=True, eq=False)
class Packed:
    """Items with their questions, as tensors; I items, T tokens.

    Attributes:
        ids: tokens, shape (I, T).
        positions: as if each question stood alone behind its item, shape (I, T).
        seen: which token sees which, shape (I, 1, T, T).
        answers: the next token where it belongs to an answer, `IGNORED` elsewhere, shape (I, T).
        questions: the same for the questions that their item answers: they tell what it shows.
    """

    ids: Any
    positions: Any
    seen: Any
    answers: Any
    questions: Any


def pack(items: Sequence[list[int]], asked: Sequence[Sequence[Asked]], padding: int) -> Packed:
    """Put each item before its questions.

    Args:
        items: tokens of each item.
        asked: the questions of each item.
        padding: the token that fills up what is shorter.

    Returns:
        The batch.
    """
    import torch

    width = max(
        len(item) + sum(len(each.question) + len(each.answer) for each in own)
        for item, own in zip(items, asked, strict=True)
    )
    ids = np.full((len(items), width), padding, dtype=np.int64)
    positions, answers = np.zeros_like(ids), np.full_like(ids, IGNORED)
    questions = answers.copy()
    # 0 is padding, 1 the item, 2 and more its questions.
    block = np.zeros_like(ids)
    for row, (item, own) in enumerate(zip(items, asked, strict=True)):
        start = len(item)
        ids[row, :start], block[row, :start], positions[row, :start] = item, 1, np.arange(start)
        for number, each in enumerate(own, start=2):
            turn = start + len(each.question)
            stop = turn + len(each.answer)
            ids[row, start:stop], block[row, start:stop] = [*each.question, *each.answer], number
            positions[row, start:stop] = np.arange(len(item), len(item) + stop - start)
            answers[row, turn - 1 : stop - 1] = each.answer
            if each.known:
                questions[row, start : turn - 1] = each.question[1:]
            start = stop
    same = block[:, :, None] == block[:, None, :]
    earlier = np.tril(np.ones((width, width), dtype=bool))
    # Padding sees itself: a row of a softmax must not be empty.
    seen = earlier & (same | (block[:, None, :] == 1))
    return Packed(*map(torch.from_numpy, (ids, positions, seen[:, None], answers, questions)))
