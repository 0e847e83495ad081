"""Slips of a first user, each answered with what to do instead."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_core")

from commonscale import Calibration, ModalityCalibration, ModalityStatistics
from commonscale.core.errors import InvalidInputError
from commonscale.langchain import ModalityBalancer, SimilarityStandardizer, StandardizedMultiModalRetriever
from langchain_world import World

SCALE = Calibration({"text": ModalityCalibration(ModalityStatistics(0.8, 0.1, 100))})


@pytest.mark.parametrize("keyword", ["similarity_top_k", "top_k"])
def test_keywords_that_are_no_field_are_refused(world: World, tmp_path: Any, keyword: str) -> None:
    stores = world.stores("in-memory", "two", tmp_path)
    with pytest.raises(InvalidInputError, match=rf"Retriever has no field '{keyword}'; its fields are .*\bk, minimum"):
        StandardizedMultiModalRetriever(**stores, **{keyword: 3})
    with pytest.raises(InvalidInputError, match=rf"ModalityBalancer has no field '{keyword}'; .*top_n"):
        ModalityBalancer(**{keyword: 3})
    with pytest.raises(InvalidInputError, match=rf"SimilarityStandardizer has no field '{keyword}'; .*top_n"):
        SimilarityStandardizer(calibration=SCALE, **{keyword: 3})
    assert StandardizedMultiModalRetriever(**stores, tags=["a"], name="b").tags == ["a"]
