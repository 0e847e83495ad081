"""What transformers reports while another library loads a model through it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from commonscale.encoders.checkpoint import quiet_loading

# transformers 5 writes a table with one row per weight; 4 a sentence with a list.
_ROW = re.compile(r"^([^|\n]+?)\s*\|\s*(?:\x1b\[[\d;]*m)*MISSING", re.MULTILINE)
_SENTENCE = "newly initialized: ["


class _Missing(logging.Filter):
    """Notes the weights that a checkpoint lacks, and lets nothing pass that the user would not have seen."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level
        self.weights: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        report = record.getMessage()
        self.weights += [name.strip() for name in _ROW.findall(report)]
        if _SENTENCE in report:
            self.weights += re.findall(r"'([^']+)'", report.partition(_SENTENCE)[2])
        return record.levelno >= self.level


@contextmanager
def missing_weights() -> Iterator[list[str]]:
    """Give a list that fills with the weights that a model of transformers, loaded inside, got from nowhere.

    transformers fills them with random numbers, and tells a library in between only by a warning in its log.
    """
    logger = logging.getLogger("transformers.modeling_utils")
    own_level = logger.level
    missing = _Missing(logger.getEffectiveLevel())
    logger.addFilter(missing)
    if missing.level > logging.WARNING:
        logger.setLevel(logging.WARNING)
    try:
        with quiet_loading():
            yield missing.weights
    finally:
        logger.setLevel(own_level)
        logger.removeFilter(missing)
