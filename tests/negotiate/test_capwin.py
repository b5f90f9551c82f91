"""CapWIN's login: credentials stored, shown, and judged by a directory."""

from __future__ import annotations

import pytest

from culvert.negotiate import ber, capwin, capwinctrl
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd
from culvert.negotiate.registry import Terms
from culvert.negotiate.steps import Fact, Peer
from tests.negotiate.conversing import Conversation, converse

STORED = b"AUTH\x1fuser\x1fpass\x1fctrl\x1c"
SHOWN = b"\x1fuser\x1fpass\x1f\x1c"
AGREES = bytes.fromhex("308400000010020101618400000007 0a010004000400".replace(" ", ""))
DISAGREES = bytes.fromhex("300c02010161070a013104000400")
TERMS = Terms(host="ldap:389")


@pytest.mark.parametrize("size", [0, 1, 5])
def test_credentials_are_kept_and_the_connection_ends(size: int) -> None:
    talk = Conversation()
    with pytest.raises(OrderlyEnd):
        converse(capwinctrl.client(TERMS), STORED, size=size, into=talk)
    assert talk.stored == STORED
    assert talk.log == [(5, "CapWIN: Credentials set")]


@pytest.mark.parametrize("octets", [b"AUTH\x1fuser\x1c", b"x" * 200, b"a\x1fb\x1fc\x1fd\x1fe\x1c"])
def test_malformed_credentials_are_not_kept(octets: bytes) -> None:
    talk = Conversation()
    with pytest.raises(NegotiationFailed, match="CapWIN"):
        converse(capwinctrl.client(TERMS), octets, into=talk)
    assert talk.stored == b""


def test_the_client_shows_what_was_stored() -> None:
    talk = converse(capwin.client(TERMS), far=b"BINGO", facts={Fact.CREDENTIALS: STORED})
    assert talk.sent[Peer.FAR] == SHOWN
    for stored in (b"", b"QUIT" + STORED[4:]):
        with pytest.raises(NegotiationFailed, match="CapWIN"):
            converse(capwin.client(TERMS), far=b"BINGO", facts={Fact.CREDENTIALS: stored})
    with pytest.raises(NegotiationFailed, match="Authentication failed"):
        converse(capwin.client(TERMS), far=b"FAILED", facts={Fact.CREDENTIALS: STORED})


@pytest.mark.parametrize("size", [0, 1, 5])
def test_the_server_asks_the_directory(size: int) -> None:
    asked: list[tuple[str, bytes]] = []

    def directory(host: str, request: bytes) -> bytes:
        asked.append((host, request))
        return AGREES

    talk = converse(capwin.server(TERMS), SHOWN + b"more", size=size, directory=directory)
    assert talk.sent[Peer.NEAR] == b""
    assert talk.left[Peer.NEAR] == b"more"
    assert converse(capwin.server_connected(TERMS)).sent[Peer.NEAR] == b"BINGO"
    [(host, request)] = asked
    assert host == "ldap:389"
    bind = ber.Reader(ber.Reader(request).expect(ber.SEQUENCE))
    assert bind.number() == 1
    fields = ber.Reader(bind.expect(0x60))
    assert fields.number() == 3
    assert fields.expect(ber.OCTET_STRING) == b"uid=user,ou=people,O=CAPWIN,C=US"
    assert fields.expect(0x80) == b"pass"


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        (SHOWN, DISAGREES),
        (b"\x1fuser\x1f\x1f\x1c", AGREES),  # a bind without a password would succeed
        (b"\x1f\x1fpass\x1f\x1c", AGREES),
        (b"\x1f\xff\x1fpass\x1f\x1c", AGREES),
    ],
)
def test_a_login_that_fails_is_told_so(shown: bytes, answer: bytes) -> None:
    talk = Conversation()
    with pytest.raises(OrderlyEnd, match="CapWIN"):
        converse(capwin.server(TERMS), shown, directory=lambda _host, _request: answer, into=talk)
    assert talk.sent[Peer.NEAR] == b"FAILED"


def test_a_name_cannot_break_out_of_its_place() -> None:
    asked: list[bytes] = []

    def directory(_host: str, request: bytes) -> bytes:
        asked.append(request)
        return AGREES

    converse(capwin.server(TERMS), b'\x1f a,ou=x+y#"\x1fpass\x1f\x1c', directory=directory)
    assert rb"uid=\ a\,ou=x\+y\#\",ou=people" in asked[0]


@pytest.mark.parametrize("answer", [b"", b"0", bytes(40), b"\x30\x03\x02\x01\x01"])
def test_a_broken_answer_of_the_directory_lets_nobody_in(answer: bytes) -> None:
    talk = Conversation()
    with pytest.raises(NegotiationFailed):
        converse(capwin.server(TERMS), SHOWN, directory=lambda _host, _request: answer, into=talk)
