"""The papers' experiments, run on their own data: tables and figures with the published numbers beside ours."""

from commonscale.reproduction.published import METHODS, MIXBENCH_MODELS, MODELS, model_of, published
from commonscale.reproduction.report import write_reproduction
from commonscale.reproduction.run import DATASETS, check_data, reproduce
from commonscale.reproduction.selection import Pool, Selection, Sizes

__all__ = [
    "DATASETS",
    "METHODS",
    "MIXBENCH_MODELS",
    "MODELS",
    "Pool",
    "Selection",
    "Sizes",
    "check_data",
    "model_of",
    "published",
    "reproduce",
    "write_reproduction",
]
