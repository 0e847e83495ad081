"""Servers on loopback that fail: they refuse, or accept and never answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

REPLY = b'{"result": {"exists": false}, "status": "ok", "time": 0.0}'
"""What a Qdrant server says of a collection that is not there yet."""


def closed_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Loopback:
    """A fake server: answers every request in the same way until it falls silent, and then never.

    Attributes:
        port: where it listens.
        asked: how many requests it has got since it fell silent.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.asked = 0
        self._silent = False
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def fall_silent(self) -> None:
        """From now on, accept connections and requests, and never answer."""
        self._silent = True

    def stop(self) -> None:
        """Close everything: who waits for an answer sees the connection lost, who comes later is refused."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while connection.recv(65536):
                if self._silent:
                    self.asked += 1
                    continue
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(REPLY)}\r\n\r\n"
                connection.sendall(head.encode() + REPLY)


@contextmanager
def serve_loopback() -> Iterator[Loopback]:
    """Run such a server."""
    server = Loopback()
    try:
        yield server
    finally:
        server.stop()
