"""The demonstration from end to end: draw, index, calibrate, measure, ask, and show it all on a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from commonscale.core.living import LivingCalibration
from commonscale.core.questions import QuestionBank
from commonscale.core.search import JointSearch
from commonscale.core.types import IMAGE, TEXT, Modality, Question, Ranking
from commonscale.demo.answering import READ
from commonscale.demo.answers import RAW, STANDARDIZED, AnswerTable, answer_all, fact_questions
from commonscale.demo.corpus import ENCODER_FOLDER, build_index, draw_pictures
from commonscale.demo.measure import METHODS, measure_gap, rank_all, score
from commonscale.demo.page import write_page
from commonscale.demo.reading import load_reader
from commonscale.demo.report import print_answers, print_gap, print_question, print_scores
from commonscale.demo.results import DemoResult, Example
from commonscale.demo.world import World, build_world
from commonscale.encoders import Encoder, load_encoder
from commonscale.index.scale import write_scale

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 3
"""How many questions of each kind the page shows: the first ones of the world, whatever comes of them."""

DEPTH_SHOWN = 5


def run(out: Path, *, console: Console) -> DemoResult:
    """Run the demonstration.

    Args:
        out: folder for the pictures, the index with its calibration, and the page.
        console: where to report.

    Returns:
        What was measured; equal numbers on every run.

    Raises:
        EncoderMismatchError: if ``out`` holds the index of another version's encoder.
    """
    world = build_world()
    console.print(f"Drawing {len(world.of(IMAGE))} scenes; {len(world.of(TEXT))} others are only written about.")
    pictures = draw_pictures(world, out / "pictures")
    encoder = load_encoder(str(ENCODER_FOLDER))
    index = build_index(world, pictures, encoder, out / "index")
    counts = {modality: len(index.documents(modality)) for modality in (TEXT, IMAGE)}
    console.print(f"Indexed {counts[IMAGE]} pictures and {counts[TEXT]} passages.")

    search = JointSearch(index.sources(), provenance=index.provenance())
    asked = _embed(encoder, world.calibration_questions)
    bank = QuestionBank.fit(asked, index.sources())
    living = LivingCalibration.fit(asked, index.sources(), provenance=index.provenance())
    search.calibration = calibration = write_scale(index, living)
    console.print(f"Calibrated on {calibration.questions} unlabeled questions about other scenes.\n")

    vectors = {m: index.vectors([document.id for document in index.documents(m)]) for m in counts}
    gap = measure_gap(search, bank, vectors)
    rankings = rank_all(search, _embed(encoder, [entry.question for entry in world.entries]), world.entries)
    table = score(world, rankings)
    answers = _answers(world, search, encoder, pictures)
    examples = _examples(world, rankings)
    page = out / "demo.html"
    result = DemoResult(table, gap, calibration, examples, counts, answers, page)
    write_page(page, world, result)
    _report(console, world, result)
    return result


def _embed(encoder: Encoder, questions: list[str] | tuple[str, ...]) -> list[Question]:
    vectors = encoder.encode_questions(list(questions))
    return [Question(text, vector) for text, vector in zip(questions, vectors, strict=True)]


def _answers(world: World, search: JointSearch, encoder: Encoder, pictures: Mapping[str, str]) -> AnswerTable:
    """Answer questions about facts from the right item, and from what both rankings find."""
    from PIL import Image

    questions = fact_questions(world)
    asked = _embed(encoder, [each.question for each in questions])
    rankings = {
        RAW: search.search_batch(asked, READ, raw=True),
        STANDARDIZED: search.search_batch(asked, READ),
    }
    passages = world.passages

    def item(key: str) -> str | Image.Image:
        return passages[key] if key in passages else Image.open(pictures[key]).convert("RGB")

    return answer_all(load_reader(), questions, rankings, item)


def _examples(world: World, rankings: Mapping[str, list[Ranking]]) -> tuple[Example, ...]:
    before, after, _ = (rankings[method] for method in METHODS)
    chosen = [index for m in (IMAGE, TEXT) for index in _first(world, m)]
    return tuple(
        Example(world.entries[i], Ranking(before[i][:DEPTH_SHOWN]), Ranking(after[i][:DEPTH_SHOWN])) for i in chosen
    )


def _first(world: World, modality: Modality) -> list[int]:
    return [index for index, entry in enumerate(world.entries) if entry.modality == modality][:SHOWN]


def _report(console: Console, world: World, result: DemoResult) -> None:
    print_gap(console, result.gap)
    print_scores(console, result.table)
    print_answers(console, result.answers)
    for modality in (IMAGE, TEXT):
        print_question(console, world, next(e for e in result.examples if e.entry.modality == modality))
    console.print(f"The same as a page, with the pictures: {result.page}")
