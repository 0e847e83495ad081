"""What to do when a store fails: how long to wait, how often to ask, and whether to go on without it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from commonscale.core.errors import InvalidInputError

ATTEMPTS = 3
"""How often a store in another process is asked, unless the policy says."""

_CHOICES = ("raise", "skip")


@dataclass(frozen=True)
class FailurePolicy:
    """What a search does about stores that fail.

    Only failures that may pass are met with further attempts: a connection refused or lost, a timeout, a server that
    is busy or broken for the moment (see ``commonscale.core.passing``). A refused password, a missing collection or
    a mistake in a program is raised at once, as it came.

    Attributes:
        timeout: seconds that one search of one source may take; None waits as long as the store's client does.
            Synchronous searches then run in a helping thread of their own, also of a source that otherwise stays in
            the caller's thread. One that does not answer in time is left behind: no thread can be stopped, so it
            ends by itself, when the store answers or its client gives up. An event loop that ends does
            not wait for it, unless the store's own asynchronous method took one of the loop's threads. At most 256
            such threads work at once, those left behind too; further searches wait for one, within their time.
        attempts: how often a source is asked before it counts as failed; None is 3 for sources in another process
            (``remote``) and 1 for those in this one. More than 1 needs the package tenacity, which both frameworks
            bring. A search lasts ``attempts`` times ``timeout`` at most, and the pauses between.
        on_failure: ``"raise"`` raises a ``SourceError`` that says which source failed and why. ``"skip"`` ranks the
            other modalities without it and says so, in a ``MissingModalityWarning`` and in ``Ranking.missing``; if
            every modality fails it raises. This holds for sources that cannot be asked and for those whose answer
            cannot be used (``SourceError``), not for a store that is set up wrongly (``StoreCheckError``).
            Calibrating never skips.
        backoff: seconds before the second attempt; each further pause is twice as long, up to 30 s, and every one
            is lengthened by up to ``backoff`` at random, so that many clients do not return at once. 0 never waits.
    """

    timeout: float | None = None
    attempts: int | None = None
    on_failure: Literal["raise", "skip"] = "raise"
    backoff: float = 0.5

    def __post_init__(self) -> None:
        if self.timeout is not None and not (_is_number(self.timeout) and self.timeout > 0):
            raise InvalidInputError(f"timeout must be a number of seconds above 0, or None, got {self.timeout!r}")
        whole = isinstance(self.attempts, int) and not isinstance(self.attempts, bool)
        if self.attempts is not None and not (whole and self.attempts >= 1):
            raise InvalidInputError(f"attempts must be an integer of at least 1, or None, got {self.attempts!r}")
        if self.on_failure not in _CHOICES:
            raise InvalidInputError(f"on_failure must be one of {', '.join(_CHOICES)}, got {self.on_failure!r}")
        if not (_is_number(self.backoff) and self.backoff >= 0):
            raise InvalidInputError(f"backoff must be a number of seconds, 0 or more, got {self.backoff!r}")

    def attempts_for(self, source: Any) -> int:
        """Say how often this source is asked."""
        if self.attempts is not None:
            return self.attempts
        return ATTEMPTS if getattr(source, "remote", False) else 1


def check_policy(failures: Any) -> FailurePolicy:
    """Give the policy, the default one for None.

    Raises:
        InvalidInputError: if it is something else.
    """
    if failures is None:
        return FailurePolicy()
    if not isinstance(failures, FailurePolicy):
        raise InvalidInputError(
            f"failures must be a FailurePolicy, such as FailurePolicy(timeout=5, on_failure='skip'), got {failures!r}"
        )
    return failures


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
