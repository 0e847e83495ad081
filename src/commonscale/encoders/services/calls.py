"""Calling a service that embeds: at its pace, again after passing failures, with one clear error in the end.

The retries of the SDKs are switched off, and tenacity repeats the calls. Neither SDK does what is needed: cohere's
(read at 7.3.1) comes back after 60 s whatever Retry-After says, and gives up at once when an answer is late; botocore's
(read at 1.44.5) does not look at Retry-After at all. And only who repeats the calls can say how often it tried.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timezone
from typing import Any, Literal, TypeVar

from commonscale.core.errors import CommonscaleError, EncoderError, EncoderUnavailableError, InputRefusedError
from commonscale.core.extras import require
from commonscale.encoders.pipeline import pause
from commonscale.encoders.services.pace import Pace

T = TypeVar("T")

_LONGEST_PAUSE = 60.0
# A service that asks for more has used up a quota, and a program that sleeps for hours looks like one that hangs.
LONGEST_WAIT = 300.0
_HIDDEN = "[key]"


@dataclass(frozen=True)
class Trouble:
    """What a failed call means.

    Attributes:
        kind: ``"passing"``: ask again; ``"refused"``: the service does not take what was sent; ``"unavailable"``: it
            cannot be used, and asking again would not help; ``"broken"``: its answer cannot be used.
        words: what happened, in the service's own words as far as it has any.
        advice: what to do.
        wait: seconds after which the service asks to be called again; None if it does not say.
    """

    kind: Literal["passing", "refused", "unavailable", "broken"]
    words: str
    advice: str = ""
    wait: float | None = None


class _PassingError(Exception):
    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(trouble.words)


@dataclass
class Calls:
    """Calls one service.

    Attributes:
        service: its name, for messages.
        explain: tells what an exception of its client means; None for one that has nothing to do with the service.
        extra: the extra of Commonscale that brings its client.
        max_retries: how often a call is repeated after passing failures.
        pace: when calls may start.
        secrets: what must not get into a message.
        sleep: waits for so many seconds.
    """

    service: str
    explain: Callable[[Exception], Trouble | None]
    extra: str
    max_retries: int
    pace: Pace
    secrets: tuple[str, ...] = field(default=(), repr=False)
    sleep: Callable[[float], None] = pause

    def __call__(self, send: Callable[[], T], inputs: int) -> T:
        """Make one call.

        Args:
            send: sends one request and returns the answer; called again after passing failures.
            inputs: how many texts or pictures it holds.

        Returns:
            What ``send`` returned.

        Raises:
            InputRefusedError: if the service does not take what was sent.
            EncoderUnavailableError: if it cannot be used: no answer after all attempts, no permission, no quota.
            EncoderError: if its answer cannot be used.
        """
        tenacity = require("tenacity", self.extra)
        attempts = self.max_retries + 1
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=self._waiting(tenacity.wait_exponential(max=_LONGEST_PAUSE) + tenacity.wait_random(0, 1)),
            retry=tenacity.retry_if_exception_type(_PassingError),
            sleep=self.sleep,
            reraise=True,
        )
        try:
            answer: T = retrying(self._attempt, send, inputs)
        except _PassingError as error:
            times = f"in all of {attempts} attempts" if attempts > 1 else "in the only attempt"
            words, advice = error.trouble.words.rstrip("."), error.trouble.advice or "Try again later."
            raise EncoderUnavailableError(
                self._shown(f"{self.service} failed {times}, lastly so: {words}. {advice}")
            ) from self._cause(error.__cause__)
        return answer

    def _attempt(self, send: Callable[[], T], inputs: int) -> T:
        self.pace.wait(inputs)
        try:
            return send()
        except CommonscaleError:
            raise
        except Exception as error:
            trouble = self.explain(error)
            if trouble is None:
                raise
            if trouble.kind == "passing" and (trouble.wait or 0.0) <= LONGEST_WAIT:
                raise _PassingError(trouble) from error
            raise self._final(trouble) from self._cause(error)

    def _final(self, trouble: Trouble) -> EncoderError:
        if trouble.kind == "refused":
            return InputRefusedError(self._shown(f"{self.service} refuses what was sent: {trouble.words}"))
        if trouble.kind == "broken":
            return EncoderError(self._shown(f"{self.service} gave an answer that cannot be used: {trouble.words}"))
        wait = "" if trouble.wait is None else f" It asks to be left alone for {trouble.wait:.0f} s."
        words = f"{self.service} cannot be used: {trouble.words.rstrip('.')}.{wait} {trouble.advice}"
        return EncoderUnavailableError(self._shown(words.rstrip()))

    def _waiting(self, backoff: Callable[[Any], float]) -> Callable[[Any], float]:
        """Make tenacity's rule for pauses: what the service asks for, else longer each time, with a random part."""

        def pause(state: Any) -> float:
            trouble: Trouble = state.outcome.exception().trouble
            if trouble.wait is None:
                return float(backoff(state))
            self.pace.hold(trouble.wait)  # The other threads would only be refused, too.
            return trouble.wait

        return pause

    def _shown(self, message: str) -> str:
        for secret in self.secrets:
            message = message.replace(secret, _HIDDEN)
        return message

    def _cause(self, error: BaseException | None) -> BaseException | None:
        """Return an exception of the client as cause of ours, unless its text holds a secret."""
        text = f"{error!r} {error}"
        return None if any(secret in text for secret in self.secrets) else error


# Too slow, in conflict, a model that failed, too early, too many requests, given up on the way: of the moment, like
# nearly all that a server says of itself (5xx). The others are about the request, or about who asks.
_PASSING = frozenset({408, 409, 424, 425, 429, 499})
_REFUSED = frozenset({400, 413, 422})
_NEVER = frozenset({501, 505})


def trouble_of_status(status: int, words: str, advice: str, wait: float | None) -> Trouble:
    """Say what an answer with this HTTP status means.

    Args:
        status: of an answer that its client took for an error.
        words: what the service said.
        advice: what to do.
        wait: as for :class:`Trouble`.
    """
    said = f"HTTP {status}: {clipped(words)}" if words else f"HTTP {status}"
    if 200 <= status < 300:
        return Trouble("broken", f"{said} is not what was asked for")
    if status in _PASSING or (status >= 500 and status not in _NEVER):
        return Trouble("passing", said, advice, wait)
    return Trouble("refused" if status in _REFUSED else "unavailable", said, advice, wait)


def retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Read how long a service asks to be left alone (RFC 9110, 10.2.3: seconds, or a date).

    Args:
        headers: of its answer, with names in any case.

    Returns:
        Seconds; None if it does not say, or names a moment that has passed.
    """
    value = next((value for name, value in (headers or {}).items() if name.lower() == "retry-after"), "").strip()
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return seconds if seconds > 0 else None


def _seconds_until(date: str) -> float:
    """Return the seconds until a date as HTTP writes it; 0 if it is none."""
    try:
        then = email.utils.parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return 0.0
    # A date of HTTP is in GMT; one without a zone is read as if it said so.
    return (then if then.tzinfo else then.replace(tzinfo=timezone.utc)).timestamp() - time.time()


def clipped(words: object, length: int = 300) -> str:
    """Return words on one line, cut to a length for messages."""
    line = " ".join(str(words).split())
    return line if len(line) <= length else f"{line[:length]}..."
