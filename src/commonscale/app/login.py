"""A password before the page."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address, ip_network
from urllib.parse import parse_qs

from commonscale.app.render import render
from commonscale.app.security import App, Receive, Scope, Send, header, respond

COOKIE = "commonscale"

SECONDS = 7 * 24 * 3600
"""How long somebody stays logged in."""

TRIES = 5
"""Wrong passwords from one address within ``PAUSE`` seconds, before it has to wait."""

PAUSE = 60.0

_MOST = 10_000  # tickets and addresses that are remembered
# The number of this run of the server: by it a page that lost the connection learns that it should load itself anew.
_OPEN = ("/page/page.css", "/gradio_api/app_id")
_LONGEST = 4096  # bytes of a login form


class Login:
    """Lets through who has given the password; others see nothing but the form."""

    def __init__(self, app: App, password: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._digest = _digest(password)
        self._clock = clock
        self._tickets: OrderedDict[str, float] = OrderedDict()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in _OPEN or self._known(scope):
            if scope["type"] == "http" and scope["path"] == "/login":
                await respond(send, 303, "", (b"location", b"/"))
            else:
                await self._app(scope, receive, send)
        elif scope["path"] == "/login":
            await self._login(scope, receive, send)
        elif scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
            await respond(send, 303, "", (b"location", b"/login"))
        else:
            await respond(send, 401, "Log in first.")

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await respond(send, 200, render("login", sentence=""), html=True)
            return
        given = _digest(await _password(receive))
        # Nothing is awaited from here until the try is counted: else many at once would all be the first.
        address = _network(scope)
        if len(self._recent(address)) >= TRIES:
            await respond(send, 429, render("login", sentence="Too many wrong passwords. Wait a minute."), html=True)
            return
        if not hmac.compare_digest(given, self._digest):
            self._wrong[address] = [*self._recent(address), self._clock()]
            _trim(self._wrong)
            await respond(send, 403, render("login", sentence="That is not the password."), html=True)
            return
        ticket = secrets.token_urlsafe(32)
        self._tickets[_digest(ticket).hex()] = self._clock() + SECONDS
        _trim(self._tickets)
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        cookie = f"{COOKIE}={ticket}; Path=/; Max-Age={SECONDS}; HttpOnly; SameSite=Strict{secure}"
        await respond(send, 303, "", (b"location", b"/"), (b"set-cookie", cookie.encode("ascii")))

    def _known(self, scope: Scope) -> bool:
        try:
            cookie = SimpleCookie(header(scope, b"cookie")).get(COOKIE)
        except CookieError:
            return False
        # Looked up by digest, so that the time it takes tells nothing of the tickets.
        until = None if cookie is None else self._tickets.get(_digest(cookie.value).hex())
        return until is not None and until > self._clock()

    def _recent(self, address: str) -> list[float]:
        return [when for when in self._wrong.get(address, []) if when > self._clock() - PAUSE]


def _network(scope: Scope) -> str:
    """Give where a request comes from: the address, or of IPv6 the network, in which one machine has many addresses."""
    address: str = (scope.get("client") or ("",))[0]
    try:
        known = ip_address(address)
    except ValueError:
        return address
    known = getattr(known, "ipv4_mapped", None) or known  # as a server of both kinds names an IPv4 address
    return str(known) if known.version == 4 else str(ip_network((int(known) >> 64 << 64, 64)))


def _digest(words: str) -> bytes:
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()


def _trim(remembered: OrderedDict[str, object] | OrderedDict[str, float] | OrderedDict[str, list[float]]) -> None:
    while len(remembered) > _MOST:
        remembered.popitem(last=False)


async def _password(receive: Receive) -> str:
    body, more = b"", True
    while more and len(body) <= _LONGEST:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
