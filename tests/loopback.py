"""Small servers on loopback that record what they are sent, and a fence that keeps tests on this machine."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = Callable[[str, dict[str, Any]], tuple[str, bytes]]
"""From a request's path and JSON body to the content type and body of the answer."""

HERE = ("127.0.0.1", "localhost", "::1")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@contextmanager
def serve_json(reply: Reply) -> Iterator[str]:
    """Answer POST requests on a free loopback port until the block ends; gives the server's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            kind, body = reply(self.path, json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            # A client that kept the connection would leave it open when its event loop ends.
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test output clean."""

    with running(Handler) as address:
        yield address


@contextmanager
def serve_file(content: bytes, kind: str) -> Iterator[tuple[str, list[str]]]:
    """Give the same file to every GET; gives the server's address and the list of who asked (User-Agent)."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["User-Agent"])
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test output clean."""

    with running(Handler) as address:
        yield address, asked


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection and every look-up of a name that would leave this machine."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connected(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in HERE:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    def looked_up(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (*HERE, None) and not _is_number(name):  # a number is not asked for anywhere
            raise AssertionError(f"a test tried to look up {host!r}")
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", connected)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def events(chunks: list[tuple[str, dict[str, Any]]]) -> bytes:
    """Write server-sent events, each with its name if it has one."""
    named = [(f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n" for name, data in chunks]
    return "".join(named).encode()


def pieces(answer: str) -> list[str]:
    """Split an answer into words that give it when they are joined."""
    first, *rest = answer.split(" ")
    return [first, *(f" {word}" for word in rest)]
