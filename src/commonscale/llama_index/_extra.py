"""The check that LlamaIndex is installed; imported before everything else in this package."""

from __future__ import annotations

from commonscale.core.extras import require

require("llama_index.core", "llama-index")
