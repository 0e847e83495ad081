"""Embedding on a local Ray cluster of two workers, one of which dies on the way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray.data")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("PIL")

import ray

from commonscale import Question, load_encoder
from commonscale.core.errors import EncoderError, EncoderMismatchError, EncoderUnavailableError
from commonscale.core.questions import QuestionBank
from commonscale.demo import build_world
from commonscale.embedding import Shards, ShardSource, embed_corpus, open_shards, ray_embed
from commonscale.embedding.embedder import SLICE
from commonscale.embedding.output import STOP
from demo_folder import ENCODER, write_world
from embedding_world import everything, noting_encoder, write_corpus

# Ray Data sets deprecated settings of its own when it is first used.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:ray.data.context")

TESTS = str(Path(__file__).parents[2])


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that runs already, whose workers find the helpers of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", TESTS)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def alone(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """The same corpus, embedded in this process."""
    out = tmp_path_factory.mktemp("alone")
    embed_corpus(world, out, ENCODER, partition_size=60)
    return open_shards(out)


def dying_encoder(flag: Path) -> Callable[[], Any]:
    def make() -> Any:
        from embedding_world import DiesOnce

        return DiesOnce(load_encoder(ENCODER, batch_size=4), flag)

    return make


def statistics(shards: Shards) -> dict[str, tuple[float, float]]:
    encoder, questions = load_encoder(ENCODER), list(build_world().calibration_questions)
    asked = [Question(q, vector) for q, vector in zip(questions, encoder.encode_questions(questions), strict=True)]
    bank = QuestionBank.fit(asked, ShardSource.all_of(shards))
    return {modality: (entry.mean, entry.std) for modality, entry in bank.statistics().items()}


def test_two_workers_give_what_one_process_gives_though_one_dies(
    world: Path, alone: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    flag, out = tmp_path / "died", tmp_path / "shards"
    (world / "bad.png").write_bytes(b"no picture")
    try:
        result = embed_corpus(world, out, dying_encoder(flag), partition_size=60, workers=2, ray_address="local")
    finally:
        (world / "bad.png").unlink()
    assert not ray.is_initialized(), "a cluster that was started is stopped"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert flag.exists(), "a worker was killed"
    assert result.complete
    assert result.written == result.parts == len(alone.manifest.parts)
    assert result.counts == alone.counts
    assert [failure.id for failure in result.failures] == ["bad.png"]
    together = open_shards(out)
    assert together.fingerprint == alone.fingerprint
    mine = {key: row for part in together.batches() for key, row in zip(part.ids, part.vectors, strict=True)}
    theirs = {key: row for part in alone.batches() for key, row in zip(part.ids, part.vectors, strict=True)}
    assert mine.keys() == theirs.keys()
    assert max(np.abs(mine[key] - theirs[key]).max() for key in mine) < 1e-6
    one, two = statistics(alone), statistics(together)
    assert one.keys() == two.keys() == {"image", "text"}
    assert all(two[m] == pytest.approx(one[m], abs=1e-6) for m in one)


@pytest.mark.usefixtures("cluster")
def test_what_is_missing_is_done_and_errors_of_workers_are_ours(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 20, 30)
    one, two = tmp_path / "one", tmp_path / "two"
    embed_corpus(corpus, one, noting_encoder(), partition_size=10)
    advanced = embed_corpus(corpus, two, quick_encoder(), partition_size=10, workers=2, num_cpus=1)
    assert (advanced.complete, advanced.items) == (True, 50)
    assert everything(open_shards(two)) == everything(open_shards(one))
    kept = sorted(two.glob("part-*"))
    stamps = [path.stat().st_mtime_ns for path in kept[2:]]
    for path in kept[:2]:
        path.unlink()
    (corpus / "new.txt").write_text("text 999")
    result = embed_corpus(corpus, two, quick_encoder(), workers=2, num_cpus=1)
    assert (result.complete, result.counts) == (True, {"image": 20, "text": 31})
    assert result.written in (2, 3)  # the new file may belong to a part that was missing
    unchanged = [path.stat().st_mtime_ns for path in kept[2:] if path.exists()]
    assert set(unchanged) <= set(stamps)
    assert len(unchanged) >= len(stamps) - 1
    with pytest.raises(EncoderMismatchError, match=r"another one \(other-2\)"):
        embed_corpus(corpus, two, quick_encoder("other-2"), workers=2, num_cpus=1)
    (corpus / "newer.txt").write_text("text 1000")
    with pytest.raises(EncoderUnavailableError, match="the key is not valid"):
        embed_corpus(corpus, two, quick_encoder(trouble="the key is not valid"), workers=2, num_cpus=1)
    assert ray.is_initialized(), "a cluster of somebody else is left running"


@pytest.mark.usefixtures("cluster")
def test_workers_that_are_to_stop_end_after_the_batches_in_hand(tmp_path: Path) -> None:
    corpus, out, log = write_corpus(tmp_path / "corpus", 0, 60), tmp_path / "out", tmp_path / "log"

    def make() -> Any:
        from embedding_world import noting_encoder

        def note(names: list[str]) -> None:
            with log.open("a") as stream:
                stream.writelines(f"{name}\n" for name in names)
            for _ in range(3000):  # until the command has told of it: a minute at most
                if (out / STOP).exists():
                    return
                threading.Event().wait(0.02)

        return noting_encoder(note, batch_size=2)

    result = embed_corpus(
        corpus, out, make, partition_size=100, workers=1, ray_address="local", num_cpus=1, stop=log.exists
    )
    assert (result.complete, result.written) == (False, 0)
    assert len(log.read_text().splitlines()) == SLICE * 2, "no more than the encoder had in hand"
    assert sorted(path.name for path in out.iterdir()) == ["embedding.json", "embedding.lock"]
    assert embed_corpus(corpus, out, noting_encoder()).counts == {"text": 60}


@pytest.mark.usefixtures("cluster")
def test_what_kills_every_worker_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_embed, "TRIES", 2)
    corpus, out = write_corpus(tmp_path / "corpus", 1, 1), tmp_path / "out"
    with pytest.raises(EncoderError, match=r"2 workers died while they embedded part-.*run the same again"):
        embed_corpus(corpus, out, quick_encoder(trouble="kill"), workers=1, ray_address="local", num_cpus=1)
    assert embed_corpus(corpus, out, noting_encoder()).counts == {"image": 1, "text": 1}
    assert not list(out.glob(".*")), "nothing is left of the tries"


def quick_encoder(fingerprint: str = "noting-1", trouble: str = "") -> Callable[[], Any]:
    def make() -> Any:
        from commonscale.core.errors import EncoderUnavailableError
        from embedding_world import noting_encoder

        def note(names: list[str]) -> None:
            if trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if trouble:
                raise EncoderUnavailableError(trouble)

        return noting_encoder(note, fingerprint=fingerprint)

    return make
