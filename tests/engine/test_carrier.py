"""Carriers: operations one after the other, and lives that end in every way."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from culvert.engine import Carrier, Cause, DialFailed, Ending, HandshakeFailed, Side, TunnelStopped
from culvert.net.addresses import of_socket
from tests.engine.carrying import DEADLINE, NO_OPTIONS, place, serve, server_context, trusting
from tests.pki import Pki


def test_a_relay_counts_what_it_carried_and_how_it_ended(pki: Pki) -> None:
    endings: list[Ending] = []
    context = server_context(pki.server)

    async def life(carrier: Carrier) -> None:
        endings.append(await serve(carrier, context, it.backend_address))

    with place(life) as it:

        def talk() -> bytes:
            with trusting(pki).wrap_socket(it.dialled(), server_hostname="localhost") as peer:
                it.backend.settimeout(DEADLINE)
                near, _ = it.backend.accept()
                peer.sendall(b"request")
                assert near.recv(100) == b"request"
                near.sendall(b"the reply")
                near.close()
                return peer.recv(100) + peer.recv(100)

        assert it.meanwhile(talk) == b"the reply"
        it.until(lambda: bool(endings))
    (ending,) = endings
    assert (ending.to_plain, ending.to_secure) == (7, 9)
    assert ending.plain_ended
    assert not ending.secure_first
    assert it.crashes == []


Life = Callable[[Carrier], Coroutine[Any, Any, None]]


def shaking(pki: Pki, timeout: float = DEADLINE) -> tuple[Life, list[HandshakeFailed]]:
    """A life that is a handshake which should fail, and where its failure is put."""
    failures: list[HandshakeFailed] = []
    context = server_context(pki.server)

    async def life(carrier: Carrier) -> None:
        try:
            await carrier.handshake(Side.ACCEPTED, context.session(), timeout)
        except HandshakeFailed as failure:
            failures.append(failure)

    return life, failures


def test_a_peer_that_leaves_in_the_handshake_fails_it(pki: Pki) -> None:
    life, failures = shaking(pki)
    with place(life) as it:
        it.dialled().close()
        it.until(lambda: bool(failures))
    assert failures[0].cause is Cause.EOF


def test_a_peer_that_does_not_speak_tls_fails_with_openssls_reason(pki: Pki) -> None:
    life, failures = shaking(pki)
    with place(life) as it, it.dialled() as peer:
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        it.until(lambda: bool(failures))
    assert failures[0].cause is Cause.TLS
    assert failures[0].tls_errors


def test_a_silent_peer_ends_the_handshake_by_its_timer(pki: Pki) -> None:
    life, failures = shaking(pki, timeout=0.1)
    with place(life) as it, it.dialled():
        it.until(lambda: bool(failures))
    assert failures[0].cause is Cause.BUSY


def test_another_address_can_be_dialled_after_a_refusal() -> None:
    seen: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = of_socket(gone).packed

    async def life(carrier: Carrier) -> None:
        with pytest.raises(DialFailed, match="Connection refused"):
            await carrier.dial(closed, b"", NO_OPTIONS, DEADLINE)
        await carrier.dial(it.backend_address, b"", NO_OPTIONS, DEADLINE)
        seen.append(carrier.descriptor(Side.DIALLED) >= 0)

    with place(life) as it, it.dialled():
        it.until(lambda: bool(seen))
    assert seen == [True]
    assert it.crashes == []


def test_a_life_awaits_asyncio_through_outside() -> None:
    seen: list[str] = []

    async def answer() -> str:
        await asyncio.sleep(0.01)
        return "answer"

    async def life(carrier: Carrier) -> None:
        seen.append(await carrier.outside(answer()))

    with place(life) as it, it.dialled():
        it.until(lambda: bool(seen))
    assert seen == ["answer"]


def test_what_fails_outside_is_raised_in_the_life() -> None:
    seen: list[Exception] = []

    async def fail() -> None:
        raise LookupError("no such name")

    async def life(carrier: Carrier) -> None:
        try:
            await carrier.outside(fail())
        except LookupError as error:
            seen.append(error)

    with place(life) as it, it.dialled():
        it.until(lambda: bool(seen))
    assert str(seen[0]) == "no such name"


def test_a_life_that_awaits_asyncio_directly_is_ended() -> None:
    async def life(_carrier: Carrier) -> None:
        await asyncio.get_running_loop().create_future()

    with place(life) as it, it.dialled() as peer:
        it.until(lambda: bool(it.crashes))
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
    assert "outside()" in str(it.crashes[0])


def test_an_exception_ends_its_tunnel_and_no_other() -> None:
    lives: list[Carrier] = []

    async def wait() -> None:
        await asyncio.sleep(DEADLINE)

    async def life(carrier: Carrier) -> None:
        lives.append(carrier)
        if len(lives) == 2:
            raise ArithmeticError("a fault")
        await carrier.outside(wait())

    with place(life) as it, it.dialled(), it.dialled() as second:
        it.until(lambda: bool(it.crashes))
        with pytest.raises(ConnectionResetError):
            second.recv(1)
        assert it.engine.live == 1
    assert [type(exc) for exc in it.crashes] == [ArithmeticError]


@pytest.mark.parametrize("where", ["handshake", "outside"])
def test_stopping_reaches_a_life_wherever_it_waits(where: str, pki: Pki) -> None:
    seen: list[str] = []
    carriers: list[Carrier] = []
    context = server_context(pki.server)

    async def wait() -> None:
        await asyncio.sleep(DEADLINE)

    async def life(carrier: Carrier) -> None:
        carriers.append(carrier)
        try:
            if where == "handshake":
                await carrier.handshake(Side.ACCEPTED, context.session(), DEADLINE)
            else:
                await carrier.outside(wait())
        except TunnelStopped:
            seen.append(where)

    with place(life) as it, it.dialled():
        it.until(lambda: bool(carriers))
        carriers[0].stop()
        assert it.engine.live == 0
    assert seen == [where]
    assert it.crashes == []


def test_stopping_twice_is_stopping_once() -> None:
    carriers: list[Carrier] = []

    async def wait() -> None:
        await asyncio.sleep(DEADLINE)

    async def life(carrier: Carrier) -> None:
        carriers.append(carrier)
        await carrier.outside(wait())

    with place(life) as it, it.dialled():
        it.until(lambda: bool(carriers))
        carriers[0].stop()
        carriers[0].stop()
        carriers[0].close()
        assert it.engine.live == 0


def test_a_peer_that_closes_without_close_notify_resets_the_other_side_at_once(pki: Pki) -> None:
    endings: list[Ending] = []
    context = server_context(pki.server)

    async def life(carrier: Carrier) -> None:
        await carrier.handshake(Side.ACCEPTED, context.session(), DEADLINE)
        await carrier.dial(it.backend_address, b"", NO_OPTIONS, DEADLINE)
        ending = await carrier.relay(None, 600, tolerant=False)
        endings.append(ending)
        carrier.close(reset_accepted=True, reset_dialled=True)

    with place(life) as it:

        def talk() -> bytes:
            peer = trusting(pki).wrap_socket(it.dialled(), server_hostname="localhost")
            it.backend.settimeout(DEADLINE)
            near, _ = it.backend.accept()
            near.settimeout(DEADLINE)
            peer.sendall(b"request")
            near.sendall(b"a reply that crosses the end")
            peer.close()
            with near:
                received = near.recv(100)
                with pytest.raises(ConnectionResetError):
                    near.recv(100)
            return received

        assert it.meanwhile(talk) == b"request"
        it.until(lambda: bool(endings))
    assert not endings[0].orderly


def test_a_slow_reader_has_everything_before_the_reset_reaches_it(pki: Pki) -> None:
    size = 3_000_000
    endings: list[Ending] = []
    context = server_context(pki.server)

    async def life(carrier: Carrier) -> None:
        await carrier.handshake(Side.ACCEPTED, context.session(), DEADLINE)
        await carrier.dial(it.backend_address, b"", NO_OPTIONS, DEADLINE)
        endings.append(await carrier.relay(None, DEADLINE, tolerant=False))
        carrier.close(reset_accepted=True, reset_dialled=True)

    with place(life) as it:

        def talk() -> int:
            with trusting(pki).wrap_socket(it.dialled(), server_hostname="localhost") as peer:
                it.backend.settimeout(DEADLINE)
                near, _ = it.backend.accept()
                received = 0
                near.sendall(bytes(size))
                while unacknowledged(near):  # what the engine's kernel has is the engine's to deliver
                    received += len(peer.recv(16384))
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                near.close()
                with contextlib.suppress(ConnectionResetError):
                    while data := peer.recv(16384):
                        received += len(data)
                return received

        assert it.meanwhile(talk) == size
        it.until(lambda: bool(endings))
    assert endings[0].cause is Cause.RESET
    assert endings[0].to_secure == size


def unacknowledged(sock: socket.socket) -> int:
    """Octets in the socket's send queue (SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
