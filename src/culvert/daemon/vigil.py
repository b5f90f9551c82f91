"""Asking the workers for signs of life, for two who want to know.

A service manager's watchdog hears of the daemon only while every worker answers, so a process that hangs is
noticed as one that died.  And with `exitWhenIdle` the daemon ends once no worker has had a tunnel for so
long.  Where neither is wanted nobody is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from culvert.daemon.crew import Crew

LONGEST_PAUSE_SECONDS: Final = 5.0
SHORTEST_PAUSE_SECONDS: Final = 0.05


class Vigil:
    """Asks all workers again and again; `step` is called when `seconds_to_next` have passed, or more often.

    well: called when all have answered since they were last asked.
    watchdog: within how many seconds `well` must be called, None if nobody waits for it.
    idle: after how many seconds without a tunnel `step` returns True, None for never.
    """

    def __init__(
        self,
        crew: Crew,
        well: Callable[[], None],
        watchdog: float | None,
        idle: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._crew, self._well, self._clock = crew, well, clock
        self._wants_signs = watchdog is not None
        self.idle = idle
        self._pause = LONGEST_PAUSE_SECONDS if watchdog is None else min(LONGEST_PAUSE_SECONDS, watchdog / 3)
        self._next = self._busy_at = clock()

    def seconds_to_next(self) -> float | None:
        """How long until the workers are to be asked again; None when they need not be."""
        if not self._wants_signs and self.idle is None:
            return None
        return max(0.0, self._next - self._clock())

    def step(self) -> bool:
        """Look at the answers and ask again, if it is time; True when the daemon has been idle for long
        enough."""
        now = self._clock()
        if self.seconds_to_next() is None or now < self._next:
            return False
        members = self._crew.everybody()
        answered = bool(members) and all(member.answered for member in members)
        if answered and self._wants_signs:
            self._well()
        if not answered or not all(member.idle for member in members):
            self._busy_at = now
        self._crew.ask()
        self._next = now + self._pause_now()
        return self.idle is not None and now - self._busy_at >= self.idle

    def _pause_now(self) -> float:
        if self.idle is None:
            return self._pause
        return max(SHORTEST_PAUSE_SECONDS, min(self._pause, self.idle / 4))
