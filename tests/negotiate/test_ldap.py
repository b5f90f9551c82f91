"""StartTLS from both sides, and BER that is not what it says."""

from __future__ import annotations

import pytest

from culvert.negotiate import ber
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd, PlaintextAfterUpgrade
from culvert.negotiate.ldap import client, server
from culvert.negotiate.registry import Terms
from culvert.negotiate.steps import Peer
from tests.negotiate.conversing import Conversation, converse

START = bytes.fromhex("301d020101") + b"\x77\x18\x80\x16" + b"1.3.6.1.4.1.1466.20037"
STARTED = bytes.fromhex("300c02010178070a010004000400")
# The same with lengths of four octets, as Active Directory writes them.
STARTED_LONG = bytes.fromhex("3084000000100201017884000000070a010004000400")
WITH_NAME = bytes.fromhex("3024020101781f0a0100040004008a16") + b"1.3.6.1.4.1.1466.20037"
REFUSED = bytes.fromhex("301302010178") + bytes.fromhex("0e0a01340400") + b"\x04\x07no room"
BIND = bytes.fromhex("300c020102600702010304008000")
SEARCH = bytes.fromhex("300702010563020400")
UNBIND = bytes.fromhex("30050201034200")
ABANDON = bytes.fromhex("3006020104500101")


@pytest.mark.parametrize("size", [0, 1, 2, 5])
@pytest.mark.parametrize("answer", [STARTED, STARTED_LONG, WITH_NAME], ids=["short", "long", "named"])
def test_the_client_asks_and_is_answered(answer: bytes, size: int) -> None:
    talk = converse(client(Terms()), far=answer, size=size)
    assert talk.sent[Peer.FAR] == START
    assert talk.left[Peer.FAR] == b""


def test_the_servers_refusal_is_told_with_its_reason() -> None:
    with pytest.raises(NegotiationFailed, match=r"indicated an error \(52\): no room"):
        converse(client(Terms()), far=REFUSED)


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_the_server_agrees_to_start_tls(size: int) -> None:
    talk = converse(server(Terms()), START, size=size)
    assert talk.sent[Peer.NEAR] == WITH_NAME


def test_other_operations_are_refused_until_then() -> None:
    talk = converse(server(Terms()), BIND + ABANDON + SEARCH + START)
    message = ber.Reader(bytes(talk.sent[Peer.NEAR]))
    seen = []
    while not message.done:
        answer = ber.Reader(message.expect(ber.SEQUENCE))
        number, operation = answer.number(), answer.next()
        seen.append((number, operation.tag, ber.Reader(operation.contents).number(ber.ENUMERATED)))
    assert seen == [(2, 0x61, 13), (5, 0x65, 13), (1, 0x78, 0)]


def test_an_unbind_is_an_orderly_end() -> None:
    with pytest.raises(OrderlyEnd):
        converse(server(Terms()), UNBIND)


def test_octets_behind_the_request_are_refused() -> None:
    with pytest.raises(PlaintextAfterUpgrade):
        converse(server(Terms()), START + UNBIND)
    with pytest.raises(PlaintextAfterUpgrade):
        converse(client(Terms()), far=STARTED + UNBIND)


def test_a_client_may_not_ask_for_ever() -> None:
    with pytest.raises(NegotiationFailed, match="no StartTLS within 16"):
        converse(server(Terms()), BIND * 17)


BROKEN = {
    "no sequence": "310c02010178070a010004000400",
    "an indefinite length": "308002010178070a0100040004000000",
    "a length of five octets": "30850000000010",
    "longer than is read": "308400010000",
    "an element longer than its message": "300c02010178080a010004000400",
    "a tag of several octets": "300c0201011f070a010004000400",
    "another message": "300c02010278070a010004000400",
    "a message number of five octets": "300e0205010000000178050a01000400",
    "a negative message number": "300c0201ff78070a010004000400",
    "another operation": "300c02010161070a010004000400",
    "no result": "3005020101780 0".replace(" ", ""),
    "a result of no octets": "300b02010178060a0004000400",
    "nothing": "3000",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_broken_is_refused(answer: str) -> None:
    with pytest.raises(NegotiationFailed):
        converse(client(Terms()), far=bytes.fromhex(answer) + bytes(64))
    with pytest.raises(NegotiationFailed):
        converse(server(Terms()), bytes.fromhex(answer) + bytes(64), into=Conversation())
