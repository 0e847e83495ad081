"""The chat page: from click to the first word of the answer, and twenty users at once for a minute.

python benchmarks/app.py DIR [--questions 40] [--users 20] [--seconds 60] [--llm demo]

DIR is what ``commonscale demo`` wrote; the page is served by ``commonscale app`` in a process of its own and answers
with the demonstration's own small model. The first number is taken in Chromium, within the page: from the click on
"Ask" to the moment at which the first word of the answer is in the document. The users are HTTP clients that speak as
the page does; each asks the next question as soon as the last one is answered, and looks in all that it is sent for
the words of others.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console

from commonscale.demo.world import build_world

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
CLICK = """() => new Promise(done => {
  const before = document.querySelectorAll('#thread .exchange, #live .exchange').length;
  let begun = 0;
  const look = new MutationObserver(() => {
    const all = document.querySelectorAll('#thread .exchange, #live .exchange').length;
    const words = document.querySelector('#live .prose');
    if (all > before && words && words.textContent.trim()) { look.disconnect(); done(performance.now() - begun); }
  });
  look.observe(document.body, {childList: true, subtree: true});
  begun = performance.now();
  document.querySelector('#send').click();
})"""
DONE = "() => { const a = document.querySelector('#live .answer'); return a && !a.hasAttribute('aria-busy'); }"
CONTROLS = [None, 10, False, 0, 30, 0, 30]  # session, documents, raw, least and most of both kinds
SIGN = re.compile(r"visitor (\d+) asks")


@dataclass
class Load:
    """What the users saw.

    Attributes:
        first: seconds to the first word of each answer.
        whole: seconds to its end.
        errors: what went wrong.
        strangers: words of other users.
    """

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


@contextmanager
def page(directory: Path, llm: str) -> Iterator[tuple[str, int]]:
    """Serve the page; gives its address and the id of its process."""
    command = [sys.executable, "-m", "commonscale", "app", str(directory), "--port", "0", "--llm", llm]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = None
        for line in process.stderr or ():
            if address := re.search(r"http://\S+", line):
                break
        if address is None:
            raise SystemExit("the page did not start")
        # Read to the end, or the page would wait for somebody to read what it says.
        threading.Thread(target=process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
        yield address[0], process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def clicks(url: str, questions: list[str]) -> list[float]:
    """Measure milliseconds from click to first word, one question after the other."""
    from playwright.sync_api import sync_playwright

    names = (os.environ.get("COMMONSCALE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, (shutil.which(name) for name in names if name)), None)
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        tab = browser.new_page()
        tab.goto(url)
        for question in questions:
            tab.fill("#question textarea", question)
            tab.wait_for_selector("#send", state="visible")
            taken.append(float(tab.evaluate(CLICK)))
            tab.wait_for_function(DONE)
        browser.close()
    return taken


async def ask(client: httpx.AsyncClient, function: int, user: int, question: str, load: Load) -> None:
    """Ask as the page does, and read the answer to its end."""
    session = f"user{user}"
    body = {"data": [question, *CONTROLS], "fn_index": function, "session_hash": session}
    begun, first = time.perf_counter(), None
    (await client.post("/gradio_api/queue/join", json=body)).raise_for_status()
    async with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        async for line in stream.aiter_lines():
            load.strangers += [found for found in SIGN.findall(line) if int(found) != user]
            if first is None and 'class=\\"prose\\"' in line:
                first = time.perf_counter() - begun
                load.first.append(first)
            if 'class=\\"error\\"' in line or '"success":false' in line or '"queue_full"' in line:
                load.errors.append(line[:300])
            if "process_completed" in line:
                load.whole.append(time.perf_counter() - begun)
                if first is None:
                    load.errors.append(f"no answer: {line[:300]}")
                return
    load.errors.append("the stream broke off")


async def crowd(url: str, users: int, seconds: float, questions: list[str]) -> Load:
    """Let users ask at once until the time is over; questions that are under way are finished."""
    load = Load()
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        config = (await client.get("/config")).json()
        function = next(one["id"] for one in config["dependencies"] if one["api_name"] == "ask")
        until = time.perf_counter() + seconds

        async def one(user: int) -> None:
            for question in itertools.cycle(questions[user:] + questions[:user]):
                if time.perf_counter() > until:
                    return
                try:
                    await ask(client, function, user, f"{question} visitor {user} asks", load)
                except httpx.HTTPError as error:
                    load.errors.append(repr(error))

        await asyncio.gather(*(one(user) for user in range(users)))
    return load


def memory(process: int) -> float | None:
    """Give the memory of a process in MB, where the system tells it in a file."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return None if found is None else int(found[1]) / 1000


def spread(values: list[float]) -> dict[str, float]:
    """Give median and 95th percentile."""
    return {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3)}


def main() -> None:
    """Measure, and print one object of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--llm", default="demo")
    arguments = parser.parse_args()
    console = Console()
    index = arguments.directory / "index" if (arguments.directory / "index").is_dir() else arguments.directory
    questions = [entry.question for entry in build_world().entries]
    result: dict[str, Any] = {}
    with page(index, arguments.llm) as (url, process):
        taken = clicks(url, questions[: arguments.questions + 1])[1:]  # the first one loads the model
        result["click to first word, ms"] = spread(taken) | {"questions": len(taken)}
        before = memory(process)
        load = asyncio.run(crowd(url, arguments.users, arguments.seconds, questions))
        result[f"{arguments.users} users, {arguments.seconds:.0f} s"] = {
            "answers": len(load.whole),
            "first word, s": spread(load.first),
            "whole answer, s": spread(load.whole),
            "errors": [len(load.errors), *load.errors[:5]],
            "words of other users": len(load.strangers),
            "memory before and after, MB": [before, memory(process)],
        }
        console.print_json(json.dumps(result))


if __name__ == "__main__":
    main()
