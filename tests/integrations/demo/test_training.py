from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")
pytest.importorskip("faiss")

from commonscale.demo import build_world  # noqa: E402
from commonscale.demo import train_answerer as training  # noqa: E402
from commonscale.demo.drawing import draw  # noqa: E402
from commonscale.demo.facts import KINDS, UNKNOWN  # noqa: E402
from commonscale.demo.reading import Reader  # noqa: E402
from commonscale.demo.scenes import random_scene  # noqa: E402
from commonscale.demo.train_answer_batches import IGNORED, Asked, pack  # noqa: E402
from commonscale.demo.train_answer_card import ROWS, tasks_for  # noqa: E402
from commonscale.demo.train_answer_questions import HERE, ask_about  # noqa: E402
from commonscale.demo.train_answerer import Phase, Settings, scenes_for, train  # noqa: E402

TINY = Settings(
    scenes=6,
    width=32,
    inner=32,
    layers=1,
    heads=1,
    vision_layers=1,
    phases=(Phase(3, 0, 2, 2, 3, 1e-3, 0.3, (1,), 2), Phase(2, 2, 2, 1, 2, 1e-3, 0.1, (1, 2), 1)),
)


def test_training_measuring_and_the_demo_share_no_scene() -> None:
    trained, held_out = ({scene.key for scene in scenes} for scenes in scenes_for(Settings()))
    assert (len(trained), len(held_out)) == (Settings().scenes, training.HELD_OUT)
    assert not trained & held_out
    assert not (trained | held_out) & build_world().keys


def test_a_few_steps_give_a_checkpoint_with_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "HELD_OUT", 3)
    monkeypatch.setattr(training, "SAVED_EVERY", 2)
    threads = torch.get_num_threads()
    try:
        train(tmp_path, TINY)
    finally:
        torch.set_num_threads(threads)
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "## Measured on 3 held-out scenes" in card
    assert all(f"| {row} | " in card for row in ROWS)
    assert "| phase | 1 | 2 |" in card
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["LlavaForConditionalGeneration"]
    scene = random_scene(random.Random(0))
    assert len(Reader(tmp_path).read(draw(scene), ["What color is the cup?", "xyzzy"])) == 2


def test_questions_share_an_item_but_do_not_see_each_other() -> None:
    packed = pack(
        [[1, 9, 9], [1, 8]],
        [[Asked([5, 6], [7, 2], True), Asked([5], [3, 2], False)], [Asked([5, 6, 6], [4, 2], True)]],
        padding=0,
    )
    assert packed.ids.tolist() == [[1, 9, 9, 5, 6, 7, 2, 5, 3, 2], [1, 8, 5, 6, 6, 4, 2, 0, 0, 0]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 0, 0, 0]]
    ignored = IGNORED
    assert packed.answers[0].tolist() == [ignored] * 4 + [7, 2] + [ignored] + [3, 2] + [ignored]
    assert packed.questions[0].tolist() == [ignored] * 3 + [6] + [ignored] * 6
    seen = packed.seen[0, 0]
    assert seen[6].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert seen[9].nonzero().flatten().tolist() == [0, 1, 2, 7, 8, 9]
    assert bool(packed.seen.any(dim=-1).all())


def test_training_questions_are_of_every_kind_and_some_have_no_answer() -> None:
    rng = random.Random(0)
    scenes = [random_scene(rng) for _ in range(200)]
    answers = Counter(ask_about(scene, scenes, rng)[1] for scene in scenes for _ in range(20))
    assert 0.15 < answers[UNKNOWN] / answers.total() < 0.25
    more = Counter(ask_about(s, scenes, rng, mismatched=0.5)[1] for s in scenes for _ in range(20))
    assert 0.4 < more[UNKNOWN] / more.total() < 0.55
    assert answers[HERE] > 0
    assert {"purple", "three", "fish", "boats", "below", "left"} <= set(answers)


def test_the_card_measures_one_question_of_each_row() -> None:
    rng = random.Random(0)
    scene, other = random_scene(rng), random_scene(rng)
    tasks = tasks_for(scene, other, rng)
    assert [task.row for task in tasks] == list(ROWS)
    assert [task.answer for task in tasks[len(KINDS) :]] == [HERE, UNKNOWN, UNKNOWN]
