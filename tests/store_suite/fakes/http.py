"""A small loopback HTTP server of JSON routes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


class Rejected(Exception):  # noqa: N818 - a reply, not an error of the fake
    """The server refuses a request."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.reason = reason


@dataclass
class Request:
    """One request as the server saw it."""

    method: str
    path: str
    parameters: dict[str, str]
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    def only(self, *names: str) -> None:
        """Refuse other parameters than these."""
        if unknown := set(self.parameters) - set(names):
            raise Rejected(400, "illegal_argument_exception", f"unrecognized parameter: {sorted(unknown)}")


Fault = Callable[[Request], Any]
"""Answers a request in place of the server: a (status, reply) pair; None to let it pass."""


class Routes:
    """What a fake answers; subclasses add handlers by (method, pattern)."""

    headers: dict[str, str] = {}  # noqa: RUF012 - overridden, never changed
    content_type = "application/json"

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self.url = ""

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        """Methods, patterns of paths, handlers of (request, *groups) -> (status, reply)."""
        raise NotImplementedError

    def rejection(self, rejected: Rejected) -> Any:
        """The body of a refusal."""
        cause = {"type": rejected.kind, "reason": rejected.reason}
        return {"error": {"root_cause": [cause], **cause}, "status": rejected.status}

    def answer(self, request: Request) -> tuple[int, Any]:
        """Answer one request."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if (reply := fault(request)) is not None:
                    return reply
            try:
                for method, pattern, handler in self.routes():
                    match = re.fullmatch(pattern, request.path)
                    if match and method == request.method:
                        return handler(request, *match.groups())
                raise Rejected(405, "illegal_argument_exception", f"no handler for {request.method} {request.path}")
            except Rejected as rejected:
                return rejected.status, self.rejection(rejected)


def parsed(raw: bytes, path: str) -> Any:
    """Read a body: JSON, or lines of JSON for the paths that take them."""
    if not raw:
        return None
    if path.endswith(("_bulk", "_msearch")):
        return [json.loads(line) for line in raw.decode().splitlines() if line]
    return json.loads(raw)


@contextmanager
def serve(routes: Routes) -> Iterator[str]:
    """Serve on a free port of the loopback interface until the end; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Replies are written in two parts, which would wait for each other's acknowledgement.
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
            request = Request(self.command, unquote(parts.path), parameters, parsed(raw, parts.path))
            request.headers = {name.lower(): value for name, value in self.headers.items()}
            status, reply = routes.answer(request)
            body = b"" if reply is None else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", routes.content_type)
            self.send_header("content-length", str(len(body)))
            for name, value in routes.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815 - names of the standard library

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    routes.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield routes.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
