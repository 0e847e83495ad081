"""``commonscale app``, run as a user would run it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from commonscale.cli.app_command import Address, _listening
from commonscale.core.errors import InvalidInputError


def run(index: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "commonscale", "app", str(index), "--port", "0", "--device", "cpu", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def said_until(process: subprocess.Popen[str], words: str) -> list[str]:
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"never said {words!r}: {lines}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_it_serves_until_it_is_interrupted_and_warns_of_strangers(world: Path) -> None:
    process = run(world / "index", "--host", "0.0.0.0")
    try:
        lines = said_until(process, "The page is at")
        assert "no language model is named" in "".join(lines)
        assert "there is no password" in "".join(lines)
        port = re.search(r":(\d+) ", lines[-1])
        assert port is not None
        assert "commonscale" in httpx.get(f"http://127.0.0.1:{port[1]}/", timeout=60).text.lower()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "Stopped.\n"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_password_comes_from_the_environment(world: Path) -> None:
    process = run(world / "index", "--host", "0.0.0.0", COMMONSCALE_APP_PASSWORD="a secret")
    try:
        lines = said_until(process, "The page is at")
        assert "there is no password" not in "".join(lines)
        port = re.search(r":(\d+) ", lines[-1])
        assert port is not None
        assert httpx.get(f"http://127.0.0.1:{port[1]}/config", timeout=60).status_code == 401
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_told_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port {port}.*--port"):
            _listening(Address("127.0.0.1", port))
