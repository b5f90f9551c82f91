"""Standing orders: connections that go well never reach Python."""

from __future__ import annotations

import socket

from culvert.engine import Carrier, Cause, Operation
from culvert.net.addresses import of_socket
from tests.engine.carrying import DEADLINE, NO_OPTIONS, Place, place, server_context, trusting
from tests.pki import Pki


async def never(_carrier: Carrier) -> None:
    raise AssertionError("a connection under standing orders came to Python")


def give_orders(it: Place, pki: Pki, *, busy: float = DEADLINE, address: bytes | None = None) -> None:
    it.route.order(
        server_context(pki.server),
        address or it.backend_address,
        NO_OPTIONS,
        busy=busy,
        connect=DEADLINE,
        idle=DEADLINE,
        close=DEADLINE,
        tolerant=False,
    )


def test_a_connection_that_goes_well_does_not_come_to_python(pki: Pki) -> None:
    quiet: list[bool] = []
    with place(never) as it:
        give_orders(it, pki)

        def talk() -> bytes:
            with trusting(pki).wrap_socket(it.dialled(), server_hostname="localhost") as peer:
                it.backend.settimeout(DEADLINE)
                near, _ = it.backend.accept()
                near.sendall(b"hello")
                near.close()
                return peer.recv(100) + peer.recv(100)

        assert it.meanwhile(talk) == b"hello"
        it.route.watch(lambda: quiet.append(True))
        it.until(lambda: bool(quiet))
        assert it.route.live == it.engine.live == 0
    assert it.unusual == []
    assert it.crashes == []


def test_a_handshake_that_fails_is_pythons(pki: Pki) -> None:
    with place(never) as it:
        give_orders(it, pki)
        it.dialled().close()
        it.until(lambda: bool(it.unusual))
        assert it.route.live == 0
    assert it.unusual == [(Operation.HANDSHAKE, Cause.EOF, 0)]


def test_a_far_end_that_refuses_is_pythons(pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = of_socket(gone).packed
    with place(never) as it:
        give_orders(it, pki, address=closed)

        def talk() -> None:
            try:
                with trusting(pki).wrap_socket(it.dialled(), server_hostname="localhost") as peer:
                    peer.recv(1)
            except OSError:
                pass

        it.meanwhile(talk)
        it.until(lambda: bool(it.unusual))
    assert it.unusual == [(Operation.DIAL, Cause.RESET, 111)]


def test_connections_beyond_the_limit_come_to_python(pki: Pki) -> None:
    asked: list[Carrier] = []

    async def refuse(carrier: Carrier) -> None:
        asked.append(carrier)

    with place(refuse) as it:
        give_orders(it, pki)
        it.engine.allow(1)
        with it.dialled():
            it.until(lambda: it.engine.live == 1)
            with it.dialled():
                it.until(lambda: bool(asked))
        assert len(asked) == 1


def test_ending_all_tunnels_reaches_those_under_orders(pki: Pki) -> None:
    with place(never) as it:
        give_orders(it, pki)
        with it.dialled(), it.dialled():
            it.until(lambda: it.route.live == 2)
            assert list(it.route.amounts()) == [(0, 0), (0, 0)]
            it.route.stop_all(reset=True)
            assert it.route.live == 0


def test_quiet_is_told_at_once_where_nothing_lives() -> None:
    quiet: list[bool] = []
    with place(never) as it:
        it.route.watch(lambda: quiet.append(True))
        it.until(lambda: bool(quiet))
