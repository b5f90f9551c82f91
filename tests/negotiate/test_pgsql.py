"""PostgreSQL's SSLRequest from both sides."""

from __future__ import annotations

import pytest

from culvert.negotiate.failures import NegotiationFailed, PeerLeft, PlaintextAfterUpgrade
from culvert.negotiate.pgsql import client, client_in_tls, server
from culvert.negotiate.registry import Terms
from culvert.negotiate.steps import Peer
from tests.negotiate.conversing import Conversation, converse

SSL = bytes.fromhex("0000000804d2162f")
GSSENC = bytes.fromhex("0000000804d21630")
CANCEL = bytes.fromhex("0000001004d2162e") + bytes(8)
STARTUP = bytes.fromhex("0000001100030000") + b"user\0me\0\0"
HELLO = b"\x16\x03\x01"


@pytest.mark.parametrize("size", [0, 1, 3, 7])
@pytest.mark.parametrize(("asks", "told"), [(SSL, b"S"), (GSSENC + SSL, b"NS")], ids=["tls", "gssapi first"])
def test_a_client_that_asks_is_told_to_go_on(asks: bytes, told: bytes, size: int) -> None:
    talk = converse(server(Terms()), asks, size=size)
    assert talk.sent[Peer.NEAR] == told


def test_a_client_that_begins_with_tls_is_not_spoken_to() -> None:
    talk = converse(server(Terms()), HELLO)
    assert talk.sent[Peer.NEAR] == b""
    assert talk.left[Peer.NEAR] == HELLO


@pytest.mark.parametrize(
    "asks", [STARTUP, CANCEL, GSSENC + GSSENC, GSSENC + STARTUP, b"\0\0\0\x09" + SSL[4:]]
)
def test_a_client_without_tls_is_told_why_it_must_go(asks: bytes) -> None:
    talk = Conversation()
    with pytest.raises(NegotiationFailed, match="did not request TLS"):
        converse(server(Terms()), asks, into=talk)
    answer = talk.sent[Peer.NEAR].removeprefix(b"N").removeprefix(b"N")
    assert answer[:1] == b"E"
    assert int.from_bytes(answer[1:5], "big") == len(answer) - 1
    assert b"SFATAL\0" in answer
    assert answer.endswith(b"\0\0")


@pytest.mark.parametrize("asks", [b"", SSL[:7]])
def test_a_client_that_leaves_is_an_error(asks: bytes) -> None:
    with pytest.raises(PeerLeft):
        converse(server(Terms()), asks)


def test_octets_behind_the_request_are_refused() -> None:
    with pytest.raises(PlaintextAfterUpgrade):
        converse(server(Terms()), SSL + b"Q")
    with pytest.raises(PlaintextAfterUpgrade):
        converse(client(Terms()), far=b"SR")


def test_the_client_asks_and_takes_only_yes() -> None:
    assert converse(client(Terms()), far=b"S").sent[Peer.FAR] == SSL
    for answer in (b"N", b"E", b"s", b"\x16"):
        with pytest.raises(NegotiationFailed, match="rejected TLS"):
            converse(client(Terms()), far=answer)


OFFER = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
OFFER_WITHOUT = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"
TRUSTED = b"R\0\0\0\x08\0\0\0\0"
VERSION = b"v\0\0\0\x0c\0\3\0\0\0\0\0\0"


@pytest.mark.parametrize("size", [0, 1, 3, 7])
@pytest.mark.parametrize(
    ("asks", "told"), [(b"", b""), (SSL, b"N"), (GSSENC + SSL, b"NN"), (SSL + GSSENC, b"NN")]
)
@pytest.mark.parametrize(
    ("offers", "passed"),
    [(OFFER, OFFER_WITHOUT), (TRUSTED, TRUSTED), (VERSION + OFFER, VERSION + OFFER_WITHOUT)],
)
def test_a_local_client_in_clear_is_told_of_nothing_that_needs_tls(
    asks: bytes, told: bytes, offers: bytes, passed: bytes, size: int
) -> None:
    talk = converse(client_in_tls(Terms()), asks + STARTUP + b"more", offers + b"rest", size=size)
    assert talk.sent == {Peer.FAR: STARTUP, Peer.NEAR: told + passed}
    assert talk.left == {Peer.NEAR: b"more", Peer.FAR: b"rest"}


def test_a_request_to_cancel_is_passed_on_and_not_answered() -> None:
    assert converse(client_in_tls(Terms()), CANCEL).sent == {Peer.FAR: CANCEL, Peer.NEAR: b""}


@pytest.mark.parametrize("asks", [SSL * 4, b"\0\0\0\4", b"\0\0\xff\xff" + bytes(65535), b"\0\0\0\x07\0\0\0"])
def test_a_local_client_that_makes_no_sense_is_refused(asks: bytes) -> None:
    with pytest.raises(NegotiationFailed):
        converse(client_in_tls(Terms()), asks, TRUSTED)


@pytest.mark.parametrize("answer", [VERSION * 4, b"R\0\0\xff\xff" + bytes(65535), b"R\0\0\0\3\0\0\0\0"])
def test_a_server_that_makes_no_sense_is_refused(answer: bytes) -> None:
    with pytest.raises(NegotiationFailed):
        converse(client_in_tls(Terms()), STARTUP, answer)
