"""One tunnel as the engine sees it, and the driver of its life.

Theory of operation.  The life of a tunnel is a coroutine, but not an asyncio task: the engine resumes it
directly with the decision it waits for, which costs about a microsecond where a task and a future cost ten.
Such a coroutine may await only operations of its carrier.  What belongs to asyncio (a name look-up, a
sleep) is awaited through ``outside()``, which makes it a task of the running loop and resumes the life when
that is done.

Exactly one operation is under way at a time.  ``stop()`` throws TunnelStopped into the life wherever it
waits.  When the life ends, however it does, its carrier is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from culvert.engine.endings import Cause, DialFailed, Ending, HandshakeFailed, Side, TalkFailed, TunnelStopped
from culvert.openssl._lib import ffi, lib

if TYPE_CHECKING:
    from culvert.engine.engine import Engine
    from culvert.engine.route import SocketOptions
    from culvert.openssl.session import Session

T = TypeVar("T")

# enum flow
_PASSED: Final = 2
# What tunnel_peek() tells beside a number of octets.
_NOTHING_NOW: Final = -1
_FAILED: Final = -2
_FOREVER: Final = 0xFFFFFFFF
# No timeout of a configuration needs more: 24 days in milliseconds.
_LONGEST: Final = 0x7FFFFFFF


def milliseconds(seconds: float | None, *, closing: bool = False) -> int:
    """The engine's form of a time; ``closing``: of the time to wait for the other direction, where 0 is not
    to wait.

    Elsewhere 0 stands for ever, and what is shorter than a millisecond is one.
    """
    if seconds is None:
        return _FOREVER if closing else 0
    return min(max(0 if closing else 1, int(seconds * 1000)), _LONGEST)


class _Decision:
    """What a life yields while the engine works; it is sent the cause and the errno."""

    __slots__ = ()

    def __await__(self) -> Generator[_Decision, tuple[int, int], tuple[int, int]]:
        return (yield self)


_DECISION: Final = _Decision()


class Carrier:
    """Carries one tunnel: its two connections, from accept to close."""

    __slots__ = ("_cdata", "_engine", "_life", "_outside", "_session", "handle")

    def __init__(self, engine: Engine, cdata: Any) -> None:
        self._engine = engine
        self._cdata = cdata
        self._life: Coroutine[Any, Any, None] | None = None
        self._outside: asyncio.Future[Any] | None = None
        self._session: Session | None = None
        self.handle: int = cdata.handle

    # The operations, in the order of a tunnel's life.  Each is awaited by the life only.

    async def handshake(self, side: Side, session: Session, timeout: float | None) -> None:
        """Do the TLS handshake of ``session`` on one side; the carrier owns the session from now on.

        timeout: seconds without progress, None for ever; four times as long in all.  Raises HandshakeFailed.
        """
        session._taken = True
        self._session = session
        status = lib.tunnel_handshake(self._cdata, side, session._ssl, milliseconds(timeout))
        if status < 0:
            raise HandshakeFailed(Cause.RESET, -status)
        cause, errno = await _DECISION
        while cause == Cause.ASKED:
            await self.outside(session.answer())
            lib.tunnel_go_on(self._cdata, milliseconds(timeout))
            cause, errno = await _DECISION
        if cause:
            raise self.handshake_failure(Cause(cause), errno)

    async def dial(self, address: bytes, local: bytes, options: SocketOptions, timeout: float | None) -> None:
        """Connect to a packed struct sockaddr from ``local`` (packed, or empty for any).

        timeout: seconds, None for ever.  Raises DialFailed; then another address may be dialled.
        """
        self.hang_up()
        status = lib.tunnel_dial(
            self._cdata, address, len(address), local, len(local), options.cdata, options.count,
            milliseconds(timeout),
        )  # fmt: skip
        if status < 0:
            raise DialFailed(Cause.RESET, -status)
        cause, errno = await _DECISION
        if cause:
            raise DialFailed(Cause(cause), errno)

    async def send(self, side: Side, octets: bytes, timeout: float | None) -> None:
        """Send octets before the relay, in clear or inside the side's TLS; returns when the kernel has all.

        timeout: seconds in all, None for ever.  Raises TalkFailed.
        """
        status = lib.tunnel_say(self._cdata, side, octets, len(octets), milliseconds(timeout))
        if status == _FAILED:
            raise self._talk_failure()
        if status:
            await self._talk_decision()

    async def listen(self, side: Side, timeout: float | None) -> None:
        """Wait until a side has octets, or has ended; peek() tells.

        timeout: seconds in all, None for ever.  Raises TalkFailed, with Cause.BUSY when nothing came.
        """
        lib.tunnel_listen(self._cdata, side, milliseconds(timeout))
        await self._talk_decision()

    def peek(self, side: Side, most: int) -> bytes | None:
        """At most so many octets that a side has sent, which stay there; b"" at its end, None when there is
        nothing now.  Raises TalkFailed.
        """
        found = ffi.new("unsigned char[]", most)
        count = lib.tunnel_peek(self._cdata, side, found, most)
        if count == _FAILED:
            raise self._talk_failure()
        return None if count == _NOTHING_NOW else ffi.buffer(found, count)[:]

    def take(self, side: Side, count: int) -> None:
        """Remove octets that peek() has shown.  Raises TalkFailed."""
        if lib.tunnel_take(self._cdata, side, count) == _FAILED:
            raise self._talk_failure()

    def part(self) -> None:
        """Tell the TLS side, if there is one, that this is the end (close_notify)."""
        lib.tunnel_part(self._cdata)

    def adopt(self, descriptor: int, family: int, *, terminal: bool = False) -> None:
        """Take a connected, non-blocking descriptor for the dialled side, and own it.

        terminal: it is the master end of a pseudo terminal, and ``family`` does not count.
        """
        self.hang_up()
        lib.tunnel_adopt(self._cdata, descriptor, family, terminal)

    def expect_end(self, side: Side) -> None:
        """Take what can be read from a side now for all that there will be; harmless once the carrier is
        closed."""
        if self._cdata is not None:
            lib.tunnel_expect_end(self._cdata, side)
            self._engine.touched()

    async def relay(self, idle: float | None, close: float | None, *, tolerant: bool) -> Ending:
        """Relay until both directions are over.

        idle: seconds without a byte that end the tunnel, None: never.  close: the same once one direction
        has ended; 0 does not wait for the other.  tolerant: take a TCP end without close_notify for a clean
        end.
        """
        status = lib.tunnel_relay(
            self._cdata, milliseconds(idle), milliseconds(close, closing=True), tolerant
        )
        if status < 0:
            return self.ending(Cause.RESET, -status)
        cause, errno = await _DECISION
        return self.ending(Cause(cause), errno)

    async def outside(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something of asyncio; raises what it raises."""
        task = asyncio.ensure_future(work)
        self._outside = task
        task.add_done_callback(self._wake)
        await _DECISION
        self._outside = None
        return task.result()

    # Facts, at any time until close().

    @property
    def peer(self) -> bytes:
        """The packed struct sockaddr of the accepted connection; of a Unix socket only the family."""
        return bytes(ffi.buffer(self._cdata.peer, self._cdata.peer_size))

    @property
    def to_secure(self) -> int:
        """Octets of plain text that the TLS side has taken so far."""
        return int(self._cdata.delivered[self._cdata.secure])

    @property
    def to_plain(self) -> int:
        """Octets of plain text that the plain side has taken so far."""
        return int(self._cdata.delivered[1 - self._cdata.secure])

    def descriptor(self, side: Side) -> int:
        """The descriptor of a side, -1 when there is none; it stays the carrier's."""
        return int(lib.tunnel_descriptor(self._cdata, side))

    def handshake_failure(self, cause: Cause, errno: int) -> HandshakeFailed:
        """The exception for a handshake that ended for ``cause``."""
        return HandshakeFailed(cause, errno, self._tls_errors())

    def ending(self, cause: Cause, errno: int) -> Ending:
        """All that is known of the end of the relay that ended for ``cause``."""
        cdata = self._cdata
        secure = cdata.secure
        return Ending(
            cause,
            errno,
            cdata.delivered[secure],
            cdata.delivered[1 - secure],
            cdata.flow[secure] == _PASSED,
            cdata.flow[1 - secure] == _PASSED,
            cdata.first_end == secure + 1,
            self._tls_errors(),
        )

    # Life and end.

    def live(self, life: Coroutine[Any, Any, None]) -> None:
        """Start the coroutine that is this tunnel's life."""
        self._life = life
        self._step(None)

    def stop(self) -> None:
        """Throw TunnelStopped into the life; does nothing when it is over."""
        if self._life is None:
            return
        if self._outside is not None:
            self._outside.remove_done_callback(self._wake)
            self._outside.cancel()
        try:
            self._life.throw(TunnelStopped())
        except (StopIteration, TunnelStopped):
            self.close()
        except Exception as exc:  # noqa: BLE001 - whatever one tunnel does, the others live
            self._engine.crashed(self, exc)
        else:
            raise RuntimeError("a stopped tunnel went on")

    def hang_up(self) -> None:
        """Close the dialled connection, if there is one, so that another can be dialled."""
        lib.tunnel_hang_up(self._cdata)

    def close(self, *, reset_accepted: bool = False, reset_dialled: bool = False) -> None:
        """Close both connections, each with a reset where asked; only the first call counts."""
        if self._cdata is None:
            return
        cdata, self._cdata, self._life = self._cdata, None, None
        self._engine.forget(self)
        if self._session is not None:
            self._session._ssl = ffi.NULL
        lib.tunnel_close(cdata, reset_accepted, reset_dialled)

    def decided(self, cause: int, errno: int) -> None:
        """The engine has a decision for this tunnel."""
        self._step((cause, errno))

    def _wake(self, _task: asyncio.Future[Any]) -> None:
        self._step((0, 0))
        self._engine.touched()

    def _step(self, value: tuple[int, int] | None) -> None:
        life = self._life
        if life is None:
            return
        try:
            awaited = life.send(value)
        except StopIteration:
            self.close()
        except Exception as exc:  # noqa: BLE001 - whatever one tunnel does, the others live
            self._engine.crashed(self, exc)
        else:
            if awaited is not _DECISION:
                life.close()
                self._engine.crashed(self, TypeError(f"a tunnel awaited {awaited!r} without outside()"))

    async def _talk_decision(self) -> None:
        cause, errno = await _DECISION
        if cause:
            raise TalkFailed(Cause(cause), errno, self._tls_errors())

    def _talk_failure(self) -> TalkFailed:
        return TalkFailed(Cause(self._cdata.cause), self._cdata.error, self._tls_errors())

    def _tls_errors(self) -> tuple[int, ...]:
        first, last = self._cdata.tls_errors
        return (first, last) if first else ()
