"""Document compressors: the common scale and quotas for the documents of any retriever."""

from __future__ import annotations

from commonscale.langchain.balancer import ModalityBalancer
from commonscale.langchain.standardizer import SimilarityStandardizer

__all__ = ["ModalityBalancer", "SimilarityStandardizer"]
