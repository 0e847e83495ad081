"""A loopback server for Embed models, in the way of Cohere and of Amazon Bedrock; ``script`` makes it fail."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from embed_fake.rules import Call, RefusedError, of_bedrock, of_cohere


@dataclass
class Answer:
    """What the server says in place of vectors; ``edit`` changes what it would have said."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    edit: Callable[[dict[str, Any]], Any] | None = None
    hang: bool = False


@dataclass
class EmbedServer:
    """The running server: where it is, what it was asked, and what it is to answer next."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    script: deque[Answer | None] = field(default_factory=deque)
    always: Answer | None = None
    most_at_once: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    meet: threading.Barrier | None = None
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Forget what was asked and what was to be answered, for the next test."""
        self.calls, self.script, self.always, self.meet, self.most_at_once = [], deque(), None, None, 0

    @property
    def texts(self) -> list[list[str]]:
        """The texts of every request, in the order of their coming."""
        return [call.body["texts"] for call in self.calls]


@dataclass
class FakeTime:
    """A clock that only moves when somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, and remember how much."""
        self.slept.append(seconds)
        self.now += seconds

    def govern(self, encoder: Any) -> None:
        """Make an encoder's calls live by this clock."""
        encoder.calls.sleep = encoder.calls.pace.sleep = self.sleep
        encoder.calls.pace.clock = self.clock


@contextmanager
def serve_embeddings() -> Iterator[EmbedServer]:
    """Run the server on a free loopback port until the block ends."""
    state = EmbedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            call = Call(self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(content))
            with state._lock:
                state.calls.append(call)
                answer = state.script.popleft() if state.script else state.always
                state._now += 1
                state.most_at_once = max(state.most_at_once, state._now)
            try:
                if state.meet is not None:
                    state.meet.wait(20)
                self._reply(*_answered(call, answer, state))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has given up
            finally:
                with state._lock:
                    state._now -= 1

        def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answered(call: Call, answer: Answer | None, state: EmbedServer) -> tuple[int, dict[str, str], bytes]:
    if answer is not None and answer.hang:
        state.released.wait(20)
    if answer is None or (answer.body is None and answer.edit is None and answer.status == 200):
        return _honest(call, None)
    if answer.edit is not None:
        return _honest(call, answer.edit)
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    return answer.status, answer.headers, body


def _honest(call: Call, edit: Callable[[dict[str, Any]], Any] | None) -> tuple[int, dict[str, str], bytes]:
    at_cohere = call.path == "/v2/embed"
    try:
        found = of_cohere(call) if at_cohere else of_bedrock(call)
    except RefusedError as error:
        kind = {400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException"}
        headers = {} if at_cohere else {"x-amzn-ErrorType": kind.get(error.status, "ValidationException")}
        return error.status, headers, json.dumps({"message": str(error)}).encode()
    headers = {} if at_cohere else {"X-Amzn-Bedrock-Input-Token-Count": "7"}
    return 200, headers, json.dumps(edit(found) if edit else found).encode()
