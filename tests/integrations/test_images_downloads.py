"""Pictures from URLs, against a server on loopback."""

from __future__ import annotations

import gzip
import io
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from commonscale.core.errors import ImageError
from commonscale.encoders import downloads
from commonscale.encoders.downloads import is_public
from commonscale.encoders.images import ImageOptions, load_image

pytest.importorskip("httpx")
Image = pytest.importorskip("PIL.Image")


stream = io.BytesIO()
Image.new("RGB", (4, 3), (1, 2, 3)).save(stream, "PNG")
PNG = stream.getvalue()
OPEN = ImageOptions(allow_urls=True, allow_private_addresses=True, timeout=10)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        answer = getattr(self, f"answer_{self.path.strip('/').split('?')[0]}", self.answer_missing)
        answer()

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_picture(self) -> None:
        self.reply(200, PNG, Content_Type="image/png")

    def answer_page(self) -> None:
        self.reply(200, b"<html>no picture</html>", Content_Type="text/html")

    def answer_missing(self) -> None:
        self.reply(404)

    def answer_moved(self) -> None:
        self.reply(302, Location="/picture?from=moved")

    def answer_circle(self) -> None:
        self.reply(302, Location="/circle")

    def answer_elsewhere(self) -> None:
        self.reply(302, Location="file:///etc/hostname")

    def answer_badhost(self) -> None:
        self.reply(302, Location=f"http://{'a' * 64}.example/a.png")

    def answer_zipped(self) -> None:
        self.reply(200, gzip.compress(PNG), Content_Encoding="gzip")

    def answer_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"\0" * 65536)
        except OSError:
            self.close_connection = True

    def answer_dripping(self) -> None:
        """Byte by byte, each long before any single wait is over; a picture in the end."""
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(PNG)))
        self.send_header("X-Filler", "x" * 200)
        headers, self._headers_buffer = b"".join(self._headers_buffer), []
        try:
            for byte in headers + b"\r\n":
                self.wfile.write(bytes([byte]))
                self.server.stopped.wait(0.01)
            self.wfile.write(PNG)
        except OSError:
            self.server.hung_up.set()
            self.close_connection = True

    def answer_slowcircle(self) -> None:
        self.server.stopped.wait(0.15)
        self.reply(302, Location="/slowcircle")

    def answer_cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PNG) + 100))
        self.end_headers()
        self.wfile.write(PNG)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.seen = []
        running.stopped, running.hung_up = threading.Event(), threading.Event()
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.stopped.set()
        running.shutdown()
        thread.join()


def test_download(server):
    image = load_image(f"{server.url}/picture", OPEN)
    assert (image.size, image.getpixel((0, 0))) == ((4, 3), (1, 2, 3))
    ((path, headers),) = server.seen
    assert path == "/picture"
    assert headers["Accept-Encoding"] == "identity"


def test_no_request_is_made_unless_urls_are_allowed(server):
    with pytest.raises(ImageError, match="allow_urls=True"):
        load_image(f"{server.url}/picture")
    assert server.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1"])
def test_private_addresses_are_refused_unless_allowed(server, host):
    with pytest.raises(ImageError, match="not on the public internet"):
        load_image(f"http://{host}:{server.server_port}/picture", ImageOptions(allow_urls=True))
    assert server.seen == []


def test_the_connection_goes_to_the_address_that_was_checked(server, monkeypatch):
    """A name that is public when checked and private when looked up again must not reach the private one."""
    asked = []

    def changing(host: str, port: int, *args: object, **kwargs: object) -> list:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(downloads.socket, "getaddrinfo", changing)
    image = load_image(f"http://pictures.example:{server.server_port}/picture", OPEN)
    assert image.size == (4, 3)
    assert [name for name in asked if name == "pictures.example"] == ["pictures.example"]
    assert server.seen[0][1]["Host"] == f"pictures.example:{server.server_port}"


def test_one_private_address_among_public_ones_is_refused(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.7")]
    monkeypatch.setattr(downloads.socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(ImageError, match=r"10\.0\.0\.7"):
        load_image("http://pictures.example/a.png", ImageOptions(allow_urls=True))


def test_https_goes_to_the_checked_address_but_proves_the_name(monkeypatch):
    import httpx

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 443))]
    monkeypatch.setattr(downloads.socket, "getaddrinfo", lambda *args, **kwargs: found)
    request = downloads._request(
        httpx.URL("https://pictures.example/a.png?b=1"), ImageOptions(allow_urls=True), downloads._Line()
    )
    assert str(request["url"]) == "https://1.1.1.1/a.png?b=1"
    assert request["headers"]["Host"] == "pictures.example"
    assert request["extensions"]["sni_hostname"] == "pictures.example"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:0a00:0001::", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("fec0::1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("4000::1", False),
        ("5f00::1", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) is public


def test_redirects_are_followed_and_counted(server):
    assert load_image(f"{server.url}/moved", OPEN).size == (4, 3)
    assert [path for path, _ in server.seen] == ["/moved", "/picture?from=moved"]
    with pytest.raises(ImageError, match="more than 5 redirects"):
        load_image(f"{server.url}/circle", OPEN)


def test_redirects_pass_the_same_check(server):
    with pytest.raises(ImageError, match="only http and https"):
        load_image(f"{server.url}/elsewhere", OPEN)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "answered 404"),
        ("page", "not a picture"),
        ("zipped", "compressed"),
        ("cut", "download failed"),
        ("endless", "more than max_bytes=50000000"),
    ],
)
def test_bad_answers(server, path, reason):
    with pytest.raises(ImageError, match=reason):
        load_image(f"{server.url}/{path}", OPEN)


def test_size_limit_is_the_callers(server):
    options = ImageOptions(allow_urls=True, allow_private_addresses=True, max_bytes=len(PNG) - 1)
    with pytest.raises(ImageError, match=f"max_bytes={len(PNG) - 1}"):
        load_image(f"{server.url}/picture", options)


@pytest.mark.parametrize("path", ["endless", "dripping", "slowcircle"])
def test_time_limit_covers_body_headers_and_redirects(server, path):
    options = ImageOptions(allow_urls=True, allow_private_addresses=True, max_bytes=10**12, timeout=0.3)
    with pytest.raises(ImageError, match=r"longer than timeout=0\.3 s"):
        load_image(f"{server.url}/{path}", options)


def test_a_download_out_of_time_hangs_up(server):
    options = ImageOptions(allow_urls=True, allow_private_addresses=True, timeout=0.3)
    with pytest.raises(ImageError, match="longer than timeout"):
        load_image(f"{server.url}/dripping", options)
    assert server.hung_up.wait(10)


def test_time_limit_covers_the_look_up(monkeypatch):
    released = threading.Event()

    def hanging(*args: object, **kwargs: object) -> list:
        released.wait(30)
        raise socket.gaierror("released")

    monkeypatch.setattr(downloads.socket, "getaddrinfo", hanging)
    options = ImageOptions(allow_urls=True, timeout=0.1)
    with pytest.raises(ImageError, match=r"longer than timeout=0\.1 s"):
        load_image("http://pictures.example/a.png", options)
    assert not released.is_set()
    released.set()


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ImageError, match="download failed"):
        load_image(f"http://127.0.0.1:{port}/a.png", OPEN)


MALFORMED = ["http://", "http:///a.png", "http://[bad/a.png", "http://exa mple/a.png", "http://..", "http://xn--a/"]
MALFORMED += [f"http://{'a' * 64}.example/a.png", f"http://127.0.0.1:{10**30}/a.png"]


@pytest.mark.parametrize("url", MALFORMED)
def test_malformed_urls(url):
    with pytest.raises(ImageError, match=r"only http|download failed|cannot be found"):
        load_image(url, OPEN)


def test_a_redirect_to_a_malformed_url(server):
    with pytest.raises(ImageError, match="download failed"):
        load_image(server.url + "/badhost", OPEN)


def test_messages_hold_no_secrets(server):
    with pytest.raises(ImageError) as caught:
        load_image(f"http://user:hunter2@127.0.0.1:{server.server_port}/missing?token=hunter2", OPEN)
    assert "hunter2" not in str(caught.value)
