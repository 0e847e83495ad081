"""URLs are refused, handed on or downloaded, as the user chose, and never lead to private addresses by themselves."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from commonscale.core.errors import ImageError, MissingExtraError, SkippedImageWarning
from commonscale.encoders import downloads
from commonscale.encoders.images import ImageOptions
from commonscale.prompting import Budget, Pictures, PromptBuilder, PromptItem

pytest.importorskip("httpx")
Image = pytest.importorskip("PIL.Image")

stream = io.BytesIO()
Image.new("RGB", (400, 300), (1, 2, 3)).save(stream, "PNG")
PNG = stream.getvalue()
HERE = ImageOptions(allow_private_addresses=True, timeout=10)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        status, body, headers = self.server.answers.get(self.path, (404, b"", {}))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.seen, running.answers = [], {"/a.png": (200, PNG, {})}
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_urls_are_refused_unless_allowed_and_both_ways_to_allow_them_are_told(server: ThreadingHTTPServer) -> None:
    with pytest.raises(ImageError, match=r"URLs are not used .*urls=\"download\".*urls=\"pass\""):
        Pictures(options=ImageOptions(allow_urls=True, allow_private_addresses=True)).prepare(f"{server.url}/a.png")
    assert server.seen == []


@pytest.mark.parametrize("urls", ["refuse", "pass", "download"])
@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a.png", "FILE://localhost/etc/passwd"])
def test_other_schemes_are_never_used(urls: str, url: str) -> None:
    with pytest.raises(ImageError, match=r"only http and https URLs are used, .*name a file by its path"):
        Pictures(["/"], urls=urls).prepare(url)


def test_a_url_is_handed_on_as_it_is_and_not_fetched(server: ThreadingHTTPServer) -> None:
    prepared = Pictures(urls="pass").prepare("https://example.org/a.png?size=1")
    assert (prepared.url, prepared.content, prepared.width) == ("https://example.org/a.png?size=1", None, None)
    assert prepared.data_uri == "https://example.org/a.png?size=1"
    assert Pictures(urls="pass", options=HERE).prepare(f"{server.url}/a.png").url == f"{server.url}/a.png"
    assert server.seen == []


@pytest.mark.parametrize("urls", ["pass", "download"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "localhost", "169.254.169.254", "10.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"],
)
def test_private_addresses_are_refused(server: ThreadingHTTPServer, urls: str, host: str) -> None:
    with pytest.raises(ImageError, match=r"not on the public internet|cannot be found"):
        Pictures(urls=urls).prepare(f"http://{host}:{server.server_port}/a.png")
    assert server.seen == []


def test_a_download_is_shrunk_and_made_once(server: ThreadingHTTPServer) -> None:
    prepares = Pictures(urls="download", max_side=100, options=HERE)
    first = prepares.prepare(f"{server.url}/a.png")
    assert (first.width, first.height, first.url) == (100, 75, None)
    assert prepares.prepare(f"{server.url}/a.png") is first
    assert server.seen == ["/a.png"]


def test_threads_that_ask_for_the_same_url_share_one_request(server: ThreadingHTTPServer) -> None:
    prepares = Pictures(urls="download", options=HERE)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(prepares.prepare, [f"{server.url}/a.png"] * 16))
    assert len({id(picture) for picture in found}) == 1
    assert server.seen == ["/a.png"]


def test_several_urls_are_fetched_ahead(server: ThreadingHTTPServer) -> None:
    prepares, urls = Pictures(urls="download", options=HERE), [f"{server.url}/a.png?{number}" for number in range(5)]
    for number in range(5):
        server.answers[f"/a.png?{number}"] = (200, PNG, {})
    *found, missing = prepares.prepare_all([*urls, f"{server.url}/missing.png"])
    assert len(server.seen) == 6
    assert [picture.width for picture in found] == [400] * 5
    assert isinstance(missing, ImageError)
    assert str(missing).startswith(f"'{server.url}/missing.png': ")
    assert [prepares.prepare(url).width for url in urls] == [400] * 5
    assert len(server.seen) == 6


def test_a_download_that_failed_is_tried_again(server: ThreadingHTTPServer) -> None:
    prepares = Pictures(urls="download", options=HERE)
    with pytest.raises(ImageError, match="answered 404"):
        prepares.prepare(f"{server.url}/late.png")
    server.answers["/late.png"] = (200, PNG, {})
    assert prepares.prepare(f"{server.url}/late.png").width == 400


@pytest.mark.parametrize("images", [None, 1, 3])
def test_in_one_prompt_every_download_that_fails_is_tried_once(server: ThreadingHTTPServer, images: int | None) -> None:
    items = [PromptItem(str(number), "image", picture=f"{server.url}/missing{number}") for number in range(12)]
    server.answers["/good.png"] = (200, PNG, {})
    items.append(PromptItem("good", "image", picture=f"{server.url}/good.png"))
    builder = PromptBuilder(Budget(images=images), Pictures(urls="download", options=HERE))
    with pytest.warns(SkippedImageWarning, match=r"12 picture\(s\) left out"):
        prompt = builder.build(items)
    assert [sent.item.id for sent in prompt.sent] == ["good"]
    assert sorted(server.seen) == sorted(["/good.png", *(f"/missing{number}" for number in range(12))])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, b"<html>no picture</html>", {}), "not a picture"),
        ((200, PNG[:100], {}), "damaged"),
        ((302, b"", {"Location": "file:///etc/passwd"}), "only http and https"),
        ((302, b"", {"Location": "/a.png"}), None),
    ],
)
def test_what_a_server_may_answer(server: ThreadingHTTPServer, answer: tuple, message: str | None) -> None:
    server.answers["/b.png"] = answer
    prepares = Pictures(urls="download", options=HERE)
    if message is None:
        assert prepares.prepare(f"{server.url}/b.png").width == 400
    else:
        with pytest.raises(ImageError, match=message):
            prepares.prepare(f"{server.url}/b.png")


def test_a_public_server_that_redirects_to_a_private_address(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host is taken for public; what it redirects to is judged as always."""
    server.answers["/moved"] = (302, b"", {"Location": "http://127.0.0.2:9/secret"})
    is_public = downloads.is_public
    monkeypatch.setattr(downloads, "is_public", lambda address: address == "127.0.0.1" or is_public(address))
    with pytest.raises(ImageError, match=r"127\.0\.0\.2, which is not on the public internet"):
        Pictures(urls="download").prepare(f"{server.url}/moved")


def test_neither_passwords_nor_tokens_are_repeated_in_errors() -> None:
    for urls in ("refuse", "pass", "download"):
        with pytest.raises(ImageError) as caught:
            Pictures(urls=urls).prepare("http://user:hunter2@127.0.0.1:9/a.png?token=12345")
        assert "hunter2" not in str(caught.value)
        assert "12345" not in str(caught.value)


def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'commonscale\[qa\]'"):
        Pictures(urls="download").prepare("https://example.org/a.png")
    assert Pictures(urls="pass").prepare("https://example.org/a.png").url
