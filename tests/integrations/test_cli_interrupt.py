"""Ctrl-C in the middle of ``commonscale index``: a real signal to a real process."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("faiss")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("semantic_text_splitter")
pytest.importorskip("PIL")

from cli_world import Command
from commonscale.cli.interrupt import Interrupt
from commonscale.index import FaissIndex
from tiny_models import save_tiny_clip

PICTURES = 160  # five batches


@pytest.mark.skipif(sys.platform == "win32", reason="Windows delivers no SIGINT to a single child process")
def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    clip = save_tiny_clip(tmp_path / "clip")
    folder, out = tmp_path / "folder", tmp_path / "index"
    folder.mkdir()
    # Large noisy pictures: decoding a batch takes long enough for a signal to arrive before the next.
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "0.jpg")
    data = (folder / "0.jpg").read_bytes()
    for number in range(1, PICTURES):
        (folder / f"{number}.jpg").write_bytes(data)

    command = [sys.executable, "-m", "commonscale.cli", "index", folder, "--encoder", clip, "--out", out]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        told = b""
        while not re.search(rb" [1-9][0-9]*/160 ", told):
            told += process.stderr.read(1)
            assert process.poll() is None, told
        process.send_signal(signal.SIGINT)
        told += process.stderr.read()
    assert process.returncode == 130, told
    done = len(FaissIndex.open(out))
    assert 0 < done < PICTURES
    assert done % 32 == 0
    message = f"Run the same command again for the other {PICTURES - done}."
    assert message in told.decode()
    assert "Traceback" not in told.decode()

    outcome = Command(capsys)("index", folder, "--out", out)
    assert outcome.code == 0
    assert outcome.files == (f"Files: {PICTURES - done} added, 0 changed, 0 removed, {done} unchanged, 0 unreadable.")
    assert len(FaissIndex.open(out)) == PICTURES


@pytest.fixture
def listening() -> Iterator[None]:
    """Python's own handler, which a shell that runs the tests in the background has told to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_the_first_signal_asks_and_the_second_acts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        assert not interrupt
        signal.raise_signal(signal.SIGINT)
        assert interrupt
        assert interrupt.exit_code == 130
        assert signal.getsignal(signal.SIGINT) is before
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
