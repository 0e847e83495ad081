from __future__ import annotations

import re
from pathlib import Path

from commonscale import SCORE_KINDS
from commonscale.core import errors
from commonscale.encoders import FAMILIES

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


def test_errors_named_in_the_documents_exist() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for name in re.findall(r"`(\w+(?:Error|Warning))`", document.read_text("utf-8")):
            assert hasattr(errors, name), f"{document.name} names {name}"


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
