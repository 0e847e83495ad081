"""Download a picture from a URL that others may have written.

Metadata of documents is no trusted place, and a server that fetches any URL it is shown can be made to read its
own internal services. So, unless the caller allows private addresses, every host is resolved first, all its
addresses must be on the public internet, and the connection goes to the very address that was checked (a
second look-up could give another one). Redirects pass the same check, and proxies are not used, because a
proxy would resolve the name itself.

A server may also send its answer byte by byte, so that no single wait is long, and a name server may take its time.
So a thread downloads while the caller waits, no longer than the timeout; then the connection is cut, which ends the
thread. Only a look-up that hangs keeps its thread (a daemon, which holds up no exit) until the system gives it up.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

from commonscale.core.errors import ImageError
from commonscale.core.extras import require

if TYPE_CHECKING:
    from commonscale.encoders.images import ImageOptions

MAX_REDIRECTS = 5
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out to the public internet (RFC 4291); the rest is reserved or for local use."""


def download(url: str, options: ImageOptions) -> bytes:
    """Fetch a picture over http or https.

    Args:
        url: the address; at most ``MAX_REDIRECTS`` redirects are followed.
        options: ``allow_private_addresses``, ``max_bytes`` and ``timeout`` (seconds for everything together:
            look-ups, connections, redirects, headers and body).

    Returns:
        The body of the answer.

    Raises:
        ImageError: if the address is refused, the server does not answer 200 in time, or the body is too big.
        MissingExtraError: if httpx is not installed.
    """
    require("httpx", "encoders")
    line, answer = _Line(), Future[bytes]()

    def work() -> None:
        try:
            answer.set_result(_fetch(url, options, line))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            answer.set_exception(error)

    threading.Thread(target=work, name="commonscale-download", daemon=True).start()
    try:
        if not wait([answer], options.timeout).done:
            raise ImageError(f"download stopped: it took longer than timeout={options.timeout:g} s")
        return answer.result()
    finally:
        line.cut()


class _Line:
    """The connection of one download, which another thread can cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the connection that is used from now on; httpx calls this at every step of a request."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """End whatever waits for the other side, now and later."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # closed already
                    # Past SSLSocket.shutdown, which another thread's reading does not survive.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _fetch(url: str, options: ImageOptions, line: _Line) -> bytes:
    httpx = require("httpx", "encoders")
    try:
        target = httpx.URL(url)
        with httpx.Client(trust_env=False, follow_redirects=False, timeout=options.timeout) as client:
            for _ in range(MAX_REDIRECTS + 1):
                with client.stream("GET", **_request(target, options, line)) as response:
                    if not response.has_redirect_location:
                        return _body(response, options)
                    target = target.join(response.headers["location"])
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OverflowError) as error:  # the last two: a bad host, port
        raise ImageError(f"download failed: {type(error).__name__}: {error}") from error
    raise ImageError(f"download failed: more than {MAX_REDIRECTS} redirects")


def _request(target: Any, options: ImageOptions, line: _Line) -> dict[str, Any]:
    """Return the arguments of a request that goes to the checked address under the host's own name."""
    if target.scheme not in ("http", "https") or not target.host:
        raise ImageError(f"only http and https URLs are downloaded, not {target.scheme!r}")
    address = _checked_address(target.host, target.port or (443 if target.scheme == "https" else 80), options)
    return {
        "url": target.copy_with(host=address),
        # A body as it is: a small compressed answer could unfold to gigabytes.
        "headers": {"Host": target.netloc.decode("ascii"), "Accept-Encoding": "identity"},
        "extensions": {"sni_hostname": target.raw_host.decode("ascii"), "trace": line.trace},
    }


def _checked_address(host: str, port: int, options: ImageOptions) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ImageError(f"the host {host!r} cannot be found: {error}") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not options.allow_private_addresses:
        for address in addresses:
            if not is_public(address):
                raise ImageError(
                    f"the host {host!r} has the address {address}, which is not on the public internet; "
                    "set ImageOptions(allow_private_addresses=True) to allow it"
                )
    return addresses[0]


def is_public(address: str) -> bool:
    """Tell whether an IP address is on the public internet, looking through IPv6 wrappings of IPv4.

    >>> is_public("127.0.0.1"), is_public("::ffff:10.0.0.1"), is_public("1.1.1.1")
    (False, False, True)
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


def _body(response: Any, options: ImageOptions) -> bytes:
    if response.status_code != 200:
        raise ImageError(f"download failed: the server answered {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ImageError("download failed: the server compressed the picture although it was asked not to")
    chunks = bytearray()
    for chunk in response.iter_raw():
        chunks += chunk
        if len(chunks) > options.max_bytes:
            raise ImageError(f"download stopped: more than max_bytes={options.max_bytes}")
    return bytes(chunks)
