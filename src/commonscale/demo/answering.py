"""The demo's own answerer: a language model for ``commonscale ask`` and the page that needs no download."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from commonscale.answering.types import Request
from commonscale.core.fair_lock import FairLock
from commonscale.demo.reading import Reader, Reading, load_reader
from commonscale.prompting.items import SentItem

READ = 5
"""How many of the first hits it reads."""

NO_ANSWER = "None of the documents that were found answers this."
NO_DOCUMENTS = "No documents were found for this question."
NAME = "demo"
"""What it is called on the command line and in the notes of an index."""


class DrawnWorldAnswerer:
    """Answers questions about the drawn world in a word, with the document that says so.

    It reads each document by itself, as readers in open-domain question answering do (Karpukhin et al. 2020, "Dense
    Passage Retrieval"), and takes the most confident answer. It knows ten things, eight colors, numbers up to four and
    where one group stands from another; asked about anything else, it says that nothing answers that. Earlier turns of
    a conversation are not looked at.
    """

    def __init__(self, reader: Reader | None = None, *, read: int = READ) -> None:
        """Set up the answerer.

        Args:
            reader: the model; None loads the one that comes with the package, when it is first needed.
            read: how many documents to read, best ranked first: the more, the more chances of taking a wrong one.
        """
        self._reader = reader
        self._read_first = read
        # Many ask at once on the page: the model is loaded once, and its tokenizer bears one thread at a time.
        self._turn = FairLock()

    @property
    def name(self) -> str:
        """What to call it where its answers are shown."""
        return NAME

    def stream(self, request: Request) -> Iterator[str]:
        """Answer in a word and a citation, such as ``"purple [2]"``, or in a sentence that nothing answers it.

        Args:
            request: the question with the documents; a picture that is only sent as a URL is not looked at.

        Yields:
            The pieces of the answer; the same for the same request, always.
        """
        if not request.prompt.sent:
            yield NO_DOCUMENTS
            return
        # One turn for all that a question needs: with one for each document, everybody would wait for everybody.
        with self._turn:
            found = best([self._read(sent, request.question) for sent in request.prompt.sent[: self._read_first]])
        if found is None:
            yield NO_ANSWER
            return
        place, reading = found
        yield reading.answer
        yield f" {request.prompt.sent[place].label}"

    def _read(self, sent: SentItem, question: str) -> Reading | None:
        """Read what there is of an item, its picture and its text, and keep the better of both."""
        self._reader = reader = self._reader or load_reader()
        readings = [reader.read(sent.text, [question])[0]] if sent.text.strip() else []
        if sent.picture is not None and sent.picture.content is not None:
            from PIL import Image

            with Image.open(io.BytesIO(sent.picture.content)) as picture:
                readings += reader.read(picture.convert("RGB"), [question])
        found = best(readings)
        return None if found is None else found[1]


def best(readings: Sequence[Reading | None]) -> tuple[int, Reading] | None:
    """Choose among what several items say.

    Args:
        readings: one for each item, best ranked first; None where there was nothing to read.

    Returns:
        The place and the reading of the most confident answer, of equal ones the first; None if none knows.
    """
    known = [(place, reading) for place, reading in enumerate(readings) if reading is not None and reading.known]
    return max(known, key=lambda pair: pair[1].confidence, default=None)
