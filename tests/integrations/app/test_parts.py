"""What the page is made of, without a browser."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonscale.app.cards import id_of, key_of, shortened
from commonscale.app.choice import MOST_DOCUMENTS, choice_of
from commonscale.app.comparing import moves
from commonscale.app.histograms import HEIGHT, WIDTH, histogram
from commonscale.app.login import PAUSE, TRIES, Login
from commonscale.app.patience import Patience, patiently
from commonscale.app.prose import prose
from commonscale.app.recalibrating import LONGEST, MOST, pasted
from commonscale.app.security import policy
from commonscale.app.serving import build_app, is_loopback
from commonscale.core.errors import AnswererError, InvalidInputError
from commonscale.core.types import Hit, Ranking
from commonscale.prompting import Prompt, PromptItem, SentItem

PROMPT = Prompt(tuple(SentItem(n, PromptItem(f"d{n}", "text", "words"), None, 1, "words") for n in (1, 2, 3)))


def link(number: int) -> str:
    return f"<a>{number}</a>"


def ranking(*ids: str) -> Ranking:
    return Ranking(tuple(Hit(key, "text", 0.0, 0.0) for key in ids))


class Slow:
    """Events that wait for a gate before each one, and tell whether they were closed."""

    def __init__(self, *events: str) -> None:
        self.gate, self.closed, self.events = threading.Event(), threading.Event(), events

    def __iter__(self) -> Iterator[str]:
        try:
            for event in self.events:
                self.gate.wait(30)
                yield event
        finally:
            self.closed.set()


def test_events_come_in_order_and_errors_are_raised() -> None:
    def events() -> Iterator[int]:
        yield from range(100)
        raise AnswererError("broke off")

    seen: list[int] = []

    def collect() -> None:
        for batch in patiently(events(), Patience()):
            seen.extend(batch)

    with pytest.raises(AnswererError, match="broke off"):
        collect()
    assert seen == list(range(100))


def test_silence_is_told_and_then_given_up() -> None:
    slow = Slow("late")
    waiting = patiently(iter(slow), Patience(remind=0.05, limit=0.3))
    assert next(waiting) == []
    with pytest.raises(AnswererError, match="for 0 seconds"):
        list(waiting)
    slow.gate.set()
    assert slow.closed.wait(10)


def test_who_stops_waiting_gets_nothing_more() -> None:
    slow = Slow("a", "b")
    stopped = threading.Event()
    waiting = patiently(iter(slow), Patience(remind=0.05), stopped.is_set)
    assert next(waiting) == []
    stopped.set()
    assert list(waiting) == []
    slow.gate.set()
    assert slow.closed.wait(10)


@pytest.mark.parametrize(
    ("words", "html"),
    [
        ("plain [1], [2, 3] and [9].", "<p>plain <a>1</a>, <a>2</a><a>3</a> and <a>9</a>.</p>"),
        ("**bold** `x[1]` <b>", "<p><strong>bold</strong> <code>x[1]</code> &lt;b&gt;</p>"),
        ("![a](http://x/y.png)", "<p>![a](http://x/y.png)</p>"),
        ("[a](javascript:b)", "<p>[a](javascript:b)</p>"),
        ("<http://x>", "<p>&lt;http://x&gt;</p>"),
        ("[x]: http://y\n\n[x]", "<p>[x]: http://y</p>\n<p>[x]</p>"),
        ("<script>a</script>", "<p>&lt;script&gt;a&lt;/script&gt;</p>"),
        ("\"quoted\" & 'such'", "<p>&quot;quoted&quot; &amp; &#x27;such&#x27;</p>"),
        ("a\nb", "<p>a<br>\nb</p>"),
        ("", ""),
    ],
)
def test_answers_are_words_with_citations(words: str, html: str) -> None:
    assert prose(words, PROMPT, link).strip().replace("<br />", "<br>") == html


@given(st.text(alphabet="<>&\"'`*_[]()!:/\\|-#\n ax1{}$~"))
def test_no_answer_makes_html_of_its_own(words: str) -> None:
    allowed = {"p", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "br", "a", "hr"}
    allowed |= {"table", "thead", "tbody", "tr", "th", "td"}
    html = prose(words, PROMPT, link)
    tags = [piece.partition(">")[0].strip("/ ").split(" ")[0] for piece in html.split("<")[1:]]
    assert set(tags) <= allowed
    assert "href" not in html.replace("&", "")
    assert "src=" not in html


def test_moves_are_told_by_place() -> None:
    told = moves(ranking("a", "b", "c"), ranking("b", "a", "d"))
    assert [(one.places, one.direction, one.words) for one in told.values()] == [
        (1, "up", "1 place higher than in the other ranking"),
        (-1, "down", "1 place lower than in the other ranking"),
        (None, "new", "only in this ranking"),
    ]
    assert moves(ranking("a"), ranking("a"))["a"].direction == "same"


@given(st.text(alphabet=st.characters(exclude_categories=()), min_size=1))
def test_any_id_can_stand_in_an_address(document: str) -> None:
    key = key_of(document)
    assert key.replace("-", "a").replace("_", "a").isalnum()
    assert id_of(key) == document


def test_what_is_no_key_is_no_id() -> None:
    assert [id_of(key) for key in ("!", "a", "_w", "/etc")] == [None] * 4


@given(st.text())
def test_passages_are_cut_and_nothing_is_lost(text: str) -> None:
    first, rest = shortened(text)
    assert first + rest == " ".join(text.split())


def test_histograms_share_one_axis() -> None:
    drawn = histogram({"text": np.array([0.9, 1.0]), "image": np.array([0.2])}, {"text": "Text", "image": "Picture"})
    assert [outline.modality for outline in drawn.outlines] == ["text", "image"]
    for outline in drawn.outlines:
        points = [tuple(map(float, point.split(","))) for point in outline.points.split()]
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
        assert 0 <= outline.mean <= WIDTH
    assert drawn.outlines[1].mean < drawn.outlines[0].mean
    assert [tick.label for tick in drawn.ticks] == ["0.2", "0.4", "0.6", "0.8", "1.0"]
    assert drawn.words == "Text: mean 0.95, from 0.90 to 1.00; Picture: mean 0.20, from 0.20 to 0.20"
    assert histogram({"text": np.zeros(3)}, {"text": "Text"}).ticks  # equal values have an axis too


def test_choices_are_checked() -> None:
    chosen = choice_of(8, True, [0, 5, 2, MOST_DOCUMENTS], ["image", "text"])
    assert (chosen.k, chosen.raw) == (8, True)
    assert (dict(chosen.quotas.minimum), dict(chosen.quotas.maximum)) == ({"text": 2}, {"image": 5})
    for k, bounds in ((0, [0, 30]), (31, [0, 30]), (5, [-1, 30]), (5, [6, 30]), (5, [3, 2]), (5, ["a", 30])):
        with pytest.raises(InvalidInputError):
            choice_of(k, False, bounds, ["text"])  # type: ignore[arg-type]


def test_pasted_lists_are_checked() -> None:
    assert pasted(" a \n\n b\r\nc") == ["a", "b", "c"]
    for text, words in ((" \n", "no question"), ("a\n" * (MOST + 1), "paste fewer"), ("a" * (LONGEST + 1), "one per")):
        with pytest.raises(InvalidInputError, match=words):
            pasted(text)


def test_addresses_that_others_reach_are_told_apart() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", "")] == [False] * 5


def test_the_policy_names_no_other_host() -> None:
    assert "http" not in policy("n")
    assert "*" not in policy("n")


def test_an_empty_password_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        build_app(None, password="")  # type: ignore[arg-type]


async def test_who_guesses_has_to_wait() -> None:
    now = [0.0]

    async def inside(scope: object, receive: object, send: object) -> None:
        raise AssertionError("nobody has given the password")

    login = Login(inside, "secret", clock=lambda: now[0])

    async def attempt(password: str, client: str) -> int:
        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            await asyncio.sleep(0)  # others come in between
            return {"type": "http.request", "body": f"password={password}".encode()}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/login", "method": "POST", "headers": [], "client": (client, 1)}
        await login(scope, receive, send)  # type: ignore[arg-type]
        return sent[0]["status"]  # type: ignore[return-value]

    at_once = await asyncio.gather(*(attempt("wrong", f"2001:db8::{number}") for number in range(50)))
    assert Counter(at_once) == {403: TRIES, 429: 50 - TRIES}
    assert await attempt("secret", "2001:db8:0:1::1") == 303
    # IPv4 addresses, as a server of both kinds names them, are no network.
    assert [await attempt("wrong", "::ffff:192.0.2.1") for _ in range(TRIES)] == [403] * TRIES
    assert await attempt("secret", "192.0.2.1") == 429
    assert await attempt("secret", "::ffff:192.0.2.2") == 303
    assert [await attempt("wrong", "a") for _ in range(TRIES)] == [403] * TRIES
    assert await attempt("secret", "a") == 429
    assert await attempt("secret", "b") == 303
    now[0] = PAUSE + 1
    assert await attempt("secret", "a") == 303
