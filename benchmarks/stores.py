"""Our retrievers against the frameworks' own, over every vector store that can run here; settings are in README.md.

FAISS and the stores in memory are measured by retrieval.py, with ``--texts 5000 --images 5000``.

python benchmarks/stores.py
python benchmarks/stores.py --only qdrant --json stores.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from timing import Outcome, Scenario, measure, report
from world import Settings, World, make_world

TESTS = Path(__file__).resolve().parents[1] / "tests"


@dataclass(frozen=True)
class Throughput:
    """How fast a retriever was calibrated.

    Attributes:
        scenario: over which stores.
        questions: on how many questions.
        ours: questions a second, searched in batches.
        one_by_one: questions a second, asked of the framework's own stores one after the other.
    """

    scenario: str
    questions: int
    ours: float
    one_by_one: float


def main() -> None:
    """Run every kind of store and report."""
    parser = argparse.ArgumentParser(description="retrieval over vector stores, as ratios")
    parser.add_argument("--texts", type=int, default=5_000)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0, help="fewer repetitions where they would take longer")
    parser.add_argument("--calibration", type=int, default=1_000)
    parser.add_argument("--only", default="", help="run only kinds whose id contains this")
    parser.add_argument("--skip", default="fake,disk", help="leave out kinds whose name contains one of these")
    parser.add_argument("--json", type=Path, help="write settings and outcomes here")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    # The stores are made as the tests make them.
    sys.path.insert(0, str(TESTS))

    settings = Settings(texts=arguments.texts, images=arguments.images, calibration=arguments.calibration)
    world = make_world(settings, arguments.repetitions)
    console = Console(width=200)
    outcomes: list[Outcome] = []
    rates: list[Throughput] = []
    skipped = [word for word in arguments.skip.split(",") if word]
    for kind in importlib.import_module("store_suite.registry").KINDS:
        if arguments.only not in kind.id or any(word in kind.name for word in skipped):
            continue
        if kind.name.startswith(("simple", "in-memory", "index", "faiss")):
            continue
        reason = _why_not(kind)
        if reason:
            console.print(f"{kind.id}: not run: {reason}")
            continue
        console.print(f"{kind.id} ...")
        with _stores(kind, world, settings) as stores:
            found, rate = _run(kind, stores, world, settings, arguments.seconds)
        outcomes += found
        rates.append(rate)
        console.print(f"  {rate.ours:,.0f} questions a second calibrated, {rate.one_by_one:,.0f} one by one")
    report(settings, outcomes, console, None)
    if arguments.json is not None:
        content = {
            "settings": asdict(settings),
            "outcomes": [asdict(o) for o in outcomes],
            "calibration": [asdict(rate) for rate in rates],
        }
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _why_not(kind: Any) -> str | None:
    for package in kind.packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            return str(error)
    reason: str | None = kind.why_not()
    return reason


@contextmanager
def _stores(kind: Any, world: World, settings: Settings) -> Iterator[dict[str, Any]]:
    """Fill one store of each modality."""
    corpus: Any = importlib.import_module("store_suite.corpus")
    places: Any = importlib.import_module("store_suite.kind")
    registry: Any = importlib.import_module("store_suite.registry")
    started: dict[str, Any] = {}

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def server(name: str) -> Any:
            if name not in started:
                started[name] = stack.enter_context(registry.SERVERS[name]())
            return started[name]

        made = {}
        for modality, vectors in (("text", world.texts), ("image", world.images)):
            home = Path(folder) / modality
            home.mkdir()
            place = places.Place(home, settings.dimension, server)
            items = [
                corpus.Item(
                    str(uuid.uuid5(uuid.NAMESPACE_URL, f"{modality}/{row}")),
                    modality,
                    f"{modality} {row}",
                    {"modality": modality, "parity": row % 2, "place": row},
                    vector,
                )
                for row, vector in enumerate(vectors.tolist())
            ]
            made[modality] = (kind.make(place, items), items)
            stack.callback(place.close)
        yield made


def _run(
    kind: Any, stores: dict[str, Any], world: World, settings: Settings, seconds: float
) -> tuple[list[Outcome], Throughput]:
    asked = [f"question {number}" for number in range(len(world.questions))]
    banked = [f"calibration question {number}" for number in range(len(world.calibration))]
    vectors = dict(zip([*asked, *banked], [*world.questions.tolist(), *world.calibration.tolist()], strict=True))
    build = _langchain if kind.framework == "langchain" else _llama_index
    ours, contenders, comparisons, single = build(stores, vectors, asked, settings.k)
    ours.calibrate(banked[:32], method="standardized")
    start = time.perf_counter()
    contenders[comparisons[0].ours](0)
    once = time.perf_counter() - start
    count = max(8, min(len(banked), int(seconds / max(once, 1e-4) / 2)))
    start = time.perf_counter()
    ours.calibrate(banked[:count], method="standardized")
    rate = count / (time.perf_counter() - start)
    few = max(8, min(count, 100))
    start = time.perf_counter()
    for question in banked[:few]:
        single(question)
    slow = few / (time.perf_counter() - start)
    repetitions = int(np.clip(seconds / max(once, 1e-4) / (len(contenders) + 1), 5, len(asked)))
    outcomes = measure(Scenario(kind.id, contenders, comparisons, repetitions))
    return outcomes, Throughput(kind.id, count, rate, slow)


Built = tuple[Any, dict[str, Callable[[int], object]], Sequence[Any], Callable[[str], object]]


def _llama_index(stores: dict[str, Any], vectors: dict[str, Any], asked: list[str], k: int) -> Built:
    import llama_index_stores as theirs
    from llama_index.core import VectorStoreIndex
    from llama_index.core.indices import MultiModalVectorStoreIndex
    from llama_index.core.indices.multi_modal import MultiModalVectorIndexRetriever
    from llama_index.core.retrievers import VectorIndexRetriever
    from llama_index.core.vector_stores import VectorStoreQuery

    from commonscale.llama_index import StandardizedMultiModalRetriever

    model = theirs.LookUp(vectors)
    text_store, image_store = stores["text"][0], stores["image"][0]
    singles = [VectorStoreIndex.from_vector_store(store, embed_model=model) for store in (text_store, image_store)]
    both = MultiModalVectorStoreIndex.from_vector_store(
        text_store, embed_model=model, image_vector_store=image_store, image_embed_model=model
    )
    retrievers = [VectorIndexRetriever(index, similarity_top_k=k) for index in singles]
    joint = MultiModalVectorIndexRetriever(both, similarity_top_k=k, image_similarity_top_k=k)
    ours = StandardizedMultiModalRetriever(
        text_store=text_store, image_store=image_store, embed_model=model, similarity_top_k=k
    )

    def query(question: str, top_k: int) -> None:
        embedding = model.get_query_embedding(question)
        for store in (text_store, image_store):
            store.query(VectorStoreQuery(query_embedding=embedding, query_str=question, similarity_top_k=top_k))

    contenders: dict[str, Callable[[int], object]] = {
        theirs.OURS: lambda number: ours.retrieve(asked[number]),
        theirs.STORES: lambda number: query(asked[number], k),
        theirs.RETRIEVERS: lambda number: [retriever.retrieve(asked[number]) for retriever in retrievers],
        theirs.THEIRS: lambda number: joint.retrieve(asked[number]),
    }
    return ours, contenders, theirs.COMPARISONS, lambda question: query(question, 1)


def _langchain(stores: dict[str, Any], vectors: dict[str, Any], asked: list[str], k: int) -> Built:
    import langchain_stores as theirs
    from langchain_classic.retrievers import EnsembleRetriever
    from timing import Comparison

    from commonscale.langchain import StandardizedMultiModalRetriever

    plain = [store for store, _ in stores.values()]
    for store in plain:
        store.embeddings.vectors.update(vectors)
    retrievers = [store.as_retriever(search_kwargs={"k": k}) for store in plain]
    ensemble = EnsembleRetriever(retrievers=retrievers, weights=[0.5, 0.5])
    ours = StandardizedMultiModalRetriever(
        text_store=plain[0], image_store=plain[1], embeddings=theirs.LookUp(vectors), k=k
    )
    contenders: dict[str, Callable[[int], object]] = {
        theirs.OURS: lambda number: ours.invoke(asked[number]),
        theirs.RETRIEVERS: lambda number: [retriever.invoke(asked[number]) for retriever in retrievers],
        theirs.THEIRS: lambda number: ensemble.invoke(asked[number]),
    }
    comparisons = [Comparison(theirs.OURS, theirs.RETRIEVERS, 1.1), Comparison(theirs.OURS, theirs.THEIRS, 1.0)]
    return (
        ours,
        contenders,
        comparisons,
        lambda question: [store.similarity_search_by_vector(vectors[question], k=1) for store in plain],
    )


if __name__ == "__main__":
    main()
