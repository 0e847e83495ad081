"""Node postprocessors: the common scale and quotas for the hits of any retriever."""

from __future__ import annotations

from commonscale.llama_index.balancer import ModalityBalancer
from commonscale.llama_index.standardizer import SimilarityStandardizer

__all__ = ["ModalityBalancer", "SimilarityStandardizer"]
