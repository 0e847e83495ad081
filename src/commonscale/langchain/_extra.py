"""The check that LangChain is installed; imported before everything else in this package."""

from __future__ import annotations

from commonscale.core.extras import require

require("langchain_core", "langchain")
