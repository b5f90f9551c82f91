"""Sections with `exec` and `connect`: a program takes the place of the accepted side, from the start of the
daemon on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from culvert.engine import Carrier, Route, Side
from culvert.errors import SystemRefusal
from culvert.observe.log import ERR, INFO, Log
from culvert.tunnel.environment import environment
from culvert.tunnel.program import Children, Program


class NearProgram:
    """Keeps one such program going: starts it, and with `retry` starts it again when its tunnel has ended.

    live: leads the life of a tunnel whose accepted side is the program.
    retry: seconds to wait before it is started again, None not to.
    """

    def __init__(
        self,
        program: Program,
        route: Route,
        children: Children,
        live: Callable[[Carrier], None],
        retry: float | None,
        log: Log,
    ) -> None:
        self._program, self._route, self._children = program, route, children
        self._live, self._retry, self._log = live, retry, log
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def start(self) -> None:
        """Run it now; that it cannot be run is logged."""
        self._timer = None
        try:
            started = self._program.start(environment(None, None), self._log.write)
        except SystemRefusal as refusal:
            self._log.write(ERR, str(refusal))
            self.ended()
            return
        carrier = self._route.begin(started.descriptor, started.family, terminal=started.terminal)
        try:
            self._children.add(started, self._log.write, lambda: carrier.expect_end(Side.ACCEPTED))
        except SystemRefusal as refusal:
            self._log.write(ERR, str(refusal))
            carrier.close()
            self.ended()
            return
        self._live(carrier)

    def ended(self) -> None:
        """Its tunnel is closed: start it again, if that is wanted."""
        if self._stopped or self._retry is None:
            return
        self._log.write(INFO, "Retrying an exec+connect section")
        self._timer = asyncio.get_running_loop().call_later(self._retry, self.start)

    def stop(self) -> None:
        """Do not start it again."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
