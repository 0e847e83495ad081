"""The tables of docs/prompting.md are complete and true."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from commonscale.prompting import PICTURE_RULES, Budget, Reason

DOCUMENT = (Path(__file__).parents[3] / "docs/prompting.md").read_text(encoding="utf-8")


def test_the_table_of_picture_rules() -> None:
    rows = re.findall(r"^\| (`.+?`) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", DOCUMENT, re.MULTILINE)
    shown = {
        name: [int(number.replace(",", "")) for number in numbers]
        for names, *numbers in rows
        for name in re.findall(r"`(.+?)`", names)
    }
    assert shown == {
        name: [rule(512, 512), rule(1024, 768), rule(4032, 3024), rule.most] for name, rule in PICTURE_RULES.items()
    }


def test_the_table_of_reasons() -> None:
    table = DOCUMENT.partition("| reason |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [reason.value for reason in Reason]


def test_the_table_of_limits() -> None:
    table = DOCUMENT.partition("| `Budget` |")[2].partition("\n\n")[0]
    names = [name for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(names) == sorted(field.name for field in fields(Budget))
