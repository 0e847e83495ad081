"""The diagnosis: everything that is measured, in one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commonscale.core.statistics import ModalityStatistics
from commonscale.core.types import Floats, Modality
from commonscale.diagnostics.clouds import Gap
from commonscale.diagnostics.gains import Gain, Gains
from commonscale.diagnostics.learning import LearningCurve
from commonscale.diagnostics.shape import ScoreShape
from commonscale.diagnostics.shares import Shares


@dataclass(frozen=True, slots=True, eq=False)
class MethodScale:
    """One modality's scale under a method.

    Attributes:
        location: what is subtracted from similarities; 0 for raw cosines.
        scale: what they are then divided by; 1 for raw cosines.
        halves: by how much the scores of the scales of two halves of the bank differ, at the location of one of them;
            None where there are no halves, or nothing is learned.
    """

    location: float
    scale: float
    halves: float | None


@dataclass(frozen=True, slots=True, eq=False)
class MethodView:
    """What a method does to scores and first hits.

    Attributes:
        shapes: the scores of a modality's documents, by modality; histograms and best hits are in units of score.
        scales: by modality.
        shares: the first hits, by group of questions: ``"all"`` and, where labels tell, the modalities asked for.
        changed: share of the first hits that are others than under raw cosine.
        halves: share of the first hits that differ between the scales of two halves of the bank; None without.
    """

    shapes: Mapping[Modality, ScoreShape]
    scales: Mapping[Modality, MethodScale]
    shares: Mapping[str, Shares]
    changed: float
    halves: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """The gap of one collection, and what to do about it.

    Attributes:
        name: what was diagnosed.
        k: how many first hits are looked at.
        seed: of every sample.
        banked: how many questions calibrate.
        asked: how many questions are asked.
        held_out: ``"file"`` if they are others, ``"halves"`` if halves of the bank were asked under each other's
            scale, ``"none"`` if there was one question only.
        documents: how many there are, by modality.
        sampled: how many of them distributions are taken from, by modality.
        gaps: distances of the means of questions, and of documents of each modality.
        spreads: spread of each of these clouds.
        points: the clouds in the plane (n, 2).
        best: statistics of the banked questions' best cosines, by modality.
        methods: by method, raw cosine first.
        gains: against raw cosine on held-out questions; None without labels.
        versus: chance-level calibration against standardizing, in the same way; None without labels or one of the two.
        ceilings: MRR@20 of searching only the modality that is asked for, by modality; None without labels.
        wanted: share of the questions that ask for each modality; None without labels.
        curves: learning curves by method; a method without one has too few questions for it.
        skipped: by method, why it could not be used.
    """

    name: str
    k: int
    seed: int
    banked: int
    asked: int
    held_out: str
    documents: Mapping[Modality, int]
    sampled: Mapping[Modality, int]
    gaps: tuple[Gap, ...]
    spreads: Mapping[str, float]
    points: Mapping[str, Floats]
    best: Mapping[Modality, ModalityStatistics]
    methods: Mapping[str, MethodView]
    gains: Gains | None
    versus: Mapping[str, Mapping[str, Gain]] | None
    ceilings: Mapping[Modality, float] | None
    wanted: Mapping[Modality, float] | None
    curves: Mapping[str, LearningCurve]
    skipped: Mapping[str, str]

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that have documents."""
        return list(self.documents)

    @property
    def loud(self) -> Modality:
        """The modality whose best hits have the highest cosine on average, which raw cosine prefers."""
        return max(self.best, key=lambda modality: self.best[modality].mean)

    @property
    def quiet(self) -> list[Modality]:
        """The other modalities."""
        return [modality for modality in self.modalities if modality != self.loud]
