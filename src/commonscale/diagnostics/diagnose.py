"""Measuring the gap of a collection, and what the scales do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from commonscale.core.calibration import Calibration
from commonscale.core.errors import InvalidInputError
from commonscale.core.methods import CHANCE, COSINE, STANDARDIZED
from commonscale.core.question_vectors import question_rows
from commonscale.core.questions import QuestionBank
from commonscale.core.search import JointSearch
from commonscale.core.statistics import ModalityStatistics
from commonscale.core.types import Floats, Modality, Question, Ranking, Vector
from commonscale.diagnostics.clouds import gaps, plane, spread
from commonscale.diagnostics.curves import measure_curves
from commonscale.diagnostics.diagnosis import Diagnosis, MethodScale, MethodView
from commonscale.diagnostics.draws import generator
from commonscale.diagnostics.folds import Split, fit, rank, split
from commonscale.diagnostics.gains import ALL, Gain, compare, measure_values, rows_by_kind
from commonscale.diagnostics.learning import LearningCurve
from commonscale.diagnostics.material import Material
from commonscale.diagnostics.shape import ScoreShape, measure_shape
from commonscale.diagnostics.shares import Shares, changed_hits, measure_shares
from commonscale.diagnostics.similarity import corrected
from commonscale.diagnostics.theme import QUESTIONS
from commonscale.evaluation.metrics import DEPTH

COMPARED = (STANDARDIZED, CHANCE)
"""What raw cosine is compared with: the paper's method, and chance-level calibration."""

K = 10
SHAPED = 1000
"""Most questions whose scores with all documents are looked at."""

RAW_EDGES: Floats = np.linspace(-1.0, 1.0, 2001)
CORRECTED_EDGES: Floats = np.linspace(-2.0, 2.0, 4001)

Tell = Callable[[str], None]
Values = Mapping[str, Mapping[str, Floats]]


def diagnose(material: Material, *, k: int = K, tell: Tell = lambda _: None) -> Diagnosis:
    """Measure a collection's gap, what standardizing does about it, and how many questions that takes.

    Args:
        material: the questions and documents, and labels if there are any.
        k: how many first hits to look at, at least 1.
        tell: is called with a few words before each step that may take long.

    Returns:
        The diagnosis. A method that cannot be used, as where there is one document only, is left out of it with the
        reason.

    Raises:
        InvalidInputError: if ``k`` is below 1, or questions and documents differ in dimension.
        MissingExtraError: if there are labels, and ir-measures is not installed.
    """
    if k < 1:
        raise InvalidInputError(f"k must be at least 1, got {k!r}")
    work = _Work(material, split(material), k)
    tell("searching by raw cosine")
    work.start()
    for method in COMPARED:
        tell(f"calibrating and searching: {method}")
        work.compare(method)
    tell("drawing smaller banks of questions, for the learning curve")
    curves = measure_curves(material, work.split, [m for m in COMPARED if m in work.views], k)
    return work.diagnosis(curves)


@dataclass(slots=True, eq=False)
class _Work:
    """What has been measured so far."""

    material: Material
    split: Split
    k: int
    views: dict[str, MethodView] = field(default_factory=dict)
    gains: dict[str, dict[str, dict[str, Gain]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    best: dict[Modality, ModalityStatistics] = field(default_factory=dict)
    shapes: dict[Modality, ScoreShape] = field(default_factory=dict)
    first: list[Ranking] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)
    shaped: list[Question] = field(default_factory=list)

    def start(self) -> None:
        """Search by raw cosine."""
        material = self.material
        draw = generator(material.seed, "shaped")
        asked = self.split.questions
        chosen = np.sort(draw.permutation(len(asked))[:SHAPED])
        self.shaped = [asked[at] for at in chosen]
        bank = QuestionBank.fit(material.bank, material.sources)
        self.best = {m: ModalityStatistics.fit(hits.cosines) for m, hits in bank.best.items()}
        for modality, some in material.sample.items():
            rows = question_rows(self.shaped, modality, some.vectors.shape[1])
            self.shapes[modality] = measure_shape(rows, some.vectors, RAW_EDGES)
        rankings = rank(material, asked, self.split.folds, [None] * len(self.split.folds), self._depth)
        self.first = [Ranking(ranking[: self.k]) for ranking in rankings]
        if material.benchmark is not None:
            self.values[COSINE] = measure_values(material.benchmark, rankings)
        scales = {modality: MethodScale(0.0, 1.0, None) for modality in material.modalities}
        self.views[COSINE] = MethodView(self.shapes, scales, self._shares(rankings), 0.0, None)

    def compare(self, method: str) -> None:
        """Calibrate and search by a method, or note why it cannot be used."""
        try:
            self._compare(method)
        except InvalidInputError as error:
            self.skipped[method] = str(error)

    def _compare(self, method: str) -> None:
        material, plan = self.material, self.split
        whole = fit(material.bank, material, method)
        halves = [fit(half, material, method) for half in plan.halves or ()]
        scales = [whole] if len(plan.folds) == 1 else halves
        rankings = rank(material, plan.questions, plan.folds, scales, self._depth)
        entries = {m: _scale(whole, halves, m) for m in material.modalities}
        self.views[method] = MethodView(
            {m: self._shape(whole, m) for m in material.modalities},
            entries,
            self._shares(rankings),
            changed_hits(self.first, rankings, self.k),
            self._halves_apart(halves),
        )
        if material.benchmark is not None:
            self.values[method] = measure_values(material.benchmark, rankings)
            self.gains[method] = compare(self.values[COSINE], self.values[method])

    def _shape(self, scale: Calibration, modality: Modality) -> ScoreShape:
        entry = scale.modalities[modality]
        if entry.correction is None:
            return self.shapes[modality].mapped(entry.location, entry.scale)
        some = self.material.sample[modality]
        rows = question_rows(self.shaped, modality, some.vectors.shape[1])
        asked, documents, minus = corrected(entry.correction, rows, some)
        return measure_shape(asked, documents, CORRECTED_EDGES, minus).mapped(entry.location, entry.scale)

    def _halves_apart(self, halves: Sequence[Calibration]) -> float | None:
        if not halves:
            return None
        one, other = (JointSearch(self.material.sources, half).search_batch(self.shaped, self.k) for half in halves)
        return changed_hits(one, other, self.k)

    def _shares(self, rankings: Sequence[Ranking]) -> dict[str, Shares]:
        modalities = self.material.modalities
        found = {ALL: measure_shares(rankings, modalities, self.k)}
        if self.material.benchmark is not None:
            for kind, rows in rows_by_kind(self.material.benchmark).items():
                found[kind] = measure_shares([rankings[row] for row in rows], modalities, self.k)
        return found

    @property
    def _depth(self) -> int:
        return self.k if self.material.benchmark is None else max(self.k, DEPTH)

    def diagnosis(self, curves: Mapping[str, LearningCurve]) -> Diagnosis:
        """Gather everything."""
        material, plan = self.material, self.split
        clouds = _clouds(self.shaped, material)
        held_out = "none" if not plan.held_out else "file" if material.asked else "halves"
        return Diagnosis(
            name=material.name,
            k=self.k,
            seed=material.seed,
            banked=len(material.bank),
            asked=len(plan.questions),
            held_out=held_out,
            documents=dict(material.counts),
            sampled={modality: len(some) for modality, some in material.sample.items()},
            gaps=tuple(gaps(clouds)),
            spreads={name: spread(rows) for name, rows in clouds.items()},
            points=plane(clouds, seed=material.seed),
            best=self.best,
            methods=self.views,
            gains=None if material.benchmark is None else self.gains,
            versus=self._versus(),
            ceilings=self._ceilings(),
            wanted=self._wanted(),
            curves=curves,
            skipped=self.skipped,
        )

    def _versus(self) -> dict[str, dict[str, Gain]] | None:
        if STANDARDIZED not in self.values or CHANCE not in self.values:
            return None
        return compare(self.values[STANDARDIZED], self.values[CHANCE])

    def _ceilings(self) -> dict[Modality, float] | None:
        if self.material.benchmark is None:
            return None
        found = {}
        for kind in rows_by_kind(self.material.benchmark):
            alone = JointSearch({kind: self.material.sources[kind]}).search_batch(self.split.questions, DEPTH, raw=True)
            found[kind] = float(measure_values(self.material.benchmark, alone)[kind]["mrr@20"].mean())
        return found

    def _wanted(self) -> dict[Modality, float] | None:
        if self.material.benchmark is None:
            return None
        return {m: len(rows) / self.asked for m, rows in rows_by_kind(self.material.benchmark).items()}

    @property
    def asked(self) -> int:
        """How many questions are asked."""
        return len(self.split.questions)


def _scale(whole: Calibration, halves: Sequence[Calibration], modality: Modality) -> MethodScale:
    entry = whole.modalities[modality]
    apart = None
    if halves:
        one, other = (half.modalities[modality] for half in halves)
        apart = abs(one.location - other.location) / entry.scale
    return MethodScale(entry.location, entry.scale, apart)


def _clouds(questions: Sequence[Question], material: Material) -> dict[str, Vector]:
    """Give the clouds that share a space: those of the dimension of the first modality."""
    dimension = next(iter(material.sample.values())).vectors.shape[1]
    rows = question_rows(questions, material.modalities[0], dimension)
    documents = {m: some.vectors for m, some in material.sample.items() if some.vectors.shape[1] == dimension}
    return {QUESTIONS: rows, **documents}
