"""How much the retrievers add to the searches of their stores; settings and goals are in README.md.

python benchmarks/retrieval.py
python benchmarks/retrieval.py --only LangChain --json retrieval.json
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import faiss
import langchain_stores
import llama_index_stores
from rich.console import Console
from timing import Outcome, measure, report
from world import Settings, make_world


def main() -> None:
    """Run every scenario and report the ratios."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description="retrieval overhead, as ratios")
    parser.add_argument("--texts", type=int, default=defaults.texts)
    parser.add_argument("--images", type=int, default=defaults.images)
    parser.add_argument("--fast", type=int, default=200, help="repetitions over stores that answer in milliseconds")
    parser.add_argument("--slow", type=int, default=9, help="repetitions over stores that take about a second")
    parser.add_argument("--threads", type=int, default=1, help="threads of FAISS")
    parser.add_argument("--one-core", action="store_true", help="pin everything to one core (Linux)")
    parser.add_argument("--method", default=defaults.method, help="how our retrievers are calibrated")
    parser.add_argument("--only", default="", help="run only scenarios whose name contains this")
    parser.add_argument("--json", type=Path, help="write settings and outcomes here")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)

    if arguments.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    settings = Settings(texts=arguments.texts, images=arguments.images, method=arguments.method)
    faiss.omp_set_num_threads(arguments.threads)
    console = Console(width=200)
    world = make_world(settings, max(arguments.fast, arguments.slow))
    outcomes: list[Outcome] = []
    for module in (llama_index_stores, langchain_stores):
        for name, build in module.scenarios(world, settings, arguments.fast, arguments.slow).items():
            if arguments.only in name:
                console.print(f"{name} ...")
                outcomes.extend(measure(build(name)))
    report(settings, outcomes, console, arguments.json)


if __name__ == "__main__":
    main()
