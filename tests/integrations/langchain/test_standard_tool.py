"""LangChain's own tests for tools."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests")
pytest.importorskip("PIL")

from langchain_core.documents import Document
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from commonscale.langchain import create_multimodal_retriever_tool


class Described:
    """What both suites ask about the tool."""

    @property
    def tool_constructor(self) -> BaseTool:
        return create_multimodal_retriever_tool(lambda query: [Document(query, id="a")], "look", "Looks.")

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "a red bus"}


class TestToolUnit(Described, ToolsUnitTests):
    pass


class TestToolIntegration(Described, ToolsIntegrationTests):
    pass
