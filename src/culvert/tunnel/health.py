"""Far ends that did not take a connection are tried last, for a time that grows while they go on so.

Nobody is left out: where all are in trouble, or there is only one, it is tried all the same.  Each worker
learns for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from culvert.net.addresses import Endpoint

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 60.0
MOST: Final = 1024
"""Addresses in trouble that are remembered: names that mean something else each time fill no memory."""


class _Trouble(NamedTuple):
    failures: int
    until: float


class Health:
    """What one far end's addresses did lately.  clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._troubles: dict[Endpoint, _Trouble] = {}

    def failed(self, endpoint: Endpoint) -> float:
        """It did not take a connection; returns for how many seconds it is tried last."""
        before = self._troubles.pop(endpoint, None)
        failures = before.failures + 1 if before else 1
        seconds = min(FIRST_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_SECONDS)
        if len(self._troubles) >= MOST:
            del self._troubles[next(iter(self._troubles))]
        self._troubles[endpoint] = _Trouble(failures, self._clock() + seconds)
        return seconds

    def worked(self, endpoint: Endpoint) -> bool:
        """It took a connection; whether it had been in trouble."""
        return bool(self._troubles) and self._troubles.pop(endpoint, None) is not None

    def order(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """These, with those in trouble behind the others."""
        if not self._troubles or len(endpoints) == 1:
            return endpoints
        now = self._clock()
        last = [each for each in endpoints if self._is_in_trouble(each, now)]
        return [*(each for each in endpoints if each not in last), *last]

    def _is_in_trouble(self, endpoint: Endpoint, now: float) -> bool:
        trouble = self._troubles.get(endpoint)
        return trouble is not None and trouble.until > now
