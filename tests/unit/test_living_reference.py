"""What incoming questions are compared with: the banked ones, as if they only asked."""

from __future__ import annotations

import numpy as np
import pytest

from commonscale import LivingCalibration, Question
from commonscale.core.drift_windows import compare
from living_world import ChangingStore
from sources import unit_rows

pytestmark = pytest.mark.filterwarnings("ignore::commonscale.core.errors.FewQuestionsWarning")


def store(rng: np.random.Generator) -> ChangingStore:
    return ChangingStore("text", {f"{i}": row for i, row in enumerate(unit_rows(rng, 300, 24))})


@pytest.mark.parametrize("count", [2, 5, 10, 11, 12, 80])
def test_the_reference_leaves_each_question_out_of_the_hub_scores(count: int) -> None:
    rng = np.random.default_rng(count)
    texts, rows = store(rng), unit_rows(rng, count, 24)
    living = LivingCalibration.fit([Question(vector=row) for row in rows], {"text": texts}, method="chance")
    new = unit_rows(rng, 30, 24)
    texts.documents |= {f"new{i}": row for i, row in enumerate(new)}
    living.added("text", [f"new{i}" for i in range(30)], new)
    correction = living.calibration.modalities["text"].correction
    assert correction is not None
    documents = np.stack(list(texts.documents.values())).astype(np.float64) - correction.document_mean
    asked = rows.astype(np.float64) - correction.question_mean
    found = (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ (
        documents / np.linalg.norm(documents, axis=1, keepdims=True)
    ).T
    expected = []
    for place in range(count):
        best = np.argmax(found[place] - 0.5 * np.sort(found, axis=0)[-10:].mean(axis=0))
        others = np.delete(found[:, best], place)
        expected.append(found[place, best] - 0.5 * np.sort(others)[-10:].mean())
    assert living.reference()["text"] == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize("method", ["standardized", "centered", "centered+standardized"])
def test_other_methods_compare_with_the_best_hits(method: str) -> None:
    rng = np.random.default_rng(1)
    questions = [Question(vector=row) for row in unit_rows(rng, 40, 24)]
    living = LivingCalibration.fit(questions, {"text": store(rng)}, method=method)
    statistics = living.calibration.modalities["text"].statistics
    assert living.reference()["text"].mean() == pytest.approx(statistics.mean)


def test_questions_like_those_of_the_bank_do_not_look_like_drift() -> None:
    rng = np.random.default_rng(2)
    texts = store(rng)
    shifts, p_values = [], []
    for _ in range(12):
        bank = [Question(vector=row) for row in unit_rows(rng, 200, 24)]
        living = LivingCalibration.fit(bank, {"text": texts}, method="chance")
        correction = living.calibration.modalities["text"].correction
        assert correction is not None
        asked = correction.centered(unit_rows(rng, 800, 24))
        rows = np.stack([texts.documents[key] for key in correction.documents.ids])
        columns = correction.columns(np.arange(len(rows)))
        best = np.array(
            [
                correction.similarities(rows @ asked.rows[i], columns, asked.levels[i]).max()
                for i in range(len(asked.rows))
            ]
        )
        test = compare("text", best, living.reference()["text"], 1e-3)
        shifts.append(test.shift)
        p_values.append(test.p_value)
    # Against the best hits of the bank as they are it is 0.14 standard deviations.
    assert abs(float(np.mean(shifts))) < 0.08
    assert min(p_values) > 1e-3
