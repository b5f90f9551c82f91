"""SOCKS 4, 4a and 5 as a server, 5 as a client."""

from __future__ import annotations

import pytest

from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd
from culvert.negotiate.registry import Terms
from culvert.negotiate.socks import client, server, server_connected, server_unreachable
from culvert.negotiate.steps import Fact, Host, Peer
from tests.negotiate.conversing import Conversation, converse

NEAR, FAR = Peer.NEAR, Peer.FAR
NO_AUTH = bytes.fromhex("050100")
PORT = b"\x00\x50"
V4 = b"\x04\x01" + PORT + b"\x08\x08\x04\x04me\0"
V4A = b"\x04\x01" + PORT + b"\0\0\0\x01me\0host\0"
V5_IPV4 = NO_AUTH + b"\x05\x01\0\x01\x08\x08\x04\x04" + PORT
V5_NAME = NO_AUTH + b"\x05\x01\0\x03\x04host" + PORT
V5_IPV6 = NO_AUTH + b"\x05\x01\0\x04" + bytes.fromhex("20010db8000000000000000000000001") + PORT

GRANTED_4 = b"\0\x5a" + PORT + b"\x08\x08\x04\x04"
REQUESTS = {
    "4": (V4, b"", b"\0\x5a" + V4[2:8], ("8.8.4.4", 80)),
    "4a": (V4A, b"", b"\0\x5a" + V4A[2:8], ("192.0.2.7", 80)),
    "5 ipv4": (V5_IPV4, b"\x05\0", b"\x05\0\0\x01\x08\x08\x04\x04" + PORT, ("8.8.4.4", 80)),
    "5 name": (V5_NAME, b"\x05\0", b"\x05\0\0\x01\0\0\0\0" + PORT, ("192.0.2.7", 80)),
    "5 ipv6": (V5_IPV6, b"\x05\0", b"\x05\0\0\x04" + V5_IPV6[-18:], ("2001:db8::1", 80)),
}


def names(host: str, port: str) -> tuple[Host, ...]:
    return (("192.0.2.7", int(port)),) if host == "host" else ()


@pytest.mark.parametrize("size", [0, 1, 2, 5])
@pytest.mark.parametrize(("asks", "early", "late", "target"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_leads_to_its_destination(
    asks: bytes, early: bytes, late: bytes, target: Host, size: int
) -> None:
    judged: list[Host] = []

    def judge(host: Host) -> None:
        judged.append(host)

    first = converse(server(Terms()), asks + b"data", size=size, names=names, judge=judge)
    assert first.sent[NEAR] == early  # success is not told before there is any
    assert first.left[NEAR] == b"data"
    assert first.outcome is not None
    assert first.outcome.target == (target,)
    assert judged == [target]
    second = converse(server_connected(Terms()), facts={Fact.MEMORY: first.outcome.memory})
    assert second.sent[NEAR] == late


@pytest.mark.parametrize(
    ("granted", "told"),
    [(b"\0\x5a" + V4[2:8], b"\0\x5b" + V4[2:8]), (b"\5\0\0\1" + bytes(6), b"\5\4\0\1" + bytes(6))],
)
def test_a_destination_that_nobody_answers_at_is_told_so(granted: bytes, told: bytes) -> None:
    talk = Conversation()
    with pytest.raises(OrderlyEnd):
        converse(server_unreachable(Terms()), facts={Fact.MEMORY: granted}, into=talk)
    assert talk.sent[NEAR] == told


@pytest.mark.parametrize(
    ("asks", "early", "late"), [each[:3] for each in REQUESTS.values()], ids=list(REQUESTS)
)
def test_a_destination_that_is_not_for_clients_is_refused(asks: bytes, early: bytes, late: bytes) -> None:
    talk = Conversation()
    with pytest.raises(OrderlyEnd, match=r"SOCKS connection to .* rejected: no"):
        converse(server(Terms()), asks, names=names, judge=lambda _host: "no", into=talk)
    code = 0x5B if asks[0] == 4 else 2
    assert talk.sent[NEAR] == early + late[:1] + bytes((code,)) + late[2:]


def test_one_forbidden_address_forbids_them_all() -> None:
    def both(_host: str, _port: str) -> tuple[Host, ...]:
        return (("192.0.2.7", 80), ("127.0.0.1", 80))

    with pytest.raises(OrderlyEnd, match=r"127\.0\.0\.1:80 rejected"):
        converse(
            server(Terms()), V5_NAME, names=both,
            judge=lambda host: "own" if host[0].startswith("127.") else None,
        )  # fmt: skip


def test_a_name_without_an_address_is_told_so() -> None:
    for asks, told in ((V4A, b"\0\x5b" + V4A[2:8]), (V5_NAME, b"\x05\0\x05\x04\0\x01\0\0\0\0" + PORT)):
        talk = Conversation()
        with pytest.raises(OrderlyEnd, match='failed to resolve "host"'):
            converse(server(Terms()), asks, into=talk)
        assert talk.sent[NEAR] == told


@pytest.mark.parametrize("name", [b"", b"a b", b"a\nb", b"\xff"])
def test_a_name_that_is_none_is_not_asked_for(name: bytes) -> None:
    asked: list[str] = []

    def ask(host: str, _port: str) -> tuple[Host, ...]:
        asked.append(host)
        return ()

    request = NO_AUTH + b"\x05\x01\0\x03" + bytes((len(name),)) + name + PORT
    with pytest.raises(OrderlyEnd):
        converse(server(Terms()), request, names=ask)
    assert asked == []


def test_the_name_that_is_asked_for_is_whole() -> None:
    asked: list[str] = []

    def ask(host: str, _port: str) -> tuple[Host, ...]:
        asked.append(host)
        return (("192.0.2.7", 80),)

    name = b"x" * 255
    converse(server(Terms()), NO_AUTH + b"\x05\x01\0\x03\xff" + name + PORT, names=ask)
    assert asked == ["x" * 255]


REFUSED = {
    "version": (b"\x06\x01", b"", NegotiationFailed),
    "http": (b"GET / HTTP/1.1\r\n", b"", NegotiationFailed),
    "4 bind": (b"\x04\x02" + V4[2:], b"\0\x5b" + V4[2:8], OrderlyEnd),
    "4 resolve of a number": (b"\x04\xf0" + V4[2:], b"\0\x5b" + V4[2:8], OrderlyEnd),
    "5 methods": (b"\x05\x02\x01\x02", b"\x05\xff", OrderlyEnd),
    "5 no methods": (b"\x05\x00", b"\x05\xff", OrderlyEnd),
    "5 version": (NO_AUTH + b"\x04\x01\0\x01", b"\x05\0\x05\x01\0\x01" + bytes(6), OrderlyEnd),
    "5 bind": (NO_AUTH + b"\x05\x02\0\x01", b"\x05\0\x05\x07\0\x01" + bytes(6), OrderlyEnd),
    "5 udp": (NO_AUTH + b"\x05\x03\0\x01", b"\x05\0\x05\x07\0\x01" + bytes(6), OrderlyEnd),
    "5 address": (NO_AUTH + b"\x05\x01\0\x02", b"\x05\0\x05\x08\0\x01" + bytes(6), OrderlyEnd),
    "4 endless user": (b"\x04\x01" + V4[2:8] + b"u" * 300, b"", NegotiationFailed),
}


@pytest.mark.parametrize(("asks", "told", "failure"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_served_is_refused(asks: bytes, told: bytes, failure: type[NegotiationFailed]) -> None:
    talk = Conversation()
    with pytest.raises(failure):
        converse(server(Terms()), asks, into=talk)
    assert talk.sent[NEAR] == told


@pytest.mark.parametrize(
    ("asks", "found", "told"),
    [
        (b"\x04\xf0" + V4A[2:], "192.0.2.7", b"\0\x5a" + PORT + b"\xc0\0\x02\x07"),
        (b"\x04\xf0" + V4A[2:], "2001:db8::1", b"\0\x5b" + V4A[2:8]),
        (NO_AUTH + b"\x05\xf0" + V5_NAME[5:], "192.0.2.7", b"\x05\0\x05\0\0\x01\xc0\0\x02\x07" + PORT),
        (NO_AUTH + b"\x05\xf0" + V5_NAME[5:], "2001:db8::1",
         b"\x05\0\x05\0\0\x04" + V5_IPV6[-18:-2] + PORT),
    ],
)  # fmt: skip
def test_resolve_is_answered_and_leads_nowhere(asks: bytes, found: str, told: bytes) -> None:
    talk = Conversation()
    with pytest.raises(OrderlyEnd, match="RESOLVE"):
        converse(server(Terms()), asks, names=lambda _host, port: ((found, int(port)),), into=talk)
    assert talk.sent[NEAR] == told


# Client ---------------------------------------------------------------------------------------------------

HOSTS = {
    "name": ("example.org:443", b"\x03\x0bexample.org\x01\xbb"),
    "port": ("443", b"\x03\x09localhost\x01\xbb"),
    "ipv4": ("192.0.2.1:443", b"\x01\xc0\0\x02\x01\x01\xbb"),
    "ipv6": ("[2001:db8::1]:443", b"\x04" + V5_IPV6[-18:-2] + b"\x01\xbb"),
}


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize(("host", "encoded"), HOSTS.values(), ids=HOSTS)
@pytest.mark.parametrize("bound", [b"\x01" + bytes(6), b"\x04" + bytes(18), b"\x03\x02ab\0\0"])
def test_the_client_asks_for_protocol_host(host: str, encoded: bytes, bound: bytes, size: int) -> None:
    talk = converse(client(Terms(host=host)), far=b"\x05\0\x05\0\0" + bound + b"data", size=size)
    assert talk.sent[FAR] == NO_AUTH + b"\x05\x01\0" + encoded
    assert talk.left[FAR] == b"data"


def test_without_a_host_the_original_destination_is_asked_for() -> None:
    facts = {Fact.ORIGINAL: ("192.0.2.1", 443)}
    talk = converse(client(Terms()), far=b"\x05\0\x05\0\0\x01" + bytes(6), facts=facts)
    assert talk.sent[FAR] == NO_AUTH + b"\x05\x01\0" + HOSTS["ipv4"][1]
    with pytest.raises(NegotiationFailed, match="original destination"):
        converse(client(Terms()), facts={Fact.ORIGINAL: None})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"\x04\0", "Invalid SOCKS5 message version 0x04"),
        (b"\x05\xff", "No supported SOCKS5 authentication method"),
        (b"\x05\0\x05\x02\0\x01", "Connection not allowed by ruleset"),
        (b"\x05\0\x05\x63\0\x01", "Unknown error 0x63"),
        (b"\x05\0\x05\0\0\x07", "Unsupported SOCKS5 address type 0x07"),
    ],
)
def test_a_refusal_is_told_in_words(answer: bytes, why: str) -> None:
    with pytest.raises(OrderlyEnd, match=why):
        converse(client(Terms(host="h:1")), far=answer)
