"""CIFS: the NetBIOS session request that is answered with the need for TLS."""

from __future__ import annotations

import pytest

from culvert.negotiate.cifs import client, server
from culvert.negotiate.failures import NegotiationFailed
from culvert.negotiate.registry import Terms
from culvert.negotiate.steps import Peer
from tests.negotiate.conversing import Conversation, converse

NEEDS_TLS = bytes.fromhex("830000018e")


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_both_sides_agree(size: int) -> None:
    asked = converse(client(Terms()), far=NEEDS_TLS, size=size).sent[Peer.FAR]
    assert asked == bytes.fromhex("81000000")
    assert converse(server(Terms()), bytes(asked), size=size).sent[Peer.NEAR] == NEEDS_TLS


def test_the_names_of_a_request_are_taken_and_go_nowhere() -> None:
    talk = converse(server(Terms()), bytes.fromhex("8100007c") + bytes(124))
    assert talk.sent == {Peer.NEAR: NEEDS_TLS, Peer.FAR: b""}
    assert talk.left[Peer.NEAR] == b""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("8200000000", "Negative response expected"),
        ("830000028e", "Unexpected NetBIOS response size"),
        ("8300000180", "Remote server does not require TLS"),
    ],
)
def test_a_server_that_does_not_need_tls_is_refused(answer: str, why: str) -> None:
    with pytest.raises(NegotiationFailed, match=why):
        converse(client(Terms()), far=bytes.fromhex(answer))


def test_what_is_no_session_request_is_refused() -> None:
    talk = Conversation()
    with pytest.raises(NegotiationFailed, match="did not send session setup"):
        converse(server(Terms()), bytes.fromhex("85000000"), into=talk)
    assert talk.sent[Peer.NEAR] == bytes.fromhex("8300000181")
    with pytest.raises(NegotiationFailed, match="too long"):
        converse(server(Terms()), bytes.fromhex("8100007d") + bytes(125))
