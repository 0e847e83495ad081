"""``kill -9`` in the middle of a run: a real process, a real signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("filelock")

import embedding_world
from commonscale.embedding import embed_corpus, open_shards
from embedding_world import everything, noting_encoder, write_corpus

PICTURES, TEXTS = 40, 60


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_run_loses_only_what_was_in_progress(tmp_path: Path) -> None:
    folder, out = write_corpus(tmp_path / "corpus", PICTURES, TEXTS), tmp_path / "shards"
    program = [sys.executable, embedding_world.__file__, str(folder), str(out)]
    with subprocess.Popen(
        [*program, str(tmp_path / "first.log"), "--step"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # The program waits after every batch, so it is in the middle of a partition when it is killed.
        while len(list(out.glob("part-*"))) < 3:
            assert process.stdout.readline() == b"batch\n"
            process.stdin.write(b"\n")
            process.stdin.flush()
        assert process.stdout.readline() == b"batch\n"
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    written = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("part-*")}
    partial = open_shards(out, partial=True)
    assert len(written) >= 3
    assert len(partial.missing) >= 2
    kept = {_name(row[0], row[2]) for row in everything(partial)}

    subprocess.run([*program, str(tmp_path / "second.log")], check=True, timeout=120)
    seen = (tmp_path / "second.log").read_text().splitlines()
    total = {f"picture {n}" for n in range(PICTURES)} | {f"text {n}" for n in range(TEXTS)}
    assert len(seen) == len(set(seen))
    assert set(seen) == total - kept, "the second run embeds what the first has not written, and nothing else"
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("part-*")}
    assert {name: after[name] for name in written} == written
    lost = set((tmp_path / "first.log").read_text().splitlines()) - kept
    assert 0 < len(lost) <= max(header.items for header in open_shards(out).headers.values())

    embed_corpus(folder, tmp_path / "whole", noting_encoder(), partition_size=10)
    assert everything(open_shards(out)) == everything(open_shards(tmp_path / "whole"))
    assert sorted(after) == sorted(path.name for path in (tmp_path / "whole").glob("part-*"))
    assert not list(out.glob(".*"))


def _name(key: str, text: str) -> str:
    return text or f"picture {int(key[-7:-4])}"
