"""Names of a far end that are looked up again, in threads: when their time is over, and when nobody answers.

While a look-up is under way, and when it fails, what was known is used.  A name that was not known at the
start is looked up every few seconds until it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from culvert.config.values import Address
from culvert.net import names
from culvert.net.addresses import Endpoint

FIRST_SECONDS: Final = 1.0
"""When a time to live is asked for after the start: the look-up of the start did not tell it."""

UNKNOWN_SECONDS: Final = 10.0
"""How long a name that means nothing is left alone."""

BETWEEN_SECONDS: Final = 1.0
"""Failed connections do not have names looked up more often."""

Changed = Callable[[tuple[Endpoint, ...]], None]


class Lookups:
    """Keeps the names of one far end fresh in one process."""

    def __init__(self, targets: Sequence[Address], loop: asyncio.AbstractEventLoop, changed: Changed) -> None:
        """changed: is given what the names mean now, when that is something else than before."""
        self._targets, self._loop, self._changed = targets, loop, changed
        self._known: frozenset[Endpoint] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._last = float("-inf")

    def start(self, known: Sequence[Endpoint]) -> None:
        """Begin with what was found before the process was forked."""
        self._known = frozenset(known)
        if not known or names.need_dns(self._targets):
            self._again(FIRST_SECONDS)

    def stop(self) -> None:
        """Look up no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def now(self) -> None:
        """Look up, unless that was just done; for a tunnel that found nobody."""
        if self._task is None and self._loop.time() - self._last < BETWEEN_SECONDS:
            return
        self._begin()
        assert self._task is not None
        await asyncio.shield(self._task)

    def _begin(self) -> None:
        if self._task is None:
            self._task = self._loop.create_task(self._look())
            self._task.add_done_callback(self._forget)

    def _forget(self, _task: asyncio.Task[None]) -> None:
        self._task = None

    async def _look(self) -> None:
        found = await self._loop.run_in_executor(None, names.look_up, self._targets)
        self._last = self._loop.time()
        if not found.endpoints:
            self._again(UNKNOWN_SECONDS)
            return
        if found.seconds is not None:
            self._again(found.seconds)
        if frozenset(found.endpoints) != self._known:
            self._known = frozenset(found.endpoints)
            self._changed(found.endpoints)

    def _again(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._begin)
