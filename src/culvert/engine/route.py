"""A service's tunnels in the engine, and the standing orders for those that go well."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from culvert.engine.carrier import Carrier, milliseconds
from culvert.engine.endings import Cause, Operation
from culvert.openssl._lib import ffi, lib

if TYPE_CHECKING:
    from culvert.engine.engine import Engine
    from culvert.openssl.context import Context

Unusual = Callable[[Carrier, Operation, Cause, int], None]


class SocketOptions:
    """Options for sockets that are dialled, in the engine's form.

    Each is (level, name, value), the value of at most 20 octets.
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

    def __init__(self, engine: Engine, cdata: Any, starved: Callable[[Listener, int], None]) -> None:
        self._engine = engine
        self._cdata = cdata
        self.handle: int = cdata.handle
        self.starved = starved

    def resume(self) -> None:
        """Accept again."""
        if self._cdata is not None:
            lib.listener_resume(self._engine.cdata, self._cdata)

    def close(self) -> None:
        """Stop accepting and close the descriptor; only the first call counts."""
        if self._cdata is None:
            return
        cdata, self._cdata = self._cdata, None
        self._engine.listeners.pop(self.handle)
        lib.listener_close(self._engine.cdata, cdata)


class Route:
    """All tunnels of one service.  Made by Engine.route().

    accepted: is given each new carrier that the standing orders do not cover, and starts its life.
    unusual: is given the carrier of a tunnel whose orders failed, which operation it was, and why (cause,
    errno); it ends the tunnel.
    """

    def __init__(
        self, engine: Engine, handle: int, accepted: Callable[[Carrier], None], unusual: Unusual
    ) -> None:
        self._engine = engine
        self.handle = handle
        self.accepted = accepted
        self.unusual = unusual
        self.quiet: Callable[[], None] | None = None
        self._cdata = lib.route_new(engine.cdata, handle)
        if self._cdata == ffi.NULL:
            raise MemoryError("no route")

    @property
    def live(self) -> int:
        """The number of its tunnels."""
        return 0 if self._cdata is None else int(self._cdata.live)

    def order(
        self,
        context: Context,
        address: bytes,
        options: SocketOptions,
        *,
        busy: float | None,
        connect: float | None,
        idle: float | None,
        close: float | None,
        tolerant: bool,
    ) -> None:
        """From now on carry every connection without asking, as long as it goes well.

        That is: handshake as a server, dial ``address`` (a packed struct sockaddr), relay, close.  Times as
        in the operations of Carrier.  Raises OSError when the orders are too long.
        """
        cdata = self._cdata
        cdata.busy, cdata.connect = milliseconds(busy), milliseconds(connect)
        cdata.idle, cdata.close = milliseconds(idle), milliseconds(close, closing=True)
        cdata.tolerant = tolerant
        status = lib.route_order(cdata, context._ctx, address, len(address), options.cdata, options.count)
        if status < 0:
            raise OSError(-status, os.strerror(-status))

    def countermand(self) -> None:
        """Ask about every new connection again; tunnels that go by the orders go on by them."""
        self._cdata.standing = 0

    def listen(
        self, descriptor: int, starved: Callable[[Listener, int], None], *, exclusive: bool = False
    ) -> Listener:
        """Accept connections from a listening, non-blocking socket; the listener owns the descriptor.

        starved: is told when accept(2) failed for want of descriptors or memory (errno); the listener is
        paused then.  exclusive: other processes accept from the same socket, and one of them is enough for
        a connection. Raises OSError.
        """
        handle = self._engine.new_handle()
        cdata = lib.listener_open(self._engine.cdata, self._cdata, descriptor, handle, exclusive)
        if cdata == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        listener = self._engine.listeners[handle] = Listener(self._engine, cdata, starved)
        self._engine.touched()
        return listener

    def begin(self, descriptor: int, family: int, *, terminal: bool = False) -> Carrier:
        """A tunnel whose accepted side is this connected, non-blocking descriptor, which it owns.

        Its life is the caller's to start.  Raises MemoryError.
        """
        cdata = lib.tunnel_begin(self._cdata, descriptor, family, terminal)
        if cdata == ffi.NULL:
            raise MemoryError("no tunnel")
        self._engine.touched()
        return self._engine.carry(cdata)

    def watch(self, quiet: Callable[[], None]) -> None:
        """Call ``quiet`` once, as soon as no tunnel is left."""
        self.quiet = quiet
        lib.route_watch(self._cdata)
        self._engine.touched()

    def amounts(self) -> Iterator[tuple[int, int]]:
        """For each tunnel the octets of plain text that its TLS side and its plain side have taken."""
        for tunnel in self._tunnels():
            yield tunnel.delivered[tunnel.secure], tunnel.delivered[1 - tunnel.secure]

    def stop_all(self, *, reset: bool) -> None:
        """Throw TunnelStopped into every life; close, with a reset or not, what goes by standing orders."""
        for tunnel in self._tunnels():
            carrier = self._engine.carrier(tunnel.handle)
            if carrier is not None:
                carrier.stop()
            else:
                lib.tunnel_close(tunnel, reset, reset)
        self._engine.touched()

    def _tunnels(self) -> Iterator[Any]:
        """Its tunnels in C; each may be closed before the next one is asked for."""
        tunnel = ffi.NULL if self._cdata is None else lib.route_next(self._cdata, ffi.NULL)
        while tunnel != ffi.NULL:
            following = lib.route_next(self._cdata, tunnel)
            yield tunnel
            tunnel = following

    def close(self) -> None:
        """Reset every tunnel, and forget the route; its listeners must be closed.

        Only the first call counts.
        """
        if self._cdata is None:
            return
        self.stop_all(reset=True)
        self._engine.routes.pop(self.handle)
        lib.route_free(self._cdata)
        self._cdata = None
