"""Asking a store with random and with stored vectors, and laying its numbers beside numpy's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from commonscale.core.cosines import Converter
from commonscale.core.dense import unit_rows
from commonscale.core.errors import SourceError
from commonscale.core.types import Floats, Modality, Probe, Question, Vector


class Effort(NamedTuple):
    """How thoroughly a store is asked: ``random`` and ``stored`` vectors, ``k`` hits for each."""

    random: int
    stored: int
    k: int


QUICK = Effort(random=2, stored=4, k=10)
"""At first use: two batch searches, six questions."""

THOROUGH = Effort(random=8, stored=24, k=20)
"""On demand."""

_SEED = 20261122

WORDING = "a question that checks the store"
"""Wording of the questions, for stores that insist on one."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the store said of one vector.

    Attributes:
        row: the vector asked with (d,), of norm 1.
        stored: whether it is one that the store holds.
        ids: ids (n) in the store's order.
        numbers: the store's numbers (n,).
        vectors: stored vectors (n, d), float64; None if the store did not give them.
        cosines: numpy's cosines (n,); empty without vectors.
    """

    row: Floats
    stored: bool
    ids: Sequence[str]
    numbers: Floats
    vectors: Floats | None
    cosines: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All answers of one store.

    Attributes:
        answers: the answers, without hits whose vector is null or not finite.
        k: how many hits were asked for.
        kind: what the store's numbers are taken for; None if that is not known.
        converted: whether cosines are made from the numbers; if not, from the vectors.
        lossy: whether the vectors are decoded from a compressed form.
        null: ids of documents whose vector is null or not finite.
        dimension: what the vectors' dimension was, if it was not that of the questions.
    """

    answers: tuple[Answer, ...]
    k: int
    kind: str | Converter | None
    converted: bool
    lossy: bool
    null: tuple[str, ...]
    dimension: int | None

    @property
    def has_vectors(self) -> bool:
        """Whether the store gave the vectors of its hits."""
        return all(answer.vectors is not None for answer in self.answers)

    def joined(self, value: Callable[[Answer], Any]) -> Floats:
        """Join one value of every hit, over all answers."""
        return np.concatenate([np.asarray(value(a), np.float64) for a in self.answers] or [np.empty(0)])

    def norms(self) -> Floats:
        """Norms of the stored vectors of all hits."""
        return self.joined(lambda a: np.linalg.norm(_given(a), axis=1))

    def inner_products(self) -> Floats:
        """Inner products of question and stored vector, for all hits."""
        return self.joined(lambda a: _given(a) @ a.row)

    def squared_distances(self) -> Floats:
        """Squared Euclidean distances of question and stored vector, for all hits."""
        return self.joined(lambda a: ((_given(a) - a.row) ** 2).sum(axis=1))


def gather(source: Any, modality: Modality, dimension: int, effort: Effort, wording: str = WORDING) -> Evidence:
    """Ask a source with random unit vectors, then with vectors of the hits.

    Args:
        source: any source with ``probe``.
        modality: its modality, for messages.
        dimension: length of the vectors.
        effort: how thoroughly.
        wording: the wording of the questions.

    Raises:
        SourceError: if the source does not answer every question, or with unequal numbers of ids and numbers.
    """
    rng = np.random.default_rng(_SEED)
    random = unit_rows(rng.standard_normal((effort.random, dimension)))
    probes = _asked(source, modality, random, effort.k, wording)
    held = _held(probes, dimension, effort.stored)
    stored = unit_rows(held, "stored vector") if len(held) else np.empty((0, dimension), np.float32)
    if len(stored):
        probes += _asked(source, modality, stored, effort.k, wording)
    rows = np.concatenate([random, stored]).astype(np.float64)
    return evidence_of(rows, probes, effort.k, stored_from=effort.random)


def evidence_of(rows: Floats, probes: Sequence[Probe], k: int, *, stored_from: int) -> Evidence:
    """Lay the answers of a store beside numpy's.

    Args:
        rows: the vectors asked with (q, d), of norm 1.
        probes: one per row.
        k: how many hits were asked for.
        stored_from: from which row on they are vectors that the store holds.
    """
    answers, null, dimension = [], [], None
    for number, (row, probe) in enumerate(zip(rows, probes, strict=True)):
        numbers, vectors = np.asarray(probe.numbers, np.float64), probe.vectors
        ids, cosines, given = list(probe.ids), np.empty(0), None
        if vectors is not None and len(ids) and vectors.shape[1:] != row.shape:
            dimension = int(vectors.shape[-1])
        elif vectors is not None:
            given = np.asarray(vectors, np.float64).reshape(len(ids), len(row))
            norms = np.linalg.norm(given, axis=1)
            good = np.isfinite(norms) & (norms > 0)
            null += [ids[i] for i in np.flatnonzero(~good)]
            ids = [ids[i] for i in np.flatnonzero(good)]
            numbers, given = numbers[good], given[good]
            cosines = np.clip(given @ row / norms[good], -1.0, 1.0)
        answers.append(Answer(row, number >= stored_from, ids, numbers, given, cosines))
    first = probes[0] if probes else Probe((), np.empty(0), None)
    lossy = any(probe.lossy for probe in probes)
    return Evidence(tuple(answers), k, first.kind, first.converted, lossy, tuple(dict.fromkeys(null)), dimension)


def _asked(source: Any, modality: Modality, rows: Vector, k: int, wording: str) -> list[Probe]:
    probes: list[Probe] = list(source.probe([Question(wording, row, {modality: row}) for row in rows], k))
    if len(probes) != len(rows):
        raise SourceError(
            f"the source of modality {modality!r} answered {len(probes)} of {len(rows)} questions of its self-check; "
            f"probe() must return one Probe per question"
        )
    for probe in probes:
        count = len(probe.ids)
        if np.shape(probe.numbers) != (count,) or (probe.vectors is not None and len(probe.vectors) != count):
            vectors = "no" if probe.vectors is None else len(probe.vectors)
            raise SourceError(
                f"the source of modality {modality!r} returned {count} ids with numbers of shape "
                f"{np.shape(probe.numbers)} and {vectors} vectors from probe(); one of each per id is needed"
            )
    return probes


def _held(probes: Sequence[Probe], dimension: int, count: int) -> Floats:
    """Choose different stored vectors from the hits: of every answer the first, then the last, then those between."""
    chosen: dict[bytes, Any] = {}
    for turn in range(max((len(probe.ids) for probe in probes), default=0)):
        for probe in probes:
            if probe.vectors is None or turn >= len(probe.ids) or probe.vectors.shape[1:] != (dimension,):
                continue
            vector = np.asarray(probe.vectors[turn // 2 if turn % 2 == 0 else -(turn + 1) // 2], np.float64)
            norm = np.linalg.norm(vector)
            if len(chosen) < count and np.isfinite(norm) and norm > 0:
                chosen.setdefault(vector.tobytes(), vector)
    return np.array(list(chosen.values()), np.float64).reshape(len(chosen), dimension)


def _given(answer: Answer) -> Floats:
    return np.empty((0, len(answer.row))) if answer.vectors is None else answer.vectors
