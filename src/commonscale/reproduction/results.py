"""The runs in a folder, and which of them stands in a paper's cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commonscale.core.errors import FileFormatError
from commonscale.reproduction.selection import Sizes

NUMBERS = "numbers.json"
QUESTIONS = {"mmqa": {"text": 721, "image": 230}, "webqa": {"text": 2455, "image": 2511}}
"""How many questions of each kind the published files have, in the split that is evaluated."""

SCHEMA = 1


@dataclass(frozen=True)
class Run:
    """What one run found.

    Attributes:
        folder: where it is.
        numbers: the content of its ``numbers.json``.
    """

    folder: Path
    numbers: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        """``"mmqa"``, ``"webqa"`` or ``"mixbench"``."""
        return str(self.numbers["dataset"])

    @property
    def model(self) -> str:
        """The paper's name of the encoder, or the encoder's own."""
        return str(self.numbers["model"])

    @property
    def complete(self) -> bool:
        """Whether it is the paper's setting: the full pool and all questions."""
        return bool(self.numbers["sizes"] == asdict(Sizes()))

    @property
    def published_data(self) -> bool:
        """Whether it asked exactly as many questions as the published files have."""
        return self.dataset not in QUESTIONS or self.numbers["counts"]["evaluated"] == QUESTIONS[self.dataset]

    @property
    def size(self) -> int:
        """How many documents were searched, and questions asked; 0 for MixBench."""
        counts = self.numbers.get("counts", {"documents": {}, "evaluated": {}})
        return int(sum(counts["documents"].values()) + sum(counts["evaluated"].values()))

    def value(self, method: str, modality: str, figure: str) -> float | None:
        """Give a figure of a method for questions that need one modality, as a fraction; None if there is none."""
        found = self.numbers["methods"].get(method, {"means": {}})["means"].get(modality)
        return None if found is None else float(found[figure])


def read_runs(folder: Path) -> list[Run]:
    """Read all runs in a folder, by name.

    Raises:
        FileFormatError: if the numbers of one are damaged or from a newer version.
    """
    runs = []
    for path in sorted(folder.glob(f"*/{NUMBERS}")):
        try:
            numbers = json.loads(path.read_text("utf-8"))
            version = numbers["schema_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise FileFormatError(f"{path}: damaged ({error!r}); delete it and run the same command again") from error
        if version != SCHEMA:
            raise FileFormatError(f"{path}: has schema version {version!r}, this commonscale reads {SCHEMA}")
        runs.append(Run(path.parent, numbers))
    return runs


def stands_for(runs: Sequence[Run], dataset: str, model: str) -> Run | None:
    """Give the run whose numbers stand in a model's cells: the paper's setting if there is one, else the largest."""
    found = [run for run in runs if (run.dataset, run.model) == (dataset, model)]
    return max(found, key=lambda run: (run.complete, run.size), default=None)
