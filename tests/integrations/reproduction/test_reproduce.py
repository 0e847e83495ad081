from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("ir_measures")
pytest.importorskip("scipy")

import reproduction_world
from commonscale.core.errors import InvalidInputError, MissingDataError
from commonscale.evaluation import Benchmark, evaluate_benchmark
from commonscale.reproduction import Sizes, reproduce
from commonscale.reproduction.arrays import read_arrays
from dataset_files import (
    image_fact,
    text_fact,
    univl_question,
    webqa_question,
    write_jsonl,
    write_univl_dr,
    write_webqa,
)
from reproduction_world import WorldEncoder, png, write_world

pytestmark = pytest.mark.filterwarnings("ignore::commonscale.core.errors.FewQuestionsWarning")


def run(data: Path, out: Path, encoder: WorldEncoder | None = None, **settings: Any) -> tuple[Path, dict[str, Any]]:
    sizes = Sizes(**settings)
    found = reproduce("mmqa", data, out, encoder or WorldEncoder(), encoder_name="org/world", sizes=sizes)
    numbers: dict[str, Any] = json.loads((found / "numbers.json").read_text("utf-8"))
    return found, numbers


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    data = write_world(tmp_path_factory.mktemp("data"))
    return run(data, tmp_path_factory.mktemp("out"))


def test_the_benchmark_file_gives_the_same_figures(world: tuple[Path, dict[str, Any]]) -> None:
    folder, numbers = world
    again = evaluate_benchmark(Benchmark.load(folder / "benchmark.npz"), numbers["methods"])
    assert list(again) == list(numbers["methods"])
    for method, by_modality in again.items():
        for modality, figures in by_modality.items():
            found = numbers["methods"][method]["means"][modality]
            assert {name: found[name] for name in figures} == pytest.approx(figures), method
            assert found["hit@20"] == found["recall@20"], "one relevant document each"


def test_the_gap_and_its_removal_are_seen(world: tuple[Path, dict[str, Any]]) -> None:
    methods = world[1]["methods"]
    image = {name: found["means"].get("image", {}).get("recall@20") for name, found in methods.items()}
    assert image["cosine"] == 0.0
    assert image["standardized"] > 0.5
    assert methods["cosine"]["images"]["image"] == 0.0
    assert methods["standardized"]["images"]["image"] > 0.2
    difference = world[1]["intervals"]["chance"]["image"]
    assert difference["low"] <= difference["difference"] <= difference["high"]


def test_counts_and_settings_are_stated(world: tuple[Path, dict[str, Any]]) -> None:
    numbers = world[1]
    assert numbers["counts"] == {
        "documents": {"text": 60, "image": 60},
        "evaluated": {"text": 30, "image": 30},
        "calibration": {"text": 30, "image": 30},
        "labeled_pairs": 60,
    }
    assert (numbers["setting"], numbers["captions"], numbers["model"]) == ("full pool", "not used", "world")
    assert numbers["fingerprint"] == "world:1"


def test_tables_5_and_6_from_first_principles(world: tuple[Path, dict[str, Any]]) -> None:
    from scipy.stats import skew

    folder, numbers = world
    arrays = read_arrays(folder / "benchmark.npz")
    bank = arrays["calibration_questions"].astype(np.float64)
    ours = {m: (bank @ arrays[key].T).max(axis=1) for m, key in (("text", "texts"), ("image", "images"))}
    for modality, best in ours.items():
        found = numbers["table6"]["standardized"][modality]
        assert (found["mean"], found["std"], found["count"]) == pytest.approx((best.mean(), best.std(), 60), abs=1e-6)
    for modality, parity in (("text", 0), ("image", 1)):
        pairs = [
            reproduction_world.vector(n, "question") @ reproduction_world.vector(n, modality) for n in range(60, 120)
        ]
        labeled = np.array(pairs[parity::2])
        found = numbers["table6"]["labeled"][modality]
        assert (found["mean"], found["std"], found["count"]) == pytest.approx(
            (labeled.mean(), labeled.std(), 30), abs=1e-6
        )
    asked = bank[1::2]  # questions 61, 63, ... need pictures
    for modality, key in (("text", "texts"), ("image", "images")):
        skewness = skew(asked @ arrays[key].T, axis=1).mean()
        assert numbers["table5"][modality] == pytest.approx(skewness, abs=1e-4)
    shown = read_arrays(folder / "gap.npz")
    scores = {
        m: (asked @ arrays[key].T - ours[m].mean()) / ours[m].std()
        for m, key in (("text", "texts"), ("image", "images"))
    }
    expected = scores["image"].mean(axis=1) - scores["text"].mean(axis=1)
    assert shown["difference"] == pytest.approx(expected, abs=1e-4)
    assert len(shown["cosines_image"]) == len(shown["plane_questions"]) == len(shown["plane_images"]) == 30


def test_a_second_run_embeds_nothing(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data", 20, zipped=True)
    folder, first = run(data, tmp_path / "out")
    encoder = WorldEncoder()
    kept = {path: path.stat().st_mtime_ns for path in (folder / "methods").iterdir()}
    assert run(data, tmp_path / "out", encoder)[1] == first
    assert (encoder.seen, encoder.pictures) == ([], 0)
    assert {path: path.stat().st_mtime_ns for path in (folder / "methods").iterdir()} == kept, "nothing is scored again"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = write_world(tmp_path / "data", 20), tmp_path / "out"
    # The calls are: questions, training questions, texts, pictures, a block each. The process dies at the fourth.
    program = [sys.executable, reproduction_world.__file__, str(data), str(out), "4"]
    assert subprocess.run(program, check=False, timeout=300).returncode == -signal.SIGKILL
    encoder = WorldEncoder()
    resumed = reproduce("mmqa", data, out, encoder, encoder_name="world")
    assert (encoder.seen, encoder.pictures) == ([], 20), "only the pictures were missing"
    whole = reproduce("mmqa", data, tmp_path / "whole", WorldEncoder(), encoder_name="world")
    assert (resumed / "numbers.json").read_text() == (whole / "numbers.json").read_text()
    for name, array in read_arrays(resumed / "benchmark.npz").items():
        assert np.array_equal(array, read_arrays(whole / "benchmark.npz")[name])


def test_changed_data_are_embedded_and_scored_again(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data", 20)
    _, before = run(data, tmp_path / "out")
    write_jsonl(data / "MMQA_texts.jsonl.gz", [{"id": f"t{n}", "text": f"Now of {n + 100}."} for n in range(0, 40, 2)])
    encoder = WorldEncoder()
    _, after = run(data, tmp_path / "out", encoder)
    assert (len(encoder.seen), encoder.pictures) == (20, 0)
    assert (
        after["methods"]["cosine"]["means"]["text"]["recall@1"]
        < before["methods"]["cosine"]["means"]["text"]["recall@1"]
    )


def test_changed_labels_are_scored_again(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data", 20)
    _, before = run(data, tmp_path / "out")
    path = data / "MMQA_dev.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'{"doc_id": "t0"', b'{"doc_id": "t38"')))
    encoder = WorldEncoder()
    _, after = run(data, tmp_path / "out", encoder)
    assert encoder.seen == []
    ceilings = [numbers["methods"]["text-only"]["means"]["text"]["recall@1"] for numbers in (before, after)]
    assert ceilings[1] < ceilings[0]


def test_the_context_pool_holds_what_is_shown_beside_questions(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data", 20)
    _, numbers = run(data, tmp_path / "out", pool="context")
    # Questions on 0..19: each has its own document and the next of its kind.
    assert numbers["counts"]["documents"] == {"text": 11, "image": 11}
    assert numbers["setting"] == "context pool"
    assert numbers["counts"]["labeled_pairs"] == 20, "labels outside of the pool are embedded for their statistics"
    assert "labeled" in numbers["methods"]
    labeled = read_arrays(tmp_path / "out" / "mmqa-world-context" / "benchmark.npz")
    assert "calibration_relevant_index" not in labeled, "the file cannot name documents that it has not"


def test_less_of_a_data_set(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data", 20)
    folder, numbers = run(data, tmp_path / "out", limit=4, documents=3)
    counts = numbers["counts"]
    assert counts["evaluated"] == counts["calibration"] == {"text": 4, "image": 4}
    assert counts["documents"] == {"text": 7, "image": 7}
    assert "at most 3 further documents" in numbers["setting"]
    assert folder.name == "mmqa-world-limit4-documents3"
    folder, numbers = run(data, tmp_path / "out", training=5)
    assert numbers["counts"]["evaluated"] == {"text": 10, "image": 10}
    assert numbers["counts"]["calibration"] == {"text": 5, "image": 5}
    assert (folder.name, "5 training questions" in numbers["setting"]) == ("mmqa-world-training5", True)


def test_what_cannot_be_embedded_is_left_out_and_told_of(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data", 20)
    texts = [{"id": f"t{n}", "text": f"On {n}." if n != 2 else " "} for n in range(0, 40, 2)]
    write_jsonl(data / "MMQA_texts.jsonl.gz", texts)
    pictures = data / "final_dataset_images"
    (pictures / "i1.png").unlink()
    (pictures / "i3.png").write_bytes(b"no picture")
    whole = png(21, 64)
    (pictures / "i21.png").write_bytes(whole[: len(whole) // 2])
    _, numbers = run(data, tmp_path / "out")
    assert numbers["counts"]["documents"] == {"text": 19, "image": 18}
    notes = " ".join(numbers["notes"])
    assert "1 text documents could not be embedded and are not in the pool, such as t2: no words in it" in notes
    assert "2 image documents could not be embedded" in notes
    assert "holds no picture 'i1.png'" in notes
    assert "1 picture files are cut short" in notes
    assert "3 questions were left out because no relevant document" in notes
    assert numbers["methods"]["cosine"]["questions"] == {"text": 9, "image": 8}
    (pictures / "i1.png").write_bytes(png(1))
    encoder = WorldEncoder()
    assert run(data, tmp_path / "out", encoder)[1] == numbers, "what failed is not tried again by itself"
    assert encoder.pictures == 0
    reproduce("mmqa", data, tmp_path / "out", encoder, encoder_name="org/world", retry_failed=True)
    again = json.loads((tmp_path / "out" / "mmqa-world" / "numbers.json").read_text())
    assert again["counts"]["documents"] == {"text": 19, "image": 19}
    assert again["methods"]["cosine"]["questions"] == {"text": 9, "image": 9}


def test_training_questions_that_are_evaluated_do_not_calibrate(tmp_path: Path) -> None:
    data = write_world(tmp_path / "data", 20)
    lines = gzip.decompress((data / "MMQA_dev.jsonl.gz").read_bytes()).splitlines()
    train = (data / "MMQA_train.jsonl.gz").read_bytes()
    (data / "MMQA_train.jsonl.gz").write_bytes(train + gzip.compress(lines[0].replace(b"What of", b"WHAT OF") + b"\n"))
    _, numbers = run(data, tmp_path / "out")
    assert sum(numbers["counts"]["calibration"].values()) == 20
    assert "1 training questions were left out because an evaluated question has the same words." in numbers["notes"]


def webqa_facts(numbers: range) -> tuple[dict[str, str], dict[int, bytes]]:
    return {f"s_{n}": f"The passage on {n}." for n in numbers}, {30_000_000 + n: png(n) for n in numbers}


def test_webqa_as_univl_dr_prepared_it(tmp_path: Path) -> None:
    texts, pictures = webqa_facts(range(30))
    asked = {
        split: [
            univl_question(f"{split}{n}", f"{split} {n}?", txt_posFacts=[f"s_{n}"])
            if n % 2
            else univl_question(f"{split}{n}", f"{split} {n}?", img_posFacts=[str(30_000_000 + n)])
            for n in numbers
        ]
        for split, numbers in (("train", range(15)), ("test", range(15, 30)))
    }
    data = write_univl_dr(tmp_path, asked, texts, dict.fromkeys(pictures, "A caption"), pictures)
    folder = reproduce("webqa", data, tmp_path / "out", WorldEncoder(), encoder_name="world")
    numbers = json.loads((folder / "numbers.json").read_text())
    assert numbers["counts"]["documents"] == {"text": 30, "image": 30}
    assert numbers["counts"]["evaluated"] == {"text": 8, "image": 7}
    assert numbers["methods"]["text-only"]["means"]["text"]["recall@1"] > 0.5


def test_webqa_in_its_official_files(tmp_path: Path) -> None:
    texts, pictures = webqa_facts(range(20))
    entries: dict[str, Any] = {}
    for n in range(20):
        split = "val" if n < 10 else "train"
        text, image = [text_fact(f"s_{n}", texts[f"s_{n}"])], [image_fact(30_000_000 + n, "A caption")]
        facts = (
            {"txt_posFacts": text, "img_negFacts": image} if n % 2 else {"img_posFacts": image, "txt_negFacts": text}
        )
        entries[f"q{n}"] = webqa_question(split, f"q{n}", f"What of {n}?", "text" if n % 2 else "color", **facts)
    # UniVL-DR takes 5,000 of the training questions away, so there must be more of them.
    entries |= {
        f"x{n}": webqa_question("train", f"x{n}", f"On {n}?", "text", txt_posFacts=[text_fact("s_1", "x 1")])
        for n in range(5000)
    }
    data = write_webqa(tmp_path, entries, {}, pictures)
    folder = reproduce("webqa", data, tmp_path / "out", WorldEncoder(), encoder_name="world", sizes=Sizes(limit=10))
    numbers = json.loads((folder / "numbers.json").read_text())
    assert numbers["counts"]["documents"] == {"text": 20, "image": 20}
    assert numbers["counts"]["evaluated"] == {"text": 5, "image": 5}
    assert numbers["counts"]["calibration"]["text"] == 10


def test_wrong_use_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no data set 'coco' to reproduce; there are mmqa, webqa, mixbench"):
        reproduce("coco", tmp_path, tmp_path / "out", WorldEncoder(), encoder_name="world")
    with pytest.raises(InvalidInputError, match="pool must be 'full' or 'context', got 'half'"):
        Sizes(pool="half")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="limit must be a whole number of at least 1, got 0"):
        Sizes(limit=0)
    with pytest.raises(MissingDataError, match=r"MMQA_dev\.jsonl\.gz"):
        reproduce("mmqa", tmp_path, tmp_path / "out", WorldEncoder(), encoder_name="world")
    data = write_world(tmp_path / "data", 4)
    write_jsonl(data / "MMQA_train.jsonl.gz", [])
    with pytest.raises(InvalidInputError, match=r"4 questions to evaluate \(dev\) and 0 to calibrate with \(train\)"):
        reproduce("mmqa", data, tmp_path / "out", WorldEncoder(), encoder_name="world")
