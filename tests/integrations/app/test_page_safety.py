"""What the page does not do: run what documents hold, fetch from elsewhere, hand out files, let strangers in."""

from __future__ import annotations

import functools
import http.client
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app_world import EVIL_ID, MILLISECONDS, FakeAnswerer, Page, open_world, served
from commonscale.app import Library
from commonscale.app.cards import key_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::commonscale.core.errors.SkippedImageWarning"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]

# A machine may have much else to do.
get = functools.partial(httpx.get, timeout=60)
post = functools.partial(httpx.post, timeout=60)

HOSTILE = (
    "Look [1] [99] <img src=x onerror=\"document.title='taken'\"> <script>document.title='taken'</script> "
    "![p](https://example.org/p.png) [l](javascript:document.title='taken') <https://example.org> "
    "[1](https://example.org) ${document.title='taken'} {{constructor}} **bold** `<b>`\n\n"
    "<iframe src='https://example.org'></iframe>\n\n[1]: https://example.org \"t\""
)


def test_what_documents_and_models_say_is_only_ever_text(page: Page, answerer: FakeAnswerer) -> None:
    answerer.words = lambda question: HOSTILE
    page.tab.get_by_role("button", name="How many, and of which kind").click()
    many = page.tab.locator("#documents-slider input[type=range]")
    many.fill("30")
    many.dispatch_event("pointerup")
    # All pictures, whatever their ranks, so that also the one that claims a path is among them.
    pictures = page.tab.locator("#least-image input[type=range]")
    pictures.fill("13")
    pictures.dispatch_event("pointerup")
    page.ask("two red evil cups <img src=x onerror=\"document.title='taken'\">")
    page.ask("two red evil cups ${document.title='taken'}")
    evil = page.tab.locator(f"[id='hit-{key_of(EVIL_ID)}']")
    assert "<script>document.title='taken'</script>" in evil.inner_text()
    assert EVIL_ID in evil.inner_text()
    assert "<iframe src='https://example.org'></iframe>" in page.words("#live .prose")[0]
    assert "![p](https://example.org/p.png)" in page.words("#live .prose")[0]
    assert page.words("#live .cite.unknown") == ["99?"]
    assert "cites [99], which was not among the documents" in page.words("#live .note")[0]
    assert page.tab.title() == "Commonscale"
    hosts = "[...document.querySelectorAll('[src], [href]')].map(e => new URL(e.src || e.href, location).origin)"
    assert set(page.tab.evaluate(f"[...new Set({hosts})]")) == {page.url}
    assert page.tab.evaluate("document.querySelectorAll('iframe, .hits script, #conversation script').length") == 0
    handlers = "[...document.querySelectorAll('*')].some(e => [...e.attributes].some(a => a.name.startsWith('on')))"
    assert not page.tab.evaluate(handlers)
    secret = page.tab.locator(f"[id='hit-{key_of('claims/secret')}']")
    assert "lies outside the folders" in secret.inner_text()


def test_everything_is_fetched_from_the_page_itself(page: Page, answerer: FakeAnswerer) -> None:
    page.ask("Where is the moon?")
    page.open_tab("Scale")
    page.tab.wait_for_selector(".chart")
    assert {httpx.URL(url).host for url in page.fetched if not url.startswith("data:")} == {"127.0.0.1"}
    # The document whose picture may not be read is all that goes wrong.
    assert [error for error in page.errors if "404" not in error] == []


def test_a_script_that_gets_into_the_page_does_not_run(page: Page) -> None:
    page.tab.evaluate(
        "() => { const e = document.createElement('div'); document.body.append(e);"
        ' e.innerHTML = \'<img src="data:," onerror="document.title = `taken`">\' +'
        ' \'<a id="bait" href="javascript:document.title=`taken`">x</a>\';'
        " const s = document.createElement('script'); s.textContent = 'document.title = `taken`'; e.append(s);"
        " document.getElementById('bait').click(); }"
    )
    refused = "Content Security Policy"
    page.tab.wait_for_function("document.querySelector('img[src^=data]').complete")
    while len([error for error in page.errors if refused in error]) < 3:
        page.tab.wait_for_event("console", timeout=MILLISECONDS)
    assert len([error for error in page.errors if refused in error]) == 3
    assert page.tab.title() == "Commonscale"


def test_only_pictures_of_the_index_are_served(url: str, world: Path, library: Library) -> None:
    picture = library.index.documents("image")[0]
    given = get(f"{url}/pictures/{key_of(picture.id)}")
    assert given.status_code == 200
    assert given.headers["content-type"].startswith("image/")
    text = library.index.documents("text")[0]
    calibration = world / "index" / "calibration.json"
    for path in (
        f"pictures/{key_of('claims/secret')}",  # in the index, but outside of the folder that was indexed
        f"pictures/{key_of(text.id)}",
        f"pictures/{key_of('nowhere')}",
        f"pictures/{key_of(str(calibration))}",
        "pictures/%2e%2e%2findex%2fcalibration.json",
        "pictures/!!!",
        f"file={calibration}",
        f"gradio_api/file={calibration}",
        f"gradio_api/file={picture.path}",
        f"gradio_api/file/{calibration}",
        f"static/{calibration}",
        "static/../../../../etc/passwd",
        "assets/%2e%2e/%2e%2e/%2e%2e/__init__.py",
        "page/../handlers.py",
        "page/%2e%2e/__init__.py",
        "gradio_api/proxy=https://example.org/",
        "gradio_api/info",
        "gradio_api/run-history/records",
        "gradio_api/openapi.json",
        "gradio_api/run/predict",
        "monitoring",
        "docs",
        "openapi.json",
    ):
        assert get(f"{url}/{path}").status_code in (400, 403, 404), path
    upload = post(f"{url}/gradio_api/upload", files={"files": ("a.txt", b"a")})
    assert upload.status_code == 404
    for path in ("gradio_api/run/ask", "gradio_api/call/ask", "gradio_api/component_server", "gradio_api/vibe-edit"):
        assert post(f"{url}/{path}", json={}).status_code == 404, path


def test_browsers_are_told_to_be_strict(url: str) -> None:
    first, second = get(url), get(url)
    policies = [one.headers["content-security-policy"] for one in (first, second)]
    assert policies[0] != policies[1]  # a nonce is used once
    assert "default-src 'none'" in policies[0]
    scripts = policies[0].partition("script-src ")[2].partition(";")[0]
    assert "unsafe-inline" not in scripts
    assert "http" not in scripts
    nonce = scripts.partition("'nonce-")[2].partition("'")[0]
    assert first.text.count("<script") == first.text.count(f'<script nonce="{nonce}"') > 2
    for name, value in (("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")):
        assert first.headers[name] == get(f"{url}/page/page.css").headers[name] == value


def test_other_sites_cannot_ask_through_a_users_browser(url: str) -> None:
    rebound = get(url, headers={"Host": "evil.example"})
    assert rebound.status_code == 400
    crossed = post(f"{url}/gradio_api/queue/join", json={}, headers={"Origin": "https://evil.example"})
    assert crossed.status_code == 403
    large = http.client.HTTPConnection(url.removeprefix("http://"))
    large.putrequest("POST", "/gradio_api/queue/join")
    large.putheader("Content-Length", str(10**9))
    large.endheaders()
    assert large.getresponse().status == 413
    large.close()


def test_what_the_page_never_shows_can_still_not_be_sent(url: str, library: Library) -> None:
    """The controls are checked again on the server: a client may send anything."""
    with httpx.Client(base_url=url, timeout=60) as client:
        sent = ["Where?", None, 10**6, False, -1, 30, 0, 30]
        body = {"data": sent, "fn_index": 0, "session_hash": "abc"}
        assert client.post("/gradio_api/queue/join", json=body).status_code == 200
        with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "abc"}) as stream:
            told = "".join(stream.iter_text())
    assert "Numbers of documents must lie between 0 and 30" in told or "greater than maximum" in told.lower()


def test_only_what_waits_in_no_line_can_be_called_directly(url: str) -> None:
    config = get(f"{url}/config").json()
    for number, function in enumerate(config["dependencies"]):
        given = post(f"{url}/gradio_api/run/predict", json={"data": [], "fn_index": number, "session_hash": "abc"})
        assert given.status_code == (404 if function["queue"] else 500), function
    assert sum(not function["queue"] for function in config["dependencies"]) == 8


def test_a_password_stands_before_everything(
    visit: Callable[..., Page], world: Path, answerer: FakeAnswerer, browser: object
) -> None:
    with served(open_world(world, answerer), password="пароль 1") as url:
        for path in ("config", "pictures/abc", "gradio_api/queue/data?session_hash=a", "assets/x.js", "page/page.js"):
            assert get(f"{url}/{path}").status_code == 401, path
        assert post(f"{url}/gradio_api/queue/join", json={}).status_code == 401
        context = browser.new_context()  # type: ignore[attr-defined]
        context.set_default_timeout(MILLISECONDS)
        tab = context.new_page()
        tab.goto(url)
        assert tab.url == f"{url}/login"
        tab.get_by_label("Password").fill("wrong")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("text=That is not the password.")
        tab.get_by_label("Password").fill("пароль 1")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#question textarea")
        (cookie,) = context.cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        tab.fill("#question textarea", "Where is the moon?")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#live .sources")
        context.close()
        forged = get(f"{url}/config", cookies={"commonscale": "x" * 43})
        assert forged.status_code == 401
