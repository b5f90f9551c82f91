"""Ticket keys that change while a service runs."""

from __future__ import annotations

import asyncio
from typing import Final

from culvert.engine import Engine
from culvert.tls import TlsPolicy

LONGEST_WAIT: Final = 3600.0
"""Seconds; a loop's clock stands still while the machine sleeps, so what is far away is looked at again."""


class Rotation:
    """Turns the ticket keys of a service when their time has come."""

    def __init__(self, policy: TlsPolicy, engine: Engine) -> None:
        self._policy, self._engine = policy, engine
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Use the keys of this moment, and of every later one."""
        self.stop()
        wait = self._policy.turn_keys()
        if wait is not None and self._engine.loop is not None:
            self._timer = self._engine.loop.call_later(min(wait, LONGEST_WAIT), self.start)

    def stop(self) -> None:
        """Leave the keys as they are."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
