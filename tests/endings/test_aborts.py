"""What an operator can change about aborts, and those that no row of the table shows."""

from __future__ import annotations

import re

import pytest

from tests.endings.conftest import MakeCrossing
from tests.endings.judging import MIB, SOME
from tests.endings.matrix import MODES, SOCKETS, VARIANTS
from tests.proxies import Deadline, PeerTrouble, PlainPeer, TlsPeer, Variant, Wire, digest_of, payload
from tests.proxies.configuration import Mode
from tests.proxies.crossing import Sockets

pytestmark = [pytest.mark.integration]

SECONDS = 15.0
GONE = r"reset|[Bb]roken pipe"
RECORD = 16_384
ERROR_LINE = re.compile(r" LOG[0-3]\[.*")
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)
every_mode = pytest.mark.parametrize("mode", MODES)


@every_variant
def test_a_missing_close_notify_can_be_tolerated(tunnel: MakeCrossing, variant: Variant) -> None:
    crossing = tunnel(variant, closeNotify="optional")
    with crossing.pair() as (tls, plain):
        tls.send(payload(SOME), Deadline(SECONDS))
        tls.fin()
        seen = plain.read_to_end(Deadline(SECONDS))
        assert (seen.digest, seen.wire) == (digest_of(SOME), Wire.FIN)
        plain.close()
        assert tls.read_to_end(Deadline(SECONDS)).wire is not Wire.NOTHING
    crossing.proxy.wait_line("Connection closed: ")
    assert not ERROR_LINE.findall(crossing.proxy.output)


@every_variant
def test_a_reset_is_never_tolerated(tunnel: MakeCrossing, variant: Variant) -> None:
    with tunnel(variant, closeNotify="optional").pair() as (tls, plain):
        tls.send(payload(SOME), Deadline(SECONDS))
        plain.read(SOME, Deadline(SECONDS))
        tls.reset()
        plain.patience = SECONDS
        assert plain.read_to_end(Deadline(SECONDS)).wire in (Wire.RESET, Wire.HANGUP)


@every_mode
def test_without_reset_an_aborted_reply_ends_with_fin_but_no_close_notify(
    tunnel: MakeCrossing, mode: Mode
) -> None:
    with tunnel(Variant(mode, "TLSv1.3", "tcp"), reset="no").pair() as (tls, plain):
        plain.send(payload(SOME), Deadline(SECONDS))
        plain.wait_sent(Deadline(SECONDS))
        plain.reset()
        seen = tls.read_to_end(Deadline(SECONDS))
        assert (seen.digest, seen.close_notify, seen.wire) == (digest_of(SOME), False, Wire.FIN)


@every_mode
def test_without_reset_a_truncated_request_ends_with_fin(tunnel: MakeCrossing, mode: Mode) -> None:
    with tunnel(Variant(mode, "TLSv1.3", "tcp"), reset="no").pair() as (tls, plain):
        tls.send(payload(SOME), Deadline(SECONDS))
        tls.fin()
        seen = plain.read_to_end(Deadline(SECONDS))
        assert (seen.digest, seen.wire) == (digest_of(SOME), Wire.FIN)


@pytest.mark.parametrize("sockets", SOCKETS)
def test_a_backend_that_refuses_is_an_abort_for_the_tls_client(
    tunnel: MakeCrossing, sockets: Sockets
) -> None:
    crossing = tunnel(Variant("server", "TLSv1.2", sockets))
    crossing.far.close()
    with crossing.dial() as sock:
        tls = TlsPeer(sock, crossing.context, server=False)
        tls.handshake(Deadline(SECONDS))
        seen = tls.read_to_end(Deadline(SECONDS))
        assert (seen.close_notify, seen.wire) == (False, Wire.RESET)


@pytest.mark.parametrize("sockets", SOCKETS)
def test_a_server_that_refuses_is_an_abort_for_the_plain_client(
    tunnel: MakeCrossing, sockets: Sockets
) -> None:
    crossing = tunnel(Variant("client", "TLSv1.3", sockets))
    crossing.far.close()
    try:
        sock = crossing.dial()
    except ConnectionResetError:
        return  # the proxy was quicker than our own look at the connection
    with sock:
        plain = PlainPeer(sock)
        plain.patience = SECONDS
        assert plain.read_to_end(Deadline(SECONDS)).wire in (Wire.RESET, Wire.HANGUP)


@every_variant
def test_a_reset_while_the_reply_flows_stops_the_sender(tunnel: MakeCrossing, variant: Variant) -> None:
    with tunnel(variant).pair(tls_buffer=4096) as (tls, plain):
        plain.send(payload(SOME), Deadline(SECONDS))
        tls.read(SOME, Deadline(SECONDS))
        plain.fill(payload(MIB), Deadline(SECONDS))
        tls.reset()
        with pytest.raises(PeerTrouble, match=GONE):
            plain.send(payload(64 * MIB), Deadline(SECONDS))


@every_variant
def test_a_reset_while_the_upload_flows_stops_the_sender(tunnel: MakeCrossing, variant: Variant) -> None:
    with tunnel(variant).pair(plain_buffer=4096) as (tls, plain):
        tls.send(payload(SOME), Deadline(SECONDS))
        plain.read(SOME, Deadline(SECONDS))
        tls.send(payload(RECORD), Deadline(SECONDS))
        plain.reset()
        with pytest.raises(PeerTrouble, match=GONE):
            tls.send(payload(64 * MIB), Deadline(SECONDS))
