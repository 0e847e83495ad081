"""How fast requests may follow one another: one pace for all threads that use a service."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from commonscale.encoders.pipeline import pause


@dataclass
class Pace:
    """Starts requests evenly, never faster than a rate allows, and lets all of them wait when a service asks for it.

    Requests are spread over the minute rather than let through in one burst: a service whose minutes begin at other
    moments than ours then never sees more than the rate.

    Attributes:
        requests_per_minute: most requests in a minute; None means as many as there are.
        inputs_per_minute: most texts and pictures in a minute, in whatever number of requests; None as above.
        clock: tells seconds that never run backwards.
        sleep: waits for so many seconds.
    """

    requests_per_minute: float | None = None
    inputs_per_minute: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = pause
    _free_at: float = field(default=float("-inf"), init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def wait(self, inputs: int) -> None:
        """Return when the next request may start.

        Args:
            inputs: how many texts or pictures it holds.
        """
        with self._lock:
            now = self.clock()
            start = max(now, self._free_at)
            self._free_at = start + max(
                60.0 / self.requests_per_minute if self.requests_per_minute else 0.0,
                60.0 * inputs / self.inputs_per_minute if self.inputs_per_minute else 0.0,
            )
        if start > now:
            self.sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Let no request start for so many seconds, whichever thread it is of."""
        with self._lock:
            self._free_at = max(self._free_at, self.clock() + seconds)
