"""What is said on a side before the relay, in clear and inside TLS, and what is left for whoever comes
next.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any

import pytest

from culvert.engine import Carrier, Cause, Ending, Side, TalkFailed
from tests.engine.carrying import DEADLINE, NO_OPTIONS, place, server_context, trusting
from tests.pki import Pki
from tests.proxies import Deadline, TlsPeer

NEAR, FAR = Side.ACCEPTED, Side.DIALLED
LONG = bytes(range(256)) * 16_384  # 4 MiB: more than the kernel takes for a peer who does not read


async def hear(carrier: Carrier, side: Side, count: int) -> bytes:
    """Exactly so many octets, or those before the end."""
    heard = b""
    while len(heard) < count:
        octets = carrier.peek(side, count - len(heard))
        if octets is None:
            await carrier.listen(side, DEADLINE)
        elif octets:
            carrier.take(side, len(octets))
            heard += octets
        else:
            break
    return heard


def test_a_handshake_finds_what_stood_behind_the_octets_that_were_taken(pki: Pki) -> None:
    heard: list[bytes] = []
    endings: list[Ending] = []
    context = server_context(pki.server)

    async def life(carrier: Carrier) -> None:
        heard.append(await hear(carrier, NEAR, 10))
        await carrier.handshake(NEAR, context.session(), DEADLINE)
        heard.append(await hear(carrier, NEAR, 4))
        await carrier.send(NEAR, b"welcome", DEADLINE)
        await carrier.dial(it.backend_address, b"", NO_OPTIONS, DEADLINE)
        await carrier.send(FAR, b"header ", DEADLINE)
        endings.append(await carrier.relay(None, DEADLINE, tolerant=False))

    with place(life) as it:

        def talk() -> tuple[bytes, int]:
            with it.dialled() as raw:
                deadline = Deadline(DEADLINE)
                peer = TlsPeer(raw, trusting(pki), server=False)
                with contextlib.suppress(ssl.SSLWantReadError):
                    peer.tls.do_handshake()
                peer.send_raw(b"0123456789" + peer.held(), deadline)  # the ClientHello in the same segment
                peer.handshake(deadline, keep_last_flight=True)
                peer.hold(b"userrelayed")  # what is negotiated and what is relayed in one record (T4)
                peer.flush(deadline)
                it.backend.settimeout(DEADLINE)
                near, _ = it.backend.accept()
                with near, near.makefile("rb") as stream:
                    relayed = stream.read(len(b"header relayed"))
                peer.read(len(b"welcome"), deadline)
                return relayed, peer.seen().octets

        assert it.meanwhile(talk) == (b"header relayed", 7)
        it.until(lambda: bool(endings))
    assert heard == [b"0123456789", b"user"]
    assert (endings[0].to_plain, endings[0].to_secure) == (7, 0)
    assert it.crashes == []


@pytest.mark.parametrize("secure", [False, True], ids=["in clear", "in TLS"])
def test_what_a_slow_peer_refuses_is_sent_when_it_reads(pki: Pki, secure: bool) -> None:
    done: list[bool] = []
    context = server_context(pki.server)

    async def life(carrier: Carrier) -> None:
        if secure:
            await carrier.handshake(NEAR, context.session(), DEADLINE)
        for start in range(0, len(LONG), 65_536):
            await carrier.send(NEAR, LONG[start : start + 65_536], DEADLINE)
        done.append(True)
        carrier.part()

    def talk() -> bytes:
        with it.dialled() as raw:
            peer = trusting(pki).wrap_socket(raw, server_hostname="localhost") if secure else raw
            with peer, peer.makefile("rb") as stream:
                return stream.read()

    with place(life) as it:
        assert it.meanwhile(talk) == LONG
    assert done == [True]
    assert it.crashes == []


Wait = Callable[[Carrier], Any]


async def _listens(carrier: Carrier) -> None:
    carrier.peek(NEAR, 1)
    await carrier.listen(NEAR, 0.05)


async def _sends(carrier: Carrier) -> None:
    while True:
        await carrier.send(NEAR, LONG[:262_144], 0.05)


@pytest.mark.parametrize("wait", [_listens, _sends])
def test_a_wait_is_over_when_its_time_is(wait: Wait) -> None:
    failures: list[TalkFailed] = []

    async def life(carrier: Carrier) -> None:
        try:
            await wait(carrier)
        except TalkFailed as failure:
            failures.append(failure)

    with place(life) as it, it.dialled():
        it.until(lambda: bool(failures))
    assert [each.cause for each in failures] == [Cause.BUSY]


def test_an_end_and_a_reset_are_told_apart() -> None:
    seen: list[object] = []

    async def life(carrier: Carrier) -> None:
        try:
            seen.append(await hear(carrier, NEAR, 10))
        except TalkFailed as failure:
            seen.append(failure.cause)

    with place(life) as it:
        with it.dialled() as peer:
            peer.sendall(b"half")
            peer.shutdown(socket.SHUT_WR)
            it.until(lambda: len(seen) == 1)
        with it.dialled() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        it.until(lambda: len(seen) == 2)
    assert seen == [b"half", Cause.RESET]


def test_a_stopped_tunnel_leaves_its_talk() -> None:
    lives: list[Carrier] = []

    async def life(carrier: Carrier) -> None:
        lives.append(carrier)
        carrier.peek(NEAR, 1)
        await carrier.listen(NEAR, None)

    with place(life) as it, it.dialled() as peer:
        it.until(lambda: bool(lives))
        it.route.stop_all(reset=False)
        peer.settimeout(DEADLINE)
        assert peer.recv(1) == b""
    assert it.crashes == []
