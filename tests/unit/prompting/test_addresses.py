"""Web addresses that may be handed to a provider, and those that may not."""

from __future__ import annotations

import pytest

from commonscale.core.errors import ImageError
from commonscale.prompting.addresses import MAX_LENGTH, checked_address


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a.png",
        "http://example.org:8080/a%20b.png?size=1&x=@#part",
        "HTTPS://EXAMPLE.ORG/",
        "https://bücher.example/ä.png",
        "https://1.1.1.1/a.png",
        "https://[2606:4700:4700::1111]/a.png",
        "https://example.org./a.png",
        "https://3com.example/a.png",
        "https://local.example/a.png",
        "https://localhost.example/a.png",
    ],
)
def test_public_addresses_are_passed_on_as_they_are(url: str) -> None:
    assert checked_address(url) == url


PRIVATE = [
    "http://127.0.0.1/a.png",
    "http://127.0.0.1:8000/a.png",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://127.0.0.1./",
    "http://999.1.1.1/",
    "http://1.2.3.4.5/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://⑫7.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST:80/",
    "http://localhost./",
    "http://app.localhost/",
    "http://ｌocalhost/",
    "http://intranet/",
    "http://printer.local/",
    "http://metadata.google.internal/",
    "http://nas.home.arpa/",
    "http://router.lan/",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_hosts_that_are_not_public_are_refused_unless_allowed(url: str) -> None:
    with pytest.raises(
        ImageError, match=r"not on the public internet; set ImageOptions\(allow_private_addresses=True\)"
    ):
        checked_address(url)
    assert checked_address(url, allow_private=True) == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.org/a.png", "only http and https"),
        ("gopher://example.org/", "only http and https"),
        ("javascript://example.org/%0aalert(1)", "only http and https"),
        ("https://user:password@example.org/", "user name or password"),
        ("https://example.org@127.0.0.1/", "user name or password"),
        ("https://@example.org/", "user name or password"),
        ("https://example.org\\@127.0.0.1/", "backslashes"),
        ("https://example.org\\.evil.example/", "backslashes"),
        ("https://exam ple.org/", "blanks"),
        ("https://example.org/\r\nHost: 127.0.0.1", "blanks"),
        ("https://exa\tmple.org/", "blanks"),
        ("https:///a.png", "names no host"),
        ("https://:80/a.png", "names no host"),
        ("https://%6c%6f%63alhost/", "names no host"),
        ("http://[fe80::1%25eth0]/", "names no host"),
        ("http://127.0.0.1\u00ad/", "names no host"),
        ("http://127.0.0.\u200b1/", "names no host"),
        ("http://127.1\ufe0f/", "names no host"),
        ("http://metadata.google.internal\u2060/", "names no host"),
        ("https://example.org:99999/", "no proper URL"),
        ("https://example.org:port/", "no proper URL"),
        ("https://[::1/", "no proper URL"),
        ("https://[not-an-address]/", "no proper URL|not on the public internet"),
        ("https://[v1.x]/", "no proper URL|not on the public internet"),
        ("https://example.org/" + "x" * MAX_LENGTH, "more than 8192 characters"),
    ],
)
def test_what_is_no_proper_address_is_refused(url: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        checked_address(url)


def test_neither_password_nor_query_is_repeated() -> None:
    with pytest.raises(ImageError) as caught:
        checked_address("https://user:hunter2@example.org/?token=12345")
    assert "hunter2" not in str(caught.value)
    assert "12345" not in str(caught.value)
