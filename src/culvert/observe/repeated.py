"""One log line for an event that happens again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from culvert.observe.log import Log


class Repeated:
    """Writes a line at most once in `period` seconds and then says how many times it was held back.

    clock: seconds, monotonic.
    """

    def __init__(
        self, log: Log, level: int, period: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._level, self._period, self._clock = log, level, period, clock
        self._quiet_until = float("-inf")
        self._held_back = 0

    def happened(self, text: str) -> bool:
        """Write the text unless the last line is too recent; returns whether it was written."""
        now = self._clock()
        if now < self._quiet_until:
            self._held_back += 1
            return False
        more = f" ({self._held_back} times more since the last such line)" if self._held_back else ""
        self._log.write(self._level, text + more)
        self._quiet_until, self._held_back = now + self._period, 0
        return True
