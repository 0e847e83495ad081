"""What the tests of the chat page serve: drawn pictures, passages, hostile documents, a fake answerer; a browser."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from commonscale.answering import Answerer, Request
from commonscale.app import Handlers, Library, Patience, build_app, build_server, open_library
from commonscale.core.errors import AnswererError
from commonscale.core.living import LivingCalibration
from commonscale.core.types import IMAGE, TEXT, Question
from commonscale.demo.corpus import ENCODER_FOLDER
from commonscale.demo.drawing import draw
from commonscale.demo.world import World, build_world
from commonscale.encoders import BatchedEncoder, load_encoder
from commonscale.index import Document, FaissIndex
from commonscale.index.opening import ENCODER, FOLDER
from commonscale.index.scale import write_scale

EVIL = (
    "two red evil cups <img src=x onerror=\"document.title='taken'\"> <script>document.title='taken'</script> "
    "![a](https://example.org/a.png) [b](javascript:document.title='taken') ${document.title='taken'} {{constructor}}"
)
EVIL_ID = "<img src=x onerror=\"document.title='taken'\">\"'/passage"
CHROMIUM = "COMMONSCALE_CHROMIUM"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
MILLISECONDS = 60_000
"""How long anything on a page may take: the machine may have much else to do."""


class FakeAnswerer:
    """Says what ``words`` makes of the question (a fake: it has no model), piece by piece.

    Attributes:
        gate: where set, waited for after the first piece, so that a test sees an answer that is not whole.
        error: where set, raised instead of the rest of the answer.
    """

    name = "fake:model"

    def __init__(self) -> None:
        self.words: Callable[[str], str] = lambda question: f"You asked **{question}** [1], as seen before [2]."
        self.gate: threading.Event | None = None
        self.error: Exception | None = None
        self.requests: list[Request] = []

    def stream(self, request: Request) -> Iterator[str]:
        self.requests.append(request)
        gate, error = self.gate, self.error
        for number, word in enumerate(self.words(request.question).split(" ")):
            if number == 1 and gate is not None and not gate.wait(300):
                raise AnswererError("the test never opened the gate")
            if number == 1 and error is not None:
                raise error
            yield word + " "

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]


def demo_encoder() -> BatchedEncoder:
    return load_encoder(str(ENCODER_FOLDER), device="cpu")


def write_index(folder: Path, encoder: BatchedEncoder, *, pictures: int = 12, passages: int = 30) -> World:
    """Index some of the drawn world, and documents that mean harm, under ``folder/index``."""
    world = build_world()
    (folder / "pictures").mkdir(parents=True)
    index = FaissIndex.create(folder / "index", encoder.dimension)
    index.set_note(ENCODER, str(ENCODER_FOLDER))
    index.set_note(FOLDER, str(folder / "pictures"))
    shown = []
    for entry in world.of(IMAGE)[:pictures]:
        path = folder / "pictures" / f"{entry.id}.png"
        draw(entry.scene).save(path)
        shown.append(Document(entry.documents[0], IMAGE, path=str(path)))
    written = [Document(key, TEXT, text=text) for key, text in list(world.passages.items())[:passages]]
    written.append(Document(EVIL_ID, TEXT, text=EVIL))
    seen = encoder.encode_images([document.path for document in shown])
    index.add(shown, seen, encoder_fingerprint=encoder.fingerprint)
    # The encoder reads the beginning only.
    read = encoder.encode_texts([document.text.partition(" <")[0] for document in written])
    index.add(written, read, encoder_fingerprint=encoder.fingerprint)
    # A document may claim any path; this one is outside of what was indexed.
    secret = folder / "secret.png"
    shutil.copy(shown[0].path, secret)  # type: ignore[arg-type]
    index.add([Document("claims/secret", IMAGE, path=str(secret))], encoder.encode_images([secret]))
    index.save()
    return world


def calibrate(folder: Path, encoder: BatchedEncoder, questions: list[str]) -> None:
    """Calibrate the index under ``folder/index``, as the command does."""
    index = FaissIndex.open(folder / "index")
    asked = [Question(t, v) for t, v in zip(questions, encoder.encode_questions(questions), strict=True)]
    living = LivingCalibration.fit(asked, index.sources(), method="standardized", provenance=index.provenance())
    write_scale(index, living)


@contextmanager
def served(
    library: Library,
    *,
    password: str | None = None,
    saving: bool = False,
    handlers: type[Handlers] = Handlers,
    parallel: int = 16,
    **patience: float,
) -> Iterator[str]:
    """Serve the page on a free loopback port; gives its address."""
    app = build_app(handlers(library, Patience(**patience), saving), password=password, parallel=parallel)
    listener = socket.create_server(("127.0.0.1", 0))
    server = build_server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            thread.join(0.05)
            assert thread.is_alive(), "the server did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def open_world(folder: Path, answerer: Answerer | None) -> Library:
    return open_library(folder / "index", answerer, device="cpu")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get(CHROMIUM) or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"there is no Chromium here: none of {names} is installed, and {CHROMIUM} names none")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Page:
    """The chat page in a browser of its own profile, which records what it fetches and what goes wrong."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.url = url
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        self.context.set_default_timeout(MILLISECONDS)
        self.tab = self.context.new_page()
        self.fetched: list[str] = []
        self.errors: list[str] = []
        self.tab.on("request", lambda request: self.fetched.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.tab.goto(url)
        self.tab.wait_for_selector("#question textarea")

    def ask(self, question: str) -> None:
        """Type a question, press Enter, and wait until the answer is whole or has failed."""
        self.begin(question)
        self.finished(question)

    def begin(self, question: str) -> None:
        self.tab.fill("#question textarea", question)
        self.tab.keyboard.press("Enter")

    def finished(self, question: str) -> None:
        self.tab.wait_for_function(
            "q => { const e = document.querySelector('#live .exchange'); return e && e.querySelector('.question')"
            ".textContent.includes(q) && !e.querySelector('[aria-busy]') }",
            arg=question,
        )
        self.tab.wait_for_selector("#send", state="visible")

    def words(self, selector: str) -> list[str]:
        return [text.strip() for text in self.tab.locator(selector).all_inner_texts()]

    def open_tab(self, name: str) -> None:
        self.tab.get_by_role("tab", name=name).click()

    def width_fits(self, *widths: int) -> bool:
        """Say whether nothing has to be scrolled sideways, at the width of the window or at each of some."""
        fits = []
        for width in widths or (None,):
            if width is not None:
                self.tab.set_viewport_size({"width": width, "height": 844})
            fits.append(self.tab.evaluate("document.documentElement.scrollWidth <= innerWidth"))
        return all(fits)

    def in_both_schemes(self, script: str) -> list[Any]:
        """Evaluate what gives a list, in light and in dark."""
        found = []
        for scheme in ("light", "dark"):
            self.tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            paper = self.tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (paper == "rgb(18, 20, 25)") == (scheme == "dark")
            found += self.tab.evaluate(script)
        return found

    def close(self) -> None:
        self.context.close()
