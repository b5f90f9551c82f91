"""The engine: listeners, carriers, and the decisions that come back from C."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from culvert.engine.carrier import Carrier
from culvert.openssl._lib import ffi, lib

# enum decision_kind
_ACCEPTED: Final = 1
_STARVED: Final = 2

Crash = Callable[[Carrier, Exception], None]


class SocketOptions:
    """Options for sockets that are dialled, in the engine's form: (level, name, value) each, at most 20
    octets.
    """

    __slots__ = ("cdata", "count")

    def __init__(self, options: Sequence[tuple[int, int, bytes]] = ()) -> None:
        self.count = len(options)
        self.cdata: Any = ffi.new("struct socket_option[]", self.count or 1)
        for option, (level, name, value) in zip(self.cdata, options, strict=False):
            option.level, option.name, option.size = level, name, len(value)
            ffi.memmove(option.value, value, len(value))


class Listener:
    """A listening socket that the engine accepts from."""

    def __init__(
        self,
        engine: Engine,
        cdata: Any,
        accepted: Callable[[Carrier], None],
        starved: Callable[[Listener, int], None],
    ) -> None:
        self._engine = engine
        self._cdata = cdata
        self.accepted = accepted
        self.starved = starved

    def pause(self) -> None:
        """Stop accepting; connections wait in the kernel's queue."""
        if self._cdata is not None:
            lib.listener_pause(self._engine.cdata, self._cdata)

    def resume(self) -> None:
        """Accept again."""
        if self._cdata is not None:
            lib.listener_resume(self._engine.cdata, self._cdata)

    def close(self) -> None:
        """Stop accepting and close the descriptor; only the first call counts."""
        if self._cdata is None:
            return
        cdata, self._cdata = self._cdata, None
        self._engine.forget_listener(cdata.handle)
        lib.listener_close(self._engine.cdata, cdata)


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
        self._carriers: dict[int, Carrier] = {}
        self._listeners: dict[int, Listener] = {}
        self._last_listener = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn_planned = False

    @property
    def live(self) -> int:
        """The number of tunnels."""
        return len(self._carriers)

    def listen(
        self,
        descriptor: int,
        accepted: Callable[[Carrier], None],
        starved: Callable[[Listener, int], None],
        *,
        exclusive: bool = False,
    ) -> Listener:
        """Accept connections from a listening, non-blocking socket; the listener owns the descriptor.

        accepted: is given each new carrier and starts its life.  starved: is told when accept(2) failed for
        want of descriptors or memory (errno); the listener is paused then.  exclusive: other processes
        accept from the same socket, and one of them is enough for a connection.  Raises OSError.
        """
        self._last_listener += 1
        cdata = lib.listener_open(self.cdata, descriptor, self._last_listener, exclusive)
        if cdata == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        listener = Listener(self, cdata, accepted, starved)
        self._listeners[self._last_listener] = listener
        self.touched()
        return listener

    def adopt(self, descriptor: int, peer: bytes = b"") -> Carrier:
        """A carrier for a connection that came in another way (inetd); non-blocking, owned from now on."""
        cdata = lib.tunnel_new(self.cdata, descriptor)
        if cdata == ffi.NULL:
            raise MemoryError("no tunnel")
        return self._carry(cdata, peer)

    def run(self, timeout: int) -> int:
        """Move bytes until there is something to do in Python, for at most ``timeout`` ms (-1: no bound);
        then do it.

        Returns -errno when a signal or an error came, 1 when tunnels wait for a further turn, else 0.
        """
        status: int = lib.engine_run(self.cdata, timeout)
        if self.cdata.decision_count:
            self._dispatch()
        return status

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Live under ``loop``, any loop that has add_reader()."""
        self._loop = loop
        loop.add_reader(self.descriptor, self._turn)

    def close(self) -> None:
        """Close every listener and tunnel, and the engine."""
        if self.cdata is None:
            return
        for listener in tuple(self._listeners.values()):
            listener.close()
        for carrier in tuple(self._carriers.values()):
            carrier.stop()
        if self._loop is not None:
            self._loop.remove_reader(self.descriptor)
        lib.engine_free(self.cdata)
        self.cdata = None

    # For carriers and listeners.

    def forget(self, carrier: Carrier) -> None:
        """The carrier is closed."""
        del self._carriers[carrier.handle]

    def forget_listener(self, handle: int) -> None:
        """The listener is closed."""
        del self._listeners[handle]

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

    def _carry(self, cdata: Any, peer: bytes) -> Carrier:
        carrier = Carrier(self, cdata, peer)
        self._carriers[carrier.handle] = carrier
        return carrier

    def _dispatch(self) -> None:
        # Acting on a decision may bring further ones, and may move the array.
        cdata, index = self.cdata, 0
        while index < cdata.decision_count:
            decision = cdata.decisions[index]
            index += 1
            kind = decision.kind
            if kind == _ACCEPTED:
                peer = ffi.buffer(decision.peer, decision.peer_size)[:]
                self._accepted(decision.listener, self._carry(decision.tunnel, peer))
            elif kind == _STARVED:
                listener = self._listeners[decision.listener]
                listener.starved(listener, decision.error)
            elif kind:
                self._carriers[decision.tunnel.handle].decided(decision.cause, decision.error)
        cdata.decision_count = 0

    def _accepted(self, handle: int, carrier: Carrier) -> None:
        listener = self._listeners.get(handle)
        if listener is None:  # it was closed by an earlier decision of the same turn
            carrier.close(reset_accepted=True)
            return
        try:
            listener.accepted(carrier)
        except Exception as exc:  # noqa: BLE001 - one connection must not end the worker
            self.crashed(carrier, exc)
