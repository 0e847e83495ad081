"""What keeping a calibration alive costs, how its drift monitor errs, and what shrinkage of strata brings.

python benchmarks/living.py cost
python benchmarks/living.py drift
python benchmarks/living.py strata BENCHMARK.npz ...
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from timing import Comparison, Scenario, measure
from world import Settings, Vectors, make_world

from commonscale import Candidates, LivingCalibration, Question
from commonscale.core.dense import nearest, unit_rows
from commonscale.core.drift_windows import FALSE_ALARMS, WINDOWS, DriftTest, DriftWindows
from commonscale.core.strata import shrunken_statistics

Matrix: TypeAlias = npt.NDArray[np.floating[Any]]
Rows: TypeAlias = npt.NDArray[np.intp]

_LEFT = 10  # questions of a topic to compare with, at least

BANK = 1000
SHIFTS = (0.25, 0.5, 1.0)


class MatrixSource:
    """A matrix in memory, searched exactly, whose first rows can be dropped.

    Attributes:
        first: the first row that is there.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.first = 0
        self._vectors = vectors

    def search(self, questions: Sequence[Question], k: int) -> list[Candidates]:
        """Find the nearest rows."""
        asked = np.stack([question.vector_for("text") for question in questions])
        rows, cosines = nearest(self._vectors[self.first :], asked, k)
        return [
            Candidates([str(self.first + i) for i in own], c) for own, c in zip(rows.tolist(), cosines, strict=True)
        ]

    def scan(self, size: int = 2048) -> Iterator[tuple[list[str], Vectors]]:
        """Read all rows."""
        for start in range(self.first, len(self._vectors), size):
            rows = self._vectors[start : start + size]
            yield [str(row) for row in range(start, start + len(rows))], rows


def cost(console: Console, repetitions: int) -> None:
    """Time additions beside the matrix product alone, at the same size."""
    settings = Settings(texts=20_000, images=1, calibration=BANK)
    world = make_world(settings, 0)
    held, new = world.texts[:10_000], world.texts[10_000:]
    questions = [Question(vector=row) for row in world.calibration]
    table = Table(title=f"one added document, in microseconds: bank {BANK}, {settings.dimension} dimensions")
    for heading in ("method", "added at once", "ours", "product alone", "ratio"):
        table.add_column(heading, justify="right")
    for method in ("standardized", "centered+standardized", "chance"):
        living = LivingCalibration.fit(questions, {"text": MatrixSource(held)}, method=method)
        # The chance level multiplies in float64, so that what is later subtracted is what was added.
        kind: type[np.floating[Any]] = np.float64 if method == "chance" else np.float32
        bank, rows = world.calibration.astype(kind), new.astype(kind)
        for count in (1, 100, 1000):
            number = iter(range(10**9))

            def add(
                _: int, count: int = count, living: LivingCalibration = living, number: Iterator[int] = number
            ) -> None:
                start = next(number) * count
                ids = [f"{count}-{start + i}" for i in range(count)]
                living.added("text", ids, new[np.arange(start, start + count) % len(new)])

            def multiply(run: int, count: int = count, rows: Matrix = rows, bank: Matrix = bank) -> object:
                return rows[np.arange(run, run + count) % len(rows)] @ bank.T

            contenders: dict[str, Callable[[int], object]] = {"ours": add, "product": multiply}
            runs = repetitions if count > 1 else 10 * repetitions
            (outcome,) = measure(Scenario(method, contenders, [Comparison("ours", "product", np.inf)], runs))
            per = 1000 / count
            table.add_row(
                *(method, str(count), f"{outcome.our_ms * per:.1f}", f"{outcome.their_ms * per:.1f}"),
                f"{outcome.ratio:.2f} [{outcome.lower:.2f}, {outcome.upper:.2f}]",
            )
    console.print(table)


def others(console: Console, runs: int) -> None:
    """Time what is not an addition: one removal, a bank with new questions, and a new fit."""
    world = make_world(Settings(texts=10_000, images=1, calibration=2 * BANK), 0)
    questions = [Question(vector=row) for row in world.calibration]
    table = Table(title="milliseconds, median: bank 1000, 512 dimensions, 10,000 documents")
    for heading in ("method", "one document removed", "50 questions into the bank", "refit"):
        table.add_column(heading, justify="right")
    for method in ("standardized", "centered+standardized", "chance"):
        source = MatrixSource(world.texts)
        living = LivingCalibration.fit(questions[:BANK], {"text": source}, method=method, join_every=50, forgetting=800)
        newer = iter(questions[BANK:])

        def remove(run: int, living: LivingCalibration = living, source: MatrixSource = source) -> None:
            source.first = run + 1
            living.removed("text", [str(run)], world.texts[run : run + 1])

        def join(_: int, living: LivingCalibration = living, newer: Iterator[Question] = newer) -> None:
            living.join([next(newer) for _ in range(50)])
            living.flush()

        def refit(_: int, living: LivingCalibration = living) -> None:
            living.refit()

        works: tuple[Callable[[int], None], ...] = (remove, join, refit)
        table.add_row(
            method, *(f"{1e3 * np.median([_seconds(work, run) for run in range(runs)]):.1f}" for work in works)
        )
    console.print(table)


def _seconds(work: Callable[[int], None], run: int) -> float:
    start = time.perf_counter()
    work(run)
    return time.perf_counter() - start


def drift(console: Console, streams: int, length: int) -> None:
    """Count false alarms, and the questions until a shift is found, of banks of several sizes."""
    rng = np.random.default_rng(0)
    table = Table(title=f"false alarms per 1,000 questions in two modalities, over {streams} streams of {length:,}")
    for heading in ("bank", "allowed", "counted", "standard error"):
        table.add_column(heading, justify="right")
    for bank in (200, BANK):
        tests = [test for _ in range(streams) for test in _stream(rng, bank, length, 0.0)]
        for allowed in (FALSE_ALARMS, 0.1):
            alarms = sum(test.p_value <= test.level * allowed / 0.1 for test in tests)
            thousands = streams * length / 1000
            error = max(alarms, 1) ** 0.5 / thousands
            table.add_row(str(bank), f"{allowed:g}", f"{alarms / thousands:.4f}", f"{error:.4f}")
    console.print(table)
    table = Table(title=f"questions until a shift of one modality is found ({FALSE_ALARMS:g} false alarms allowed)")
    for heading in ("bank", "shift in standard deviations", "median", "90th percentile", "not within 10,000"):
        table.add_column(heading, justify="right")
    for bank in (200, BANK):
        for shift in SHIFTS:
            delays = [_delay(rng, bank, shift) for _ in range(streams)]
            missed = sum(np.isinf(delay) for delay in delays)
            middle, late = (float(np.quantile(delays, q, method="higher")) for q in (0.5, 0.9))
            table.add_row(str(bank), f"{shift:g}", f"{middle:,.0f}", f"{late:,.0f}", f"{missed} of {streams}")
    console.print(table)


def _stream(rng: np.random.Generator, bank: int, length: int, shift: float) -> list[DriftTest]:
    """Test a stream against a bank; all draws are normal, and the two modalities' correlate by one half."""
    windows = DriftWindows(WINDOWS, 0.1)
    both = np.linalg.cholesky(np.array([[1.0, 0.5], [0.5, 1.0]]))
    known, came = (both @ rng.standard_normal((2, count)) for count in (bank, length))
    reference = {"text": known[0], "image": known[1]}
    return windows.add({"text": came[0] + shift, "image": came[1]}, reference)


def _delay(rng: np.random.Generator, bank: int, shift: float) -> float:
    """Count questions from a shift, at a random place, to the end of the window that notices it."""
    windows = DriftWindows(WINDOWS, FALSE_ALARMS)
    reference = {"text": rng.standard_normal(bank), "image": rng.standard_normal(bank)}
    windows.add({m: rng.standard_normal(int(rng.integers(WINDOWS[-1]))) for m in reference}, reference)
    step = WINDOWS[0]
    for seen in range(step, 10_001, step):
        came = {"text": rng.standard_normal(step) + shift, "image": rng.standard_normal(step)}
        if any(test.drifted for test in windows.add(came, reference)):
            return seen
    return np.inf


def strata(console: Console, files: Sequence[Path], draws: int) -> None:
    """Compare statistics of few questions of a topic with those of all of them."""
    table = Table(
        title="root mean square error of a topic's mean best cosine, in standard deviations over all questions"
    )
    for heading in ("benchmark", "modality", "questions per topic", "own mean", "mean of all", "shrunken"):
        table.add_column(heading, justify="right")
    rng = np.random.default_rng(0)
    for file in files:
        with np.load(file, allow_pickle=False) as arrays:
            questions, documents = unit_rows(arrays["calibration_questions"]), (arrays["texts"], arrays["images"])
        topics = _topics(questions, 8, rng)
        for modality, vectors in zip(("text", "image"), documents, strict=True):
            best = (questions @ unit_rows(vectors).T).max(axis=1).astype(np.float64)
            for count in (3, 10, 30):
                errors = np.mean([_errors(rng, best, topics, count) for _ in range(draws)], axis=0)
                table.add_row(file.stem, modality, str(count), *(f"{e:.3f}" for e in np.sqrt(errors) / best.std()))
    console.print(table)


def _errors(rng: np.random.Generator, best: Matrix, topics: Rows, count: int) -> Matrix:
    """Give the mean squared errors of the three guesses, against the questions of each topic that were not drawn."""
    shuffled = {key: rng.permutation(np.flatnonzero(topics == key)) for key in np.unique(topics)}
    rows = np.concatenate([members[:count] for members in shuffled.values()])
    found = shrunken_statistics(best[rows], [str(key) for key in topics[rows]])
    errors = []
    for key, members in shuffled.items():
        if len(members) >= count + _LEFT:
            guesses = np.array([best[members[:count]].mean(), best[rows].mean(), found[str(key)].mean])
            errors.append((guesses - best[members[count:]].mean()) ** 2)
    mean: Matrix = np.mean(errors, axis=0)
    return mean


def _topics(questions: Vectors, count: int, rng: np.random.Generator) -> Rows:
    """Group questions by k-means of their vectors."""
    centers = questions[rng.choice(len(questions), count, replace=False)]
    topics: Rows = np.zeros(len(questions), dtype=np.intp)
    for _ in range(20):
        topics = (questions @ centers.T).argmax(axis=1)
        centers = unit_rows(
            np.stack([questions[topics == i].mean(axis=0) if (topics == i).any() else centers[i] for i in range(count)])
        )
    return topics


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="living calibrations: cost, drift, strata")
    parser.add_argument("what", choices=["cost", "drift", "strata"])
    parser.add_argument("files", nargs="*", type=Path, help="benchmarks of embeddings, for strata")
    parser.add_argument("--repetitions", type=int, default=30, help="runs of each contender, for cost")
    parser.add_argument("--streams", type=int, default=100, help="streams, for drift")
    parser.add_argument("--length", type=int, default=10_000, help="questions of a stream, for drift")
    parser.add_argument("--draws", type=int, default=200, help="samples of questions, for strata")
    arguments = parser.parse_args()
    console = Console(width=140)
    if arguments.what == "cost":
        cost(console, arguments.repetitions)
        others(console, 7)
    elif arguments.what == "drift":
        drift(console, arguments.streams, arguments.length)
    else:
        strata(console, arguments.files, arguments.draws)


if __name__ == "__main__":
    main()
