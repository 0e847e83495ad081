"""What is printed is short, whatever the number of documents, and says what matters."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest

from commonscale import (
    Calibration,
    Centering,
    DriftMonitor,
    JointSearch,
    LivingCalibration,
    ModalityCalibration,
    ModalityStatistics,
    Question,
)
from commonscale.priors import FunctionPrior
from living_world import ChangingStore
from sources import unit_rows

SHORT = 400
MODALITIES = {"text": 3000, "image": 1000}


def asked(count: int, kind: Any = "text") -> list[Question]:
    rows = unit_rows(np.random.default_rng(count), count, 16)
    return [Question(vector=row, kind=kind, stratum="ab"[i % 3 == 0]) for i, row in enumerate(rows)]


def searching() -> JointSearch:
    rng = np.random.default_rng(3)
    stores = {
        modality: ChangingStore(modality, {f"{modality} {i}": row for i, row in enumerate(unit_rows(rng, count, 16))})
        for modality, count in MODALITIES.items()
    }
    return JointSearch(stores)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return searching().calibrate([*asked(60), *asked(40, "image")], method="chance")


def test_a_calibration_is_short_whatever_it_knows(calibration: Calibration) -> None:
    assert repr(calibration) == (
        f"Calibration(method='chance', questions=60, created='{calibration.created.isoformat()}', "
        f"modalities=['text', 'image'], strata=2, image_questions=40)"
    )
    assert len(repr(calibration.modalities["text"])) < 2 * SHORT
    correction = calibration.modalities["text"].correction
    assert correction is not None
    assert repr(correction) == "Correction(3000 documents, dimension=16, hub_weight=0.5)"
    assert repr(correction.documents) == "DocumentTable(3000 documents)"
    assert repr(calibration.centering) == "Centering(dimensions={'text': 16, 'image': 16})"


def test_a_calibration_in_words(calibration: Calibration) -> None:
    lines = str(calibration).splitlines()
    text, pictures = calibration.modalities["text"], calibration.image_questions
    assert pictures is not None
    assert lines == [
        f"Calibration by 'chance' on 60 questions, {calibration.created:%Y-%m-%d %H:%M} UTC",
        f"  text   3000 documents, location {text.location:.4f}, scale {text.scale:.4f}, "
        f"best hits {text.statistics.mean:.4f} ± {text.statistics.std:.4f}",
        lines[2],
        "  strata: 'b' (20), 'a' (40)",
        "  40 questions that are pictures:",
        lines[5],
        f"  image  1000 documents, location {pictures.modalities['image'].location:.4f}, "
        f"scale {pictures.modalities['image'].scale:.4f}, best hits "
        f"{pictures.modalities['image'].statistics.mean:.4f} ± {pictures.modalities['image'].statistics.std:.4f}",
        "  strata: 'b' (14), 'a' (26)",
    ]


def test_a_dozen_lines_at_most() -> None:
    entry = ModalityCalibration(ModalityStatistics(0.3, 0.02, 9))
    created = datetime(2026, 1, 31, 12, 5, tzinfo=timezone.utc)
    one = Calibration({f"m{i}": entry for i in range(40)}, "standardized", 9, created)
    many = replace(one, strata={f"tenant {i}": one for i in range(200)})
    lines = str(replace(many, image_questions=replace(many, method="centered"))).splitlines()
    assert lines[:6] == [
        "Calibration by 'standardized' on 9 questions, 2026-01-31 12:05 UTC",
        "  m0   location 0.3000, scale 0.0200, best hits 0.3000 ± 0.0200",
        "  m1   location 0.3000, scale 0.0200, best hits 0.3000 ± 0.0200",
        "  m2   location 0.3000, scale 0.0200, best hits 0.3000 ± 0.0200",
        "  ... and 37 more modalities",
        "  strata: 'tenant 0' (9), 'tenant 1' (9), 'tenant 2' (9), 197 more",
    ]
    assert lines[6] == "  9 questions that are pictures by 'centered':"
    assert len(lines) == 12


def test_scales_of_pictures_alone_and_of_labeled_pairs() -> None:
    entry = ModalityCalibration(ModalityStatistics(0.3, 0.02, 9))
    pictures = Calibration({"text": entry}, "standardized", 9)
    created = datetime(2026, 1, 31, 12, 5, tzinfo=timezone.utc)
    assert str(Calibration({}, "standardized", 9, created, image_questions=pictures)).splitlines() == [
        "Calibration by 'standardized', 2026-01-31 12:05 UTC",
        "  9 questions that are pictures:",
        "  text  location 0.3000, scale 0.0200, best hits 0.3000 ± 0.0200",
    ]
    labeled = Calibration.from_labeled_pairs(np.linspace(0, 1, 40), ["text"] * 40)
    assert "on 40 labeled pairs, " in str(labeled)
    assert "labeled pairs 0.5000 ± " in str(labeled)


def test_equality_is_as_it_was(calibration: Calibration) -> None:
    assert calibration == replace(calibration)
    assert calibration != replace(calibration, questions=3)


def show(report: object) -> None:
    """What a user might give as a policy."""


def test_living_things_are_short() -> None:
    search = searching()
    living = LivingCalibration.fit([*asked(60), *asked(40, "image")], search.sources, method="chance")
    assert repr(living) == (
        "LivingCalibration(method='chance', questions={'text': 60, 'image': 40}, modalities=['text', 'image'])"
    )
    monitor = DriftMonitor(living, policy="report", windows=[10, 20])
    assert repr(monitor) == f"DriftMonitor({living!r}, policy='report', windows=(10, 20))"
    values = DriftMonitor({"text": np.linspace(0, 1, 999)}, policy=show)
    assert repr(values) == "DriftMonitor(best hits of ['text'], policy='show', windows=(50, 200, 800))"


def test_priors_and_centerings_are_short() -> None:
    prior = FunctionPrior(lambda texts: [[0.5, 0.5] for _ in texts], ("text", "image"))
    assert repr(prior) == "FunctionPrior(['text', 'image'], strength=None, limit=6.0)"
    assert repr(prior.scaled(2.0)) == "FunctionPrior(['text', 'image'], strength=2.0, limit=6.0)"
    means = {"text": np.ones(700), "image": np.zeros(700)}
    assert repr(Centering(means, means)) == "Centering(dimensions={'text': 700, 'image': 700})"
