"""What comes to a TLS port and is not TLS: an end for it, nothing for the backend, and no harm to others."""

from __future__ import annotations

import pytest

from tests.endings.conftest import MakeCrossing
from tests.proxies import Crossing, Deadline, PlainPeer, Variant, Wire, payload

pytestmark = [pytest.mark.integration]

SECONDS = 15.0
NOT_TLS = {
    "http": b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "noise": payload(4096, "noise"),
    "zeros": bytes(4096),
    "an SSLv2 hello": bytes.fromhex("802e010002001500000010010080020080030080040080050080") + bytes(22),
    "an alert": bytes.fromhex("15030300020228"),
    "application data": bytes.fromhex("1703030010") + bytes(16),
    "a record that is too long": bytes.fromhex("160303ffff") + bytes(4096),
    "an SMTP client": b"EHLO localhost\r\n" * 8,
}


def good_connection(crossing: Crossing) -> None:
    """The next client is served."""
    with crossing.pair() as (tls, plain):
        tls.send(payload(100), Deadline(SECONDS))
        plain.read(100, Deadline(SECONDS))


@pytest.mark.parametrize("data", NOT_TLS.values(), ids=NOT_TLS)
def test_what_is_not_tls_ends_and_never_reaches_the_backend(tunnel: MakeCrossing, data: bytes) -> None:
    crossing = tunnel(Variant("server", "TLSv1.3", "tcp"))
    with crossing.dial() as sock:
        stranger = PlainPeer(sock)
        stranger.send(data, Deadline(SECONDS))
        assert stranger.read_to_end(Deadline(SECONDS)).wire in (Wire.FIN, Wire.RESET)
    good_connection(crossing)  # its accept would meet the stranger, had he been let through


def test_plain_http_is_named_in_the_log(tunnel: MakeCrossing) -> None:
    crossing = tunnel(Variant("server", "TLSv1.3", "tcp"))
    with crossing.dial() as sock:
        sock.sendall(NOT_TLS["http"])
        crossing.proxy.wait_line(r" LOG3\[.*http request")


@pytest.mark.parametrize("octets", [0, 1, 5, 40])
@pytest.mark.parametrize("abort", [False, True], ids=["fin", "reset"])
def test_a_client_that_leaves_in_the_handshake_hurts_nobody(
    tunnel: MakeCrossing, octets: int, abort: bool
) -> None:
    crossing = tunnel(Variant("server", "TLSv1.3", "tcp"))
    with crossing.dial() as sock:
        peer = PlainPeer(sock)
        peer.send(bytes.fromhex("16030100c8010000c40303")[:octets], Deadline(SECONDS))
        if abort:
            peer.reset()
        else:
            peer.fin()
            assert peer.read_to_end(Deadline(SECONDS)).wire in (Wire.FIN, Wire.RESET)
    good_connection(crossing)


@pytest.mark.parametrize("data", NOT_TLS.values(), ids=NOT_TLS)
def test_a_server_that_speaks_no_tls_is_an_abort_for_the_plain_client(
    tunnel: MakeCrossing, data: bytes
) -> None:
    crossing = tunnel(Variant("client", "TLSv1.3", "tcp"))
    with crossing.dial() as first, crossing.accept() as second:
        plain, server = PlainPeer(first), PlainPeer(second)
        server.send(data, Deadline(SECONDS))
        seen = plain.read_to_end(Deadline(SECONDS))
        assert (seen.octets, seen.wire) == (0, Wire.RESET)
        assert server.read_to_end(Deadline(SECONDS)).wire in (Wire.FIN, Wire.RESET)
