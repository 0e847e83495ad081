"""Other people's text, made harmless before it stands among labels that a model trusts."""

from __future__ import annotations

import re

# What citations look like, in an answer and therefore in a document: [1], [1, 3], [2-4], [^1], [Document 1], the
# full-width brackets of some models, and brackets that Markdown escaped. Gaps are bounded, so time stays linear; they
# include characters that are not seen, behind which a label could hide.
_BLANK = "\\s\u200b-\u200f\u2060-\u206f\ufeff"
_GAP = f"[{_BLANK}]{{0,4}}"
_NUMBER = r"\d{1,9}"
_PIECE = rf"{_NUMBER}(?:{_GAP}[-–—]{_GAP}{_NUMBER})?"
_WORD = r"(?:documents?|docs?\.?|sources?|items?|images?|pictures?|no\.)"
CITATION = re.compile(
    rf"\\?[\[【［]{_GAP}(?:{_WORD}{_GAP})?[\^#]?"
    rf"(?P<inside>{_PIECE}(?:{_GAP}(?:[,;&]|and){_GAP}\^?{_PIECE})*)"
    rf"(?:†[^\]】］\n]{{0,80}})?{_GAP}\\?[\]】］]",
    re.IGNORECASE,
)
"""A citation; ``inside`` holds its numbers."""

# Also one that is not closed: in "</documents </documents>>" the inner one would leave the outer one behind.
_DELIMITER = re.compile(rf"<([/{_BLANK}]*documents\b[^<>]*)(>?)", re.IGNORECASE)
# Control characters, half surrogate pairs (which no request can encode), and the tag characters of Unicode, in which
# instructions can be written that no reader of the document sees.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\U000e0000-\U000e007f]")


def neutralize(text: str) -> str:
    """Make a document's text unable to pass for a label, or for the end of the documents.

    ``[3]`` becomes ``(3)``, since a model would read it as the label of a document, or repeat it as a citation;
    ``</documents>`` becomes ``(/documents)``; characters that are not seen go away. All else stays as it is. Whether
    a model obeys what a document says in plain words is another matter, which ``ANSWER_INSTRUCTIONS`` forbid.

    Args:
        text: anything, of any length; the time taken grows with the length and no faster.
    """
    text = _UNSEEN.sub("", text)
    text = CITATION.sub(lambda found: f"({found['inside']})", text)
    return _DELIMITER.sub(lambda found: f"({found[1]}" + ")" * len(found[2]), text)
