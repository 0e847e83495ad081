"""What is diagnosed: questions, documents, and labels if there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from commonscale.core.errors import InvalidInputError
from commonscale.core.scanning import scan
from commonscale.core.types import Modality, Question, Source, Vector
from commonscale.diagnostics.draws import generator
from commonscale.evaluation.benchmark import Benchmark
from commonscale.evaluation.sources import VectorSource

DOCUMENTS = 50_000
"""Documents of all modalities together that distributions are taken from; of more, a sample is drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some documents of a modality.

    Attributes:
        ids: their ids (n).
        vectors: their unit vectors (n, d).
    """

    ids: Sequence[str]
    vectors: Vector

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is diagnosed.

    Attributes:
        name: what to call it.
        bank: unlabeled questions to calibrate with, at least one.
        asked: other questions, to see what a calibration does to; empty if there are only those of the bank. Then each
            half of them is asked under the scale that was learned from the other half.
        sources: the search of each modality that has documents.
        counts: how many documents it has.
        sample: the documents that distributions are taken from.
        benchmark: labels of ``asked``, or of ``bank`` if nothing is asked; None without labels.
        seed: of every sample.
    """

    name: str
    bank: Sequence[Question]
    asked: Sequence[Question]
    sources: Mapping[Modality, Source]
    counts: Mapping[Modality, int]
    sample: Mapping[Modality, Sample]
    benchmark: Benchmark | None = field(default=None)
    seed: int = 0

    @classmethod
    def of_benchmark(cls, benchmark: Benchmark, *, documents: int = DOCUMENTS, seed: int = 0) -> Material:
        """Take a benchmark: its calibration questions are the bank, its labeled questions are asked.

        Without calibration questions the labeled ones serve for both, in two halves.
        """
        asked = [Question(vector=vector) for vector in benchmark.questions]
        bank = [Question(vector=vector) for vector in benchmark.calibration_questions]
        filled = {modality: rows for modality, rows in benchmark.documents.items() if len(rows)}
        sources = {modality: VectorSource(modality, rows) for modality, rows in filled.items()}
        counts = {modality: len(rows) for modality, rows in filled.items()}
        sample = draw_sample(sources, counts, documents, seed)
        return cls(benchmark.name, bank or asked, asked if bank else (), sources, counts, sample, benchmark, seed)

    @classmethod
    def of_sources(
        cls,
        name: str,
        questions: Sequence[Question],
        sources: Mapping[Modality, Source],
        counts: Mapping[Modality, int],
        *,
        documents: int = DOCUMENTS,
        seed: int = 0,
    ) -> Material:
        """Take sources whose vectors can be read, such as an index, with unlabeled questions.

        Args:
            name: what to call it.
            questions: embedded, at least one.
            sources: one per modality.
            counts: how many documents each has; modalities without any are left out.
            documents: most documents to take distributions from.
            seed: of every sample.

        Raises:
            InvalidInputError: if there is no question or no document.
            UnreadableVectorsError: if a store does not give the vectors that it holds.
        """
        if not questions:
            raise InvalidInputError(f"{name}: a diagnosis needs questions as users ask them, got none")
        filled = {modality: source for modality, source in sources.items() if counts[modality]}
        if not filled:
            raise InvalidInputError(f"{name}: holds no documents, so there is nothing to diagnose")
        known = {modality: counts[modality] for modality in filled}
        return cls(name, questions, (), filled, known, draw_sample(filled, known, documents, seed), None, seed)

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that have documents."""
        return list(self.sources)

    @property
    def sampled(self) -> bool:
        """Whether distributions are taken from a part of the documents."""
        return any(len(self.sample[modality]) < count for modality, count in self.counts.items())


def draw_sample(
    sources: Mapping[Modality, Any], counts: Mapping[Modality, int], most: int, seed: int
) -> dict[Modality, Sample]:
    """Read some documents of every modality: the same share of each, so that their proportions stay.

    Args:
        sources: by modality; their vectors must be readable.
        counts: how many documents each has, at least one.
        most: about how many documents to take of all together.
        seed: of the sample.

    Raises:
        UnreadableVectorsError: if a store does not give the vectors that it holds.
    """
    draw = generator(seed, "documents")
    share = min(1.0, most / sum(counts.values()))
    found = {}
    for modality, source in sources.items():
        wanted = min(counts[modality], max(2, round(share * counts[modality])))
        places = np.sort(draw.choice(counts[modality], wanted, replace=False))
        ids: list[str] = []
        parts: list[Vector] = []
        start = 0
        for page, vectors in scan(source, modality):
            inside = places[(places >= start) & (places < start + len(page))] - start
            ids += [page[place] for place in inside]
            parts.append(vectors[inside])
            start += len(page)
        found[modality] = Sample(ids, np.concatenate(parts))
    return found
