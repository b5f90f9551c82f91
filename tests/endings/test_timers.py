"""TIMEOUTbusy, TIMEOUTconnect, TIMEOUTidle: each ends what it is for, and nothing that moves."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.endings.conftest import MakeCrossing
from tests.endings.matrix import MODES
from tests.pki import Pki
from tests.proxies import (
    Crossing,
    Deadline,
    Kind,
    PlainPeer,
    TlsPeer,
    TunnelText,
    Variant,
    Wire,
    client_context,
    dial,
    listening,
    payload,
    running,
)
from tests.proxies.configuration import Mode, place_text

pytestmark = [pytest.mark.integration]

SECONDS = 20.0
ENDED = (Wire.FIN, Wire.RESET)


def client_hello(crossing: Crossing) -> bytes:
    """What a TLS client says first."""
    with socket.socket() as never_used:
        tls = TlsPeer(never_used, crossing.context, server=False)
        with pytest.raises(Exception, match="did not complete"):
            tls.tls.do_handshake()
        return tls.held()


@pytest.mark.parametrize("part", [0, 1, 50], ids=lambda part: f"{part} octets")
def test_a_client_that_stops_in_its_hello_ends_by_timeoutbusy(tunnel: MakeCrossing, part: int) -> None:
    crossing = tunnel(Variant("server", "TLSv1.3", "tcp"), TIMEOUTbusy="1")
    with crossing.dial() as sock:
        peer = PlainPeer(sock)
        peer.send(client_hello(crossing)[:part], Deadline(SECONDS))
        assert peer.read_to_end(Deadline(SECONDS)).wire in ENDED
        crossing.proxy.wait_line("TIMEOUTbusy exceeded: sending reset")


def test_a_client_that_never_finishes_the_handshake_ends_by_timeoutbusy(tunnel: MakeCrossing) -> None:
    crossing = tunnel(Variant("server", "TLSv1.3", "tcp"), TIMEOUTbusy="1")
    with crossing.dial() as sock:
        peer = PlainPeer(sock)
        peer.send(client_hello(crossing), Deadline(SECONDS))
        seen = peer.read_to_end(Deadline(SECONDS))
        assert seen.octets > 0
        assert seen.wire in ENDED


def test_a_client_that_dribbles_its_hello_ends_too(tunnel: MakeCrossing) -> None:
    crossing = tunnel(Variant("server", "TLSv1.3", "tcp"), TIMEOUTbusy="1")
    with crossing.dial() as sock:
        peer = PlainPeer(sock)
        try:
            for octet in client_hello(crossing)[:15]:
                sock.sendall(bytes([octet]))
                time.sleep(0.1)  # this client is slow by intention
        except (BrokenPipeError, ConnectionResetError):
            return  # it was cut before it had said all: as good
        assert peer.read_to_end(Deadline(SECONDS)).wire in ENDED


def test_a_server_that_never_answers_ends_by_timeoutbusy(tunnel: MakeCrossing) -> None:
    crossing = tunnel(Variant("client", "TLSv1.3", "tcp"), TIMEOUTbusy="1")
    with crossing.dial() as first, crossing.accept():
        plain = PlainPeer(first)
        seen = plain.read_to_end(Deadline(SECONDS))
        assert (seen.octets, seen.wire) == (0, Wire.RESET)


@pytest.mark.parametrize("mode", MODES)
def test_a_silent_tunnel_ends_by_timeoutidle_with_a_reset(tunnel: MakeCrossing, mode: Mode) -> None:
    crossing = tunnel(Variant(mode, "TLSv1.3", "tcp"), TIMEOUTidle="1")
    with crossing.pair() as (tls, plain):
        tls.send(payload(100), Deadline(SECONDS))
        plain.read(100, Deadline(SECONDS))
        assert plain.read_to_end(Deadline(SECONDS)).wire is Wire.RESET
        seen = tls.read_to_end(Deadline(SECONDS))
        assert (seen.close_notify, seen.wire) == (False, Wire.RESET)
        crossing.proxy.wait_line("TIMEOUTidle exceeded: sending reset")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("talker", ["T", "P"])
def test_a_tunnel_in_which_one_side_talks_is_not_idle(tunnel: MakeCrossing, mode: Mode, talker: str) -> None:
    with tunnel(Variant(mode, "TLSv1.3", "tcp"), TIMEOUTidle="1").pair() as (tls, plain):
        for turn in range(1, 11):
            time.sleep(0.3)  # in all three times TIMEOUTidle
            if talker == "T":
                tls.send(payload(10), Deadline(SECONDS))
                plain.read(10 * turn, Deadline(SECONDS))
            else:
                plain.send(payload(10), Deadline(SECONDS))
                tls.read(10 * turn, Deadline(SECONDS))


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """An address that answers no SYN: a listener whose queue is full."""
    with ExitStack() as stack:
        address = stack.enter_context(listening(backlog=0)).getsockname()
        for _ in range(64):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.3)
            try:
                filler.connect(address)
            except TimeoutError:
                yield address
                return
        pytest.fail("the queue of a listener never filled")


@contextmanager
def tunnel_to(kind: Kind, pki: Pki, mode: Mode, *places: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """A tunnel to these addresses, tried in this order for 1 s each.  Gives its own address."""
    text = TunnelText(
        mode=mode,
        connect=tuple(map(place_text, places)),
        certificate=pki.server.both,
        options={"TIMEOUTconnect": "1", "failover": "prio"},
    )
    with running(kind, text.text(kind), pki.folder / "tunnel-to") as proxy:
        yield proxy.address


def test_an_address_that_does_not_answer_is_given_up_for_the_next(kind: Kind, pki: Pki) -> None:
    with (
        black_hole() as hole,
        listening() as backend,
        tunnel_to(kind, pki, "server", hole, backend.getsockname()) as near,
        dial(near, Deadline(SECONDS)) as sock,
    ):
        tls = TlsPeer(sock, client_context("TLSv1.3"), server=False)
        tls.handshake(Deadline(SECONDS))
        tls.send(payload(100), Deadline(SECONDS))
        backend.settimeout(SECONDS)
        with backend.accept()[0] as far:
            PlainPeer(far).read(100, Deadline(SECONDS))


def test_a_backend_that_does_not_answer_is_an_abort_for_the_tls_client(kind: Kind, pki: Pki) -> None:
    with (
        black_hole() as hole,
        tunnel_to(kind, pki, "server", hole) as near,
        dial(near, Deadline(SECONDS)) as sock,
    ):
        tls = TlsPeer(sock, client_context("TLSv1.3"), server=False)
        tls.handshake(Deadline(SECONDS))
        seen = tls.read_to_end(Deadline(SECONDS))
        assert (seen.close_notify, seen.wire) == (False, Wire.RESET)


def test_a_server_that_does_not_answer_is_an_abort_for_the_plain_client(kind: Kind, pki: Pki) -> None:
    with (
        black_hole() as hole,
        tunnel_to(kind, pki, "client", hole) as near,
        dial(near, Deadline(SECONDS)) as sock,
    ):
        seen = PlainPeer(sock).read_to_end(Deadline(SECONDS))
        assert (seen.octets, seen.wire) == (0, Wire.RESET)
