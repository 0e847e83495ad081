"""How much calibration adds to the batch searches that it consists of; settings and goals are in README.md.

python benchmarks/calibration.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import faiss
from rich.console import Console
from timing import Comparison, Scenario, measure, report
from world import Settings, Vectors, make_world

from commonscale import JointSearch, Question
from commonscale.index import Document, FaissIndex

OURS = "JointSearch.calibrate over FaissIndex"
RAW = "faiss search() of both indexes, top 1"


def main() -> None:
    """Run the scenario and report the ratio."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description="calibration overhead, as a ratio")
    parser.add_argument("--questions", type=int, default=defaults.calibration, help="calibration questions")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write settings and outcomes here")
    arguments = parser.parse_args()

    settings = Settings(calibration=arguments.questions)
    world = make_world(settings, 0)
    with tempfile.TemporaryDirectory() as folder:
        index = FaissIndex.create(Path(folder) / "index", settings.dimension)
        raw = []
        for modality, vectors in (("text", world.texts), ("image", world.images)):
            index.add([Document(f"{modality}:{i}", modality) for i in range(len(vectors))], vectors)
            raw.append(_flat(vectors))
        outcomes = []
        for threads in sorted({1, faiss.omp_get_max_threads()}):
            faiss.omp_set_num_threads(threads)
            scenario = _scenario(index, raw, world.calibration, arguments.repetitions, threads)
            outcomes.extend(measure(scenario))
        report(settings, outcomes, Console(width=200), arguments.json)


def _flat(vectors: Vectors) -> faiss.IndexFlatIP:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _scenario(
    index: FaissIndex, raw: list[faiss.IndexFlatIP], asked: Vectors, repetitions: int, threads: int
) -> Scenario:
    questions = [Question(vector=row) for row in asked]
    search = JointSearch(index.sources(), provenance=index.provenance())
    name = f"FAISS on {threads} thread{'s' * (threads > 1)}, {len(asked)} questions"
    return Scenario(
        name,
        {
            OURS: lambda _: search.calibrate(questions, method="standardized"),
            RAW: lambda _: [flat.search(asked, 1) for flat in raw],
        },
        [Comparison(OURS, RAW, 1.2)],
        repetitions,
    )


if __name__ == "__main__":
    main()
