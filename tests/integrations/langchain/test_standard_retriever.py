"""LangChain's standard tests of retrievers, over two stores and over one mixed store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

from langchain_tests.integration_tests import RetrieversIntegrationTests

from commonscale.langchain import StandardizedMultiModalRetriever
from langchain_world import QUESTIONS, World


class StandardTests(RetrieversIntegrationTests):
    layout: str

    @property
    def retriever_constructor(self) -> type[StandardizedMultiModalRetriever]:
        return StandardizedMultiModalRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        stores = World().stores("in-memory", self.layout, Path())
        calibration = StandardizedMultiModalRetriever(**stores).calibrate(QUESTIONS, method="standardized")
        return {**stores, "calibration": calibration}

    @property
    def retriever_query_example(self) -> str:
        return "a question"


class TestTwoStores(StandardTests):
    layout = "two"


class TestMixedStore(StandardTests):
    layout = "mixed"


del StandardTests
