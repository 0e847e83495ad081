"""What stands before the page: only what it needs may be asked for, and browsers are told to fetch nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Gradio brings more: uploads, a proxy, files, recordings, an editor of its own code. None of it can be reached here.
_READABLE = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/robots\.txt|/login|/(?:assets|static|svelte|page|pictures)/[^\\]+|"
    r"/gradio_api/(?:queue/data|startup-events|app_id|heartbeat/\w+)"
)
# "run/predict" takes only the events that do not wait in line.
_WRITABLE = re.compile(r"/login|/gradio_api/(?:queue/join|run/predict|cancel|reset)")

MOST_BYTES = 16 * 1024 * 1024
"""Longest request; a pasted list of the most and longest questions fits."""

_FIXED = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
}


def policy(nonce: str) -> str:
    """Give the Content-Security-Policy: nothing comes from elsewhere, and no script runs that is not the page's own.

    Gradio makes functions of its templates, so ``eval`` stays allowed to the page's own scripts; scripts, event
    handlers and addresses in what is inserted into the page do not run. Gradio also sets styles on elements.

    Args:
        nonce: marks the page's own inline scripts.
    """
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data:; font-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'self'; "
        f"form-action 'self'; frame-ancestors 'none'"
    )


class Gate:
    """Lets through what the page needs, from the page itself, and writes the headers that browsers go by."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = _Answer(send)
            refusal = _refusal(scope)
            if refusal:
                await respond(answer.send, *refusal)
            else:
                # Pages are changed on their way, so they must come uncompressed.
                page = scope["path"] in ("/", "/login")
                await self._app(_uncompressed(scope) if page else scope, receive, answer.send)


def header(scope: Scope, name: bytes) -> str:
    """Give a header of a request, empty if it has none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def respond(send: Send, status: int, words: str, *headers: tuple[bytes, bytes], html: bool = False) -> None:
    """Answer a request."""
    body = words.encode("utf-8")
    kind = b"text/html; charset=utf-8" if html else b"text/plain; charset=utf-8"
    fixed = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


def _refusal(scope: Scope) -> tuple[int, str] | None:
    allowed = {"GET": _READABLE, "HEAD": _READABLE, "POST": _WRITABLE}.get(scope["method"])
    path = scope["path"]
    if allowed is None or ".." in path or not allowed.fullmatch(path):
        return 404, "There is nothing here."
    if scope["method"] != "POST":
        return None
    origin = header(scope, b"origin")
    if origin and urlsplit(origin).netloc != header(scope, b"host"):
        return 403, "Asked from another page."
    length = header(scope, b"content-length")
    if not length.isdigit():
        return 411, "Say how long the request is."
    return (413, "The request is too long.") if int(length) > MOST_BYTES else None


def _uncompressed(scope: Scope) -> Scope:
    return {**scope, "headers": [(key, value) for key, value in scope["headers"] if key != b"accept-encoding"]}


class _Answer:
    """One answer on its way to the browser; the inline scripts of pages are marked as the page's own."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            self._start = {**message, "headers": list(message["headers"])}
            if not kind.startswith(b"text/html"):
                await self._begin(secrets.token_urlsafe(18))
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._page()

    async def _begin(self, nonce: str, length: int | None = None) -> None:
        start, self._start = self._start, None
        assert start is not None  # noqa: S101 (for type checkers)
        fixed = {**_FIXED, b"content-security-policy": policy(nonce).encode("ascii")}
        headers = [(key, value) for key, value in start["headers"] if key.lower() not in fixed]
        if length is not None:
            headers = [(key, value) for key, value in headers if key.lower() not in (b"content-length", b"etag")]
            headers.append((b"content-length", str(length).encode("ascii")))
        await self._send({**start, "headers": [*headers, *fixed.items()]})

    async def _page(self) -> None:
        nonce = secrets.token_urlsafe(18)
        # What a page holds of data is escaped: "<" is only ever written by its template.
        body = self._body.replace(b"<script", f'<script nonce="{nonce}"'.encode("ascii"))
        await self._begin(nonce, len(body))
        await self._send({"type": "http.response.body", "body": body})
