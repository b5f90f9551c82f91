"""The engine, and the decisions that come back from C."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from culvert.engine.carrier import Carrier
from culvert.engine.endings import Cause, Operation
from culvert.engine.route import Listener, Route, Unusual
from culvert.openssl._lib import ffi, lib

# enum decision_kind
_ACCEPTED: Final = 1
_STARVED: Final = 2
_QUIET: Final = 6

Crash = Callable[[Carrier, Exception], None]


class Engine:
    """One per event loop.  ``EngineLoop`` runs one as its selector; ``attach()`` puts one under any other
    loop.
    """

    def __init__(self, *, with_alarm: bool = False) -> None:
        """``with_alarm``: timers wake whoever watches ``descriptor``; for engines under another loop."""
        self.cdata: Any = lib.engine_new(with_alarm)
        if self.cdata == ffi.NULL:
            raise MemoryError("no engine")
        self.descriptor: int = self.cdata.epoll
        self.on_crash: Crash | None = None
        self.loop: asyncio.AbstractEventLoop | None = None  # that it lives in, or under
        self.routes: dict[int, Route] = {}
        self.listeners: dict[int, Listener] = {}
        self._carriers: dict[int, Carrier] = {}
        self._last_handle = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn_planned = False

    @property
    def live(self) -> int:
        """The number of tunnels."""
        return int(self.cdata.live)

    @property
    def tunnels_so_far(self) -> int:
        """How many tunnels there were since the engine was made, those of standing orders too."""
        return int(self.cdata.handles)

    def allow(self, tunnels: int) -> None:
        """Ask Python about every connection beyond so many tunnels, standing orders or not."""
        self.cdata.most = tunnels

    def route(self, accepted: Callable[[Carrier], None], unusual: Unusual) -> Route:
        """A place for the tunnels of one service; see Route."""
        handle = self.new_handle()
        route = self.routes[handle] = Route(self, handle, accepted, unusual)
        return route

    def run(self, timeout: int) -> int:
        """Move bytes until there is something to do in Python, for at most ``timeout`` ms (-1: no bound);
        then do it.

        Returns -errno when a signal or an error came, 1 when tunnels wait for a further turn, else 0.
        """
        status: int = lib.engine_run(self.cdata, timeout)
        if self.cdata.decision_count:
            self._dispatch()
            if self._loop is not None and self.cdata is not None:
                lib.timers_set_alarm(self.cdata)  # for the timers of what was decided
        return status

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Live under ``loop``, any loop that has add_reader()."""
        self.loop = self._loop = loop
        loop.add_reader(self.descriptor, self._turn)

    def close(self) -> None:
        """Close every listener and tunnel, and the engine."""
        if self.cdata is None:
            return
        for listener in tuple(self.listeners.values()):
            listener.close()
        for route in tuple(self.routes.values()):
            route.close()
        if self._loop is not None:
            self._loop.remove_reader(self.descriptor)
        lib.engine_free(self.cdata)
        self.cdata = None

    # For carriers, listeners and routes.

    def new_handle(self) -> int:
        """A number for a route or a listener."""
        self._last_handle += 1
        return self._last_handle

    def carry(self, cdata: Any) -> Carrier:
        """A carrier for a tunnel of C that has none."""
        carrier = Carrier(self, cdata)
        self._carriers[carrier.handle] = carrier
        return carrier

    def carrier(self, handle: int) -> Carrier | None:
        """The carrier of a tunnel; one that goes by standing orders has none."""
        return self._carriers.get(handle)

    def forget(self, carrier: Carrier) -> None:
        """The carrier is closed."""
        del self._carriers[carrier.handle]

    def crashed(self, carrier: Carrier, exc: Exception) -> None:
        """A life ended with an exception that it should have handled: reset the tunnel, tell whoever logs."""
        carrier.close(reset_accepted=True, reset_dialled=True)
        if self.on_crash is not None:
            self.on_crash(carrier, exc)

    def touched(self) -> None:
        """Something was asked of the engine outside of its turn: have another loop give it one soon."""
        if self._loop is not None and not self._turn_planned:
            self._turn_planned = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_planned = False
        if self.cdata is not None and self.run(0) > 0:
            self.touched()

    def _dispatch(self) -> None:
        # Acting on a decision may bring further ones, and may move the array.
        cdata, index = self.cdata, 0
        while index < cdata.decision_count:
            decision = cdata.decisions[index]
            index += 1
            kind = decision.kind
            if kind > _STARVED and kind != _QUIET:
                self._decided(decision.tunnel, kind, decision.cause, decision.error)
            elif kind == _ACCEPTED:
                self._accepted(self.carry(decision.tunnel), decision.tunnel.route.handle)
            elif kind == _STARVED:
                listener = self.listeners[decision.listener]
                listener.starved(listener, decision.error)
            elif kind == _QUIET:
                self._quiet(decision.listener)
        cdata.decision_count = 0

    def _decided(self, tunnel: Any, kind: int, cause: int, errno: int) -> None:
        carrier = self._carriers.get(tunnel.handle)
        if carrier is not None:
            carrier.decided(cause, errno)
            return
        carrier = self.carry(tunnel)
        try:
            self.routes[tunnel.route.handle].unusual(carrier, Operation(kind), Cause(cause), errno)
        except Exception as exc:  # noqa: BLE001 - one connection must not end the worker
            self.crashed(carrier, exc)

    def _accepted(self, carrier: Carrier, route: int) -> None:
        try:
            self.routes[route].accepted(carrier)
        except Exception as exc:  # noqa: BLE001 - one connection must not end the worker
            self.crashed(carrier, exc)

    def _quiet(self, handle: int) -> None:
        route = self.routes.get(handle)
        if route is not None and route.quiet is not None:
            route.quiet()
