"""Whole diagnoses without labels: what is measured, what is said, and small inputs that must not break it."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

from commonscale import Calibration, JointSearch, Question, QuestionBank
from commonscale.core.errors import FewQuestionsWarning, InvalidInputError, UnreadableVectorsError
from commonscale.diagnostics import Material, as_json, diagnose, verdict
from commonscale.diagnostics.folds import fit, split
from commonscale.diagnostics.material import draw_sample
from commonscale.diagnostics.words import who_asks
from commonscale.evaluation.sources import VectorSource
from sources import ArraySource, unit_rows

SMALL = pytest.mark.filterwarnings(
    "ignore::commonscale.core.errors.FewQuestionsWarning",
    "ignore::commonscale.core.errors.DegenerateStatisticsWarning",
)


def vectors(count, shift=0.0, seed=0, dimension=8):
    rng = np.random.default_rng((seed, count))
    moved = rng.standard_normal((count, dimension)) + shift * np.eye(dimension)[0]
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


def material(questions, **documents):
    sources = {modality: VectorSource(modality, rows) for modality, rows in documents.items()}
    asked = [Question(vector=vector) for vector in questions]
    return Material.of_sources("mine", asked, sources, {m: len(rows) for m, rows in documents.items()})


@pytest.fixture(scope="module")
def gapped():
    return material(vectors(120, 1.5), text=vectors(200, 1.5, seed=1), image=vectors(80, -1.5, seed=2))


@pytest.fixture(scope="module")
def diagnosis(gapped):
    return diagnose(gapped)


def test_the_scale_is_that_of_a_calibration(gapped, diagnosis):
    for method in ("standardized", "chance"):
        expected = Calibration.from_bank(QuestionBank.fit(gapped.bank, gapped.sources, method=method))
        for modality, scale in diagnosis.methods[method].scales.items():
            entry = expected.modalities[modality]
            assert (scale.location, scale.scale) == (entry.location, entry.scale)


@pytest.mark.parametrize("method", ["standardized", "chance"])
def test_shown_scores_are_those_of_the_search(gapped, diagnosis, method):
    scale = Calibration.from_bank(QuestionBank.fit(gapped.bank, gapped.sources, method=method))
    for modality, shape in diagnosis.methods[method].shapes.items():
        found = JointSearch({modality: gapped.sources[modality]}, scale).search_batch(gapped.bank, 1)
        np.testing.assert_allclose(shape.best, [ranking[0].score for ranking in found], atol=1e-4)


def test_every_question_is_asked_under_the_scale_of_the_other_half(gapped, diagnosis):
    plan = split(gapped)
    fitted = [{id(question) for question in fold.bank} for fold in plan.folds]
    for fold, bank in zip(plan.folds, fitted, strict=True):
        assert not bank & {id(plan.questions[at]) for at in fold.asked}
    assert sorted(np.concatenate([fold.asked for fold in plan.folds])) == list(range(120))
    images = 0
    for fold in plan.folds:
        scale = Calibration.from_bank(QuestionBank.fit(fold.bank, gapped.sources))
        asked = [plan.questions[at] for at in fold.asked]
        found = JointSearch(gapped.sources, scale).search_batch(asked, 10)
        images += sum(len(ranking.of("image")) for ranking in found)
    assert diagnosis.methods["standardized"].shares["all"].hits["image"] == pytest.approx(images / 1200)


def test_copies_of_a_question_stay_in_one_half():
    five = vectors(5)
    plan = split(material(np.concatenate([five] * 4), text=vectors(9), image=vectors(9, seed=1)))
    one, other = ({question.vector.tobytes() for question in half} for half in plan.halves)
    assert not one & other
    assert len(one | other) == 5


def test_the_verdict_says_what_can_be_said_without_labels(diagnosis):
    said = " ".join(verdict(diagnosis))
    assert said.startswith("The gap is wide: a question's best cosine is")
    assert "Of the documents 29% are images" in said
    before, after = (diagnosis.methods[method].shares["all"].hits["image"] for method in ("cosine", "standardized"))
    assert after > before + 0.1
    assert f"of 120 held-out questions: the share of images goes from {before:.0%} to {after:.0%}" in said
    assert "cannot be told without labels" in said
    assert "Standardizing: " in said
    assert "the bank has 120" in said


@pytest.mark.parametrize(("changed", "settled"), [(0.05, True), (0.07, True), (0.18, False)])
def test_enough_for_the_balance_is_not_called_enough_for_the_order(diagnosis, changed, settled):
    curve = replace(
        diagnosis.curves["standardized"],
        sizes=(30,),
        wobble={m: wobbles[:1] for m, wobbles in diagnosis.curves["standardized"].wobble.items()},
        moved=(0.05,),
        changed=(changed,),
        enough=30,
        level=False,
    )
    said = " ".join(verdict(replace(diagnosis, curves={"chance": curve})))
    assert ("30 questions are enough;" in said) is settled
    assert ("30 questions are enough to balance the modalities;" in said) is not settled
    assert ("more questions can still help" in said) is not settled


@pytest.mark.parametrize(("enough", "few"), [(120, False), (150, True), (1500, True)])
def test_what_would_be_enough_is_told_apart_from_what_there_is(diagnosis, enough, few):
    learned = diagnosis.curves["standardized"]
    curve = replace(
        learned,
        sizes=(enough,),
        wobble={m: wobbles[:1] for m, wobbles in learned.wobble.items()},
        moved=(0.05,),
        changed=(0.05,),
        enough=enough,
        level=False,
    )
    said = " ".join(verdict(replace(diagnosis, curves={"standardized": curve})))
    told = f"about {enough:,} questions would be enough" if few else f"{enough:,} questions are enough"
    assert f"Standardizing: {told}; the bank has 120." in said


@pytest.mark.parametrize(
    ("held_out", "told"),
    [
        ("file", "120 questions to calibrate with, 7 other questions asked"),
        ("halves", "120 questions to calibrate with, each half of them asked under the scale of the other half"),
        ("none", "1 question to calibrate with, the same one asked, so nothing here is held out"),
    ],
)
def test_it_is_told_which_questions_are_asked(diagnosis, held_out, told):
    banked = 1 if held_out == "none" else 120
    assert who_asks(replace(diagnosis, held_out=held_out, banked=banked, asked=7)) == told


def test_a_slight_gap_is_called_slight():
    same = material(vectors(80), text=vectors(100, seed=1), image=vectors(100, seed=2))
    said = verdict(diagnose(same))
    assert said[0].startswith("The gap is slight")
    assert any(sentence.startswith("The modalities nearly share one scale already") for sentence in said)


def test_the_data_are_complete_finite_and_repeatable(gapped, diagnosis):
    data = as_json(diagnosis)
    assert json.dumps(data, allow_nan=False) == json.dumps(as_json(diagnose(gapped)), allow_nan=False)
    assert set(data["methods"]) == {"cosine", "standardized", "chance"}
    assert data["questions"] == {"bank": 120, "asked": 120, "held_out": "halves"}
    assert data["gains"] is None
    assert [gap["between"] for gap in data["gaps"]] == [
        ["questions", "text"],
        ["questions", "image"],
        ["text", "image"],
    ]
    for scores in data["methods"]["cosine"]["scores"].values():
        assert len(scores["all_documents"]["edges"]) == len(scores["all_documents"]["counts"]) + 1
    assert sum(data["methods"]["cosine"]["scores"]["text"]["all_documents"]["counts"]) == 120 * 200


def test_three_modalities_and_one():
    three = diagnose(
        material(vectors(60, 1), text=vectors(50, 1, seed=1), image=vectors(40, -1, seed=2), audio=vectors(30, seed=3))
    )
    assert (three.loud, three.quiet) == ("text", ["image", "audio"])
    assert len(three.gaps) == 6
    assert len([sentence for sentence in verdict(three) if sentence.startswith("The gap is")]) == 2
    assert "audio documents" in " ".join(verdict(three))
    one = diagnose(material(vectors(60), text=vectors(50, seed=1)))
    assert verdict(one) == ["All documents are texts: there is no second scale, so nothing to standardize."]
    assert one.curves == {}


def test_a_modality_without_documents_is_left_out():
    found = material(vectors(30), text=vectors(9), image=np.empty((0, 8), np.float32))
    assert found.modalities == ["text"]


COPIES = np.repeat(vectors(1), 6, axis=0)


@SMALL
@pytest.mark.parametrize(
    ("questions", "texts", "images"),
    [
        (vectors(1), vectors(1, seed=1), vectors(1, seed=2)),
        (vectors(1), vectors(20, seed=1), vectors(20, seed=2)),
        (vectors(2), vectors(20, seed=1), vectors(20, seed=2)),
        (vectors(3), vectors(3, seed=1), vectors(2, seed=2)),
        (vectors(25), COPIES, vectors(9, seed=2)),
        (COPIES, vectors(9, seed=1), vectors(9, seed=2)),
        (COPIES, COPIES, COPIES),
    ],
    ids=["1 of each", "1 question", "2 questions", "3", "equal texts", "equal questions", "all equal"],
)
def test_small_and_flat_inputs_give_sentences(questions, texts, images):
    diagnosis = diagnose(material(questions, text=texts, image=images))
    said = verdict(diagnosis)
    assert said
    assert "nan" not in " ".join(said)
    json.dumps(as_json(diagnosis), allow_nan=False)
    if len(np.unique(questions, axis=0)) < 2:
        assert said[0].startswith("There is only one question, or copies of one")
        assert "The gap is" not in " ".join(said)


def test_a_method_that_cannot_be_used_is_named_with_the_reason(gapped, monkeypatch):
    def refusing(questions, material, method):
        if method == "chance":
            raise InvalidInputError("no vector has a direction")
        return fit(questions, material, method)

    # By its name in the package stands the function, which hides the module.
    monkeypatch.setattr(importlib.import_module("commonscale.diagnostics.diagnose"), "fit", refusing)
    diagnosis = diagnose(gapped)
    assert "Chance-level calibration cannot be used here: no vector has a direction." in verdict(diagnosis)
    assert list(diagnosis.methods) == ["cosine", "standardized"]
    assert list(diagnosis.curves) == ["standardized"]
    assert as_json(diagnosis)["skipped"] == {"chance": "no vector has a direction"}


def test_few_questions_are_warned_of():
    with pytest.warns(FewQuestionsWarning, match=r"rests? on \d different questions"):
        diagnose(material(vectors(6), text=vectors(9, seed=1), image=vectors(9, seed=2)))


def test_samples_keep_the_proportions_and_are_repeatable():
    sources = {"text": VectorSource("text", vectors(900)), "image": VectorSource("image", vectors(100, seed=1))}
    sample = draw_sample(sources, {"text": 900, "image": 100}, 200, seed=5)
    assert {modality: len(some) for modality, some in sample.items()} == {"text": 180, "image": 20}
    for modality, some in sample.items():
        assert len(set(some.ids)) == len(some)
        np.testing.assert_array_equal(sources[modality].vectors_of(some.ids), some.vectors)
    assert draw_sample(sources, {"text": 900, "image": 100}, 200, seed=5)["text"].ids == sample["text"].ids
    assert draw_sample(sources, {"text": 900, "image": 100}, 200, seed=6)["text"].ids != sample["text"].ids


def test_a_sample_is_told():
    sources = {"text": VectorSource("text", vectors(90)), "image": VectorSource("image", vectors(30, seed=1))}
    asked = [Question(vector=vector) for vector in vectors(64)]
    some = Material.of_sources("mine", asked, sources, {"text": 90, "image": 30}, documents=40)
    diagnosis = diagnose(some)
    assert some.sampled
    assert (diagnosis.documents, diagnosis.sampled) == ({"text": 90, "image": 30}, {"text": 30, "image": 10})


def test_what_cannot_be_diagnosed_is_refused():
    with pytest.raises(InvalidInputError, match="needs questions as users ask them"):
        material(np.empty((0, 8)), text=vectors(3))
    with pytest.raises(InvalidInputError, match="holds no documents"):
        material(vectors(3), text=np.empty((0, 8), np.float32))
    with pytest.raises(InvalidInputError, match="k must be at least 1"):
        diagnose(material(vectors(3), text=vectors(3)), k=0)
    blind = ArraySource(["a", "b"], unit_rows(np.random.default_rng(0), 2, 8))
    with pytest.raises(UnreadableVectorsError, match="does not give back the vectors"):
        Material.of_sources("mine", [Question(vector=vectors(1)[0])], {"text": blind}, {"text": 2})


def test_steps_are_told(gapped):
    told = []
    diagnose(gapped, tell=told.append)
    assert told == [
        "searching by raw cosine",
        "calibrating and searching: standardized",
        "calibrating and searching: chance",
        "drawing smaller banks of questions, for the learning curve",
    ]
