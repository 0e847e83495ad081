from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from commonscale import SCORE_KINDS
from commonscale.core import errors
from commonscale.encoders import FAMILIES
from commonscale.evaluation import METHODS, Benchmark

ROOT = Path(__file__).parents[2]


def test_the_table_of_score_kinds_is_complete_and_true() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (yes|no) \|$", (ROOT / "docs/method.md").read_text("utf-8"), re.M)
    formulas = {name: formula.replace("²", "^2").replace(" ", "") for name, formula, _ in rows}
    assert formulas == {name: kind.formula.replace(" ", "") for name, kind in SCORE_KINDS.items()}
    assert {name: unit == "yes" for name, _, unit in rows} == {n: k.unit_norm for n, k in SCORE_KINDS.items()}


def test_the_table_of_encoder_families_is_complete_and_true() -> None:
    text = (ROOT / "docs/encoders.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| (`.+?) \|(.*?)\| .* \|$", text, re.M)
    shown = {name: (set(re.findall(r"`([^`]+)`", examples)), extra.strip()) for name, examples, extra in rows}
    assert set(shown) == {family.name for family in FAMILIES}
    for family in FAMILIES:
        examples, extra = shown[family.name]
        assert set(family.examples) <= examples, family.name
        assert extra == ("" if family.extra == "encoders" else f"extra `{family.extra}`"), family.name


def test_the_table_of_methods_side_by_side_is_complete_and_true() -> None:
    text, _, _ = (ROOT / "docs/evaluation.md").read_text("utf-8").partition("## What the peers do")
    described = re.findall(r"^\| `([\w+-]+)` \| .+? \| (.*?) ?\| (yes|no)? ?\|$", text, re.M)
    assert [name for name, *_ in described] == list(METHODS)
    needs = {"": True, "bank": False, "labeled pairs": False}
    without = Benchmark.from_arrays(
        {
            **{name: np.eye(2) for name in ("questions", "texts", "images")},
            "calibration_questions": np.empty((0, 2)),
            "relevant_question": np.arange(2),
            "relevant_modality": np.array(["text", "image"]),
            "relevant_index": np.arange(2),
        }
    )
    assert {name: needs[need] for name, need, _ in described} == {
        name: method.applies(without) for name, method in METHODS.items()
    }


def test_errors_named_in_the_documents_exist() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for name in re.findall(r"`(\w+(?:Error|Warning))`", document.read_text("utf-8")):
            assert hasattr(errors, name), f"{document.name} names {name}"


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
