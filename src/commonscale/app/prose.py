"""From a model's words to HTML that holds nothing but words: no links, no pictures, no HTML of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from typing import Any

from commonscale.core.extras import require
from commonscale.prompting.citations import parse_citations
from commonscale.prompting.items import Prompt

Link = Callable[[int], str]
"""From a cited number to its HTML."""

# What may take effect of Markdown: emphasis, lists, tables, code. Links, pictures, headings and HTML stay as written.
_RULES = ["backticks", "blockquote", "emphasis", "fence", "list", "newline", "balance_pairs", "table"]


def prose(text: str, prompt: Prompt, link: Link) -> str:
    """Render an answer.

    Args:
        text: the model's words, untrusted; may end in the middle.
        prompt: what the model was sent.
        link: gives the HTML of a citation.

    Returns:
        HTML in which everything of the answer is escaped; only Markdown's emphasis, lists, tables and code take
        effect, and citations are what ``link`` makes of them.
    """
    rendered: str = _markdown().render(text, {"prompt": prompt, "link": link})
    return rendered


@cache
def _markdown() -> Any:
    markdown = require("markdown_it", "app").MarkdownIt("zero", {"breaks": True, "html": False}).enable(_RULES)
    markdown.add_render_rule("text", _words)
    return markdown


def _words(_renderer: Any, tokens: Sequence[Any], place: int, _options: Any, environment: Any) -> str:
    words, link = tokens[place].content, environment["link"]
    pieces, done = [], 0
    for mark in parse_citations(words, environment["prompt"]).marks:
        pieces += [escape(words[done : mark.start]), *(link(number) for number in (*mark.numbers, *mark.unknown))]
        done = mark.end
    return "".join((*pieces, escape(words[done:])))
