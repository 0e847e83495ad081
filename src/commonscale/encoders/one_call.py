"""What belongs to a whole call, also where a cache hands it to the encoder in parts: one bar, one warning of cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

from commonscale.core.errors import TruncationWarning
from commonscale.core.extras import require
from commonscale.core.warn import warn


class Cuts(NamedTuple):
    """Texts over a limit.

    Attributes:
        cut: how many there are.
        given: of how many texts.
        longest: length of the longest text.
    """

    cut: int
    given: int
    longest: int


class WholeCall:
    """Gathers what the parts of one call tell, for as long as the block lasts; parts are calls of an encoder's methods.

    Not a generator with ``contextmanager``: the warning must find the user's line behind this package's frames.
    """

    def __init__(self, total: int, unit: str, shown: bool) -> None:
        """Set up the call.

        Args:
            total: how many items it has.
            unit: what one is called in the bar.
            shown: whether there is a bar.
        """
        self._bar: Any = require("tqdm", "encoders").tqdm(total=total, unit=unit) if shown else None
        self._cuts = Cuts(0, 0, 0)
        self._words: Callable[[Cuts], str] = str
        self._token: Token[WholeCall | None] | None = None

    def __enter__(self) -> WholeCall:
        self._token = _CALL.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _CALL.reset(self._token)
        if self._bar is not None:
            self._bar.close()
        # Also after an error: what was embedded before it is remembered, and will not be warned of again.
        if self._cuts.cut:
            warn(self._words(self._cuts), TruncationWarning)

    @property
    def has_bar(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def advance(self, count: int) -> None:
        """Tell that so many more items are done."""
        if self._bar is not None:
            self._bar.update(count)

    def add(self, cuts: Cuts, words: Callable[[Cuts], str]) -> None:
        """Tell of the cut texts of one part, and how to say it."""
        mine = self._cuts
        self._cuts = Cuts(mine.cut + cuts.cut, mine.given + cuts.given, max(mine.longest, cuts.longest))
        self._words = words


_CALL: ContextVar[WholeCall | None] = ContextVar("whole_call", default=None)


def warn_of_cuts(cuts: Cuts, words: Callable[[Cuts], str]) -> None:
    """Warn of cut texts, at the end of the whole call if this is a part of one.

    Args:
        cuts: what was cut.
        words: makes the message of the warning.
    """
    call = _CALL.get()
    if call is not None:
        call.add(cuts, words)
    elif cuts.cut:
        warn(words(cuts), TruncationWarning)


@contextmanager
def progress(total: int, unit: str, shown: bool) -> Iterator[Callable[[int], Any]]:
    """Give a function that is told how many more items are done; in a part of a call with a bar, that call's.

    Args:
        total: how many items there are.
        unit: what one is called in the bar.
        shown: whether there is a bar.
    """
    call = _CALL.get()
    if call is not None and call.has_bar:
        # What the model itself does with encoders is not this call.
        token = _CALL.set(None)
        try:
            yield call.advance
        finally:
            _CALL.reset(token)
    elif shown:
        with require("tqdm", "encoders").tqdm(total=total, unit=unit) as bar:
            yield bar.update
    else:
        yield lambda _: None
