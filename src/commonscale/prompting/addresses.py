"""Which web addresses of pictures may be handed to a language model's provider.

The address is not looked up: the provider fetches it from where the provider is, not from here. So a name is judged by
its look, and a number (``127.0.0.1``, ``[::1]``, ``0x7f.1``) by whether it is on the public internet.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
import urllib.parse

from commonscale.core.errors import ImageError
from commonscale.encoders.downloads import is_public

MAX_LENGTH = 8192
"""Characters of an address; web servers take no longer ones."""

# Blanks and backslashes, which programs read differently: http://good.example\@127.0.0.1/ has two hosts.
_ODD = re.compile(r"[\x00-\x20\x7f\\]")
# What a host may not hold because browsers drop it when they read one (UTS 46), so that 127.0.0.1 could be written with
# a soft hyphen: Unicode's Default_Ignorable_Code_Point.
_DROPPED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# The last part of a host that is a number makes it an IPv4 address or nothing (URL Standard, 3.5: "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
# RFC 6761, RFC 6762, RFC 8375, and the domain that ICANN reserved for private use.
_LOCAL = ("localhost", "local", "internal", "home.arpa", "lan", "localdomain")


def checked_address(url: str, *, allow_private: bool = False) -> str:
    """Return an address that may be passed on.

    Args:
        url: an address, as metadata have it.
        allow_private: whether hosts that are not on the public internet are passed on too.

    Returns:
        The same address.

    Raises:
        ImageError: if it is not http or https, names a user or password, is malformed, or its host is not public;
            the message does not repeat the address.
    """
    if len(url) > MAX_LENGTH or _ODD.search(url):
        raise ImageError(f"no proper URL: it has blanks or backslashes, or more than {MAX_LENGTH} characters")
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port  # a bad port is told when it is asked for
    except ValueError as error:
        raise ImageError(f"no proper URL: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise ImageError(f"only http and https URLs are passed on, not {parts.scheme!r}")
    if "@" in parts.netloc:
        raise ImageError("URLs with a user name or password are not passed on")
    if not host or "%" in host or _DROPPED.search(host) or ("[" in parts.netloc and ":" not in host):
        raise ImageError("no proper URL: it names no host, or one that is none")
    if not allow_private and not _is_public(host):
        raise ImageError(
            f"the host {host!r} is not on the public internet; set ImageOptions(allow_private_addresses=True) to "
            "allow it"
        )
    return url


def _is_public(host: str) -> bool:
    # Compatibility forms (full-width digits and dots) as a browser reads them (UTS 46).
    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().rstrip(".")
    try:
        if ":" in host:
            return is_public(str(ipaddress.IPv6Address(host)))
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            # Also the old forms that browsers take: 127.1, 0x7f000001, 2130706433, 0177.0.0.1
            return is_public(str(ipaddress.IPv4Address(socket.inet_aton(host))))
    except (OSError, ValueError):
        return False
    return "." in host and not any(host == name or host.endswith(f".{name}") for name in _LOCAL)
