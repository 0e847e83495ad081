"""Published checkpoints, loaded by load_encoder, give the numbers that their makers document."""

from __future__ import annotations

import pytest

from weights.checkpoints import require_cached
from weights.comparing import documented
from weights.documented import CASES, Case
from weights.pictures import published

pytestmark = pytest.mark.weights


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_documented_numbers(case: Case) -> None:
    weights = require_cached(case.checkpoint, case.prefix)
    if case.draw is not None:
        pictures = list(case.draw().values())
    else:
        path = published(case.picture)
        pictures = [path if case.prepare is None else case.prepare(path)]
    documented(case, case.prefix + case.checkpoint, weights, pictures)
