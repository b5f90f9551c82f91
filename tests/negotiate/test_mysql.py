"""TLS in the middle of MySQL's handshake: the bit that is changed, and the numbers that are one off."""

from __future__ import annotations

import struct

import pytest

from culvert.negotiate import mysql
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd
from culvert.negotiate.mysql_packets import CLIENT_SSL, Packet
from culvert.negotiate.registry import Terms
from culvert.negotiate.steps import Fact, Peer
from tests.negotiate.conversing import Conversation, converse

PROTOCOL_41 = 0x0200
TERMS = Terms()


def greeting(able: int, version: bytes = b"8.0.36") -> Packet:
    contents = b"\x0a" + version + b"\0" + struct.pack("<I", 7) + b"saltsalt\0" + struct.pack("<H", able)
    return Packet(0, contents + b"\x21\x02\0\xff\x81\x15" + bytes(10) + b"moresaltmore\0native\0")


def answer(number: int, able: int) -> Packet:
    return Packet(number, struct.pack("<IIB", able, 1 << 24, 0x21) + bytes(23) + b"user\0\x14" + b"h" * 20)


def request(number: int, able: int) -> Packet:
    return Packet(number, answer(number, able).contents[:32])


def stream(*packets: Packet) -> bytes:
    return b"".join(each.encode() for each in packets)


OK = b"\0\0\0\x02\0\0\0"
ERR = b"\xff\x15\x04#28000no"
SWITCH = b"\xfemysql_native_password\0salt"
FULL = b"\x01\x04"
FAST = b"\x01\x03"
# What the server says, and what the client says to each but the last.
EXCHANGES = {
    "accepted": ([OK], []),
    "denied": ([ERR], []),
    "another method": ([SWITCH, OK], [b"hash"]),
    "cached": ([FAST, OK], []),
    "switched and cached": ([SWITCH, FAST, OK], [b"hash"]),
    "in full": ([FULL, b"\x01-----BEGIN", OK], [b"\x02", b"secret"]),
    "an empty packet": ([SWITCH, OK], [b""]),
}


@pytest.mark.parametrize("size", [0, 1, 3, 7])
@pytest.mark.parametrize(("server_says", "client_says"), EXCHANGES.values(), ids=EXCHANGES)
def test_a_tls_client_meets_a_plain_server(
    server_says: list[bytes], client_says: list[bytes], size: int
) -> None:
    able = PROTOCOL_41 | 0x80000
    plain = greeting(PROTOCOL_41)
    clear = converse(
        mysql.server_in_clear(TERMS), request(1, able | CLIENT_SSL).encode() + b"\x16\x03", plain.encode(),
        size=size,
    )  # fmt: skip
    assert clear.sent[Peer.NEAR] == greeting(PROTOCOL_41 | CLIENT_SSL).encode()
    assert clear.sent[Peer.FAR] == b""
    assert clear.left[Peer.NEAR] == b"\x16\x03"  # the hello that came along

    numbers = [*range(2, 2 + len(server_says) + len(client_says))]  # the plain server's count
    order = _order(server_says, client_says)
    far = stream(*(Packet(n, text) for n, (who, text) in zip(numbers, order, strict=True) if who == "s"))
    near = stream(
        answer(2, able | CLIENT_SSL),
        *(Packet(n + 1, text) for n, (who, text) in zip(numbers, order, strict=True) if who == "c"),
    )
    inside = converse(mysql.server_in_tls(TERMS), near + b"next", far + b"rest", size=size)
    assert inside.sent[Peer.FAR] == stream(
        answer(1, able), *(Packet(n, t) for n, (who, t) in zip(numbers, order, strict=True) if who == "c")
    )
    assert inside.sent[Peer.NEAR] == stream(
        *(Packet(n + 1, t) for n, (who, t) in zip(numbers, order, strict=True) if who == "s")
    )
    assert (inside.left[Peer.NEAR], inside.left[Peer.FAR]) == (b"next", b"rest")


@pytest.mark.parametrize("size", [0, 1, 3, 7])
@pytest.mark.parametrize(("server_says", "client_says"), EXCHANGES.values(), ids=EXCHANGES)
def test_a_plain_client_meets_a_tls_server(
    server_says: list[bytes], client_says: list[bytes], size: int
) -> None:
    able = PROTOCOL_41 | 0x80000
    clear = converse(
        mysql.client_in_clear(TERMS), answer(1, able).encode(), greeting(PROTOCOL_41 | CLIENT_SSL).encode(),
        size=size,
    )  # fmt: skip
    assert clear.sent[Peer.NEAR] == greeting(PROTOCOL_41).encode()
    assert clear.sent[Peer.FAR] == request(1, able | CLIENT_SSL).encode()
    assert clear.outcome is not None

    numbers = [*range(3, 3 + len(server_says) + len(client_says))]  # the TLS server's count
    order = _order(server_says, client_says)
    far = stream(*(Packet(n, text) for n, (who, text) in zip(numbers, order, strict=True) if who == "s"))
    near = stream(*(Packet(n - 1, t) for n, (who, t) in zip(numbers, order, strict=True) if who == "c"))
    facts = {Fact.MEMORY: clear.outcome.memory}
    inside = converse(mysql.client_in_tls(TERMS), near + b"next", far + b"rest", size=size, facts=facts)
    assert inside.sent[Peer.FAR] == stream(
        answer(2, able | CLIENT_SSL),
        *(Packet(n, t) for n, (who, t) in zip(numbers, order, strict=True) if who == "c"),
    )
    assert inside.sent[Peer.NEAR] == stream(
        *(Packet(n - 1, t) for n, (who, t) in zip(numbers, order, strict=True) if who == "s")
    )


def _order(server_says: list[bytes], client_says: list[bytes]) -> list[tuple[str, bytes]]:
    """Server and client in turn, except behind a fast path."""
    answers = iter(client_says)
    order: list[tuple[str, bytes]] = []
    for text in server_says:
        order.append(("s", text))
        if text != FAST and text not in (OK, ERR):
            order.append(("c", next(answers)))
    return order


@pytest.mark.parametrize("script", [mysql.server_in_clear, mysql.client_in_clear])
def test_a_server_that_refuses_is_passed_on(script: object) -> None:
    talk = Conversation()
    refusal = Packet(0, b"\xff\x10\x04Too many connections").encode()
    with pytest.raises(OrderlyEnd):
        converse(script(TERMS), b"", refusal, into=talk)  # type: ignore[operator]
    assert talk.sent[Peer.NEAR] == refusal


def test_a_client_without_tls_is_told_that_it_is_needed() -> None:
    talk = Conversation()
    with pytest.raises(NegotiationFailed, match="does not ask for TLS"):
        converse(
            mysql.server_in_clear(TERMS), answer(1, PROTOCOL_41).encode(), greeting(PROTOCOL_41).encode(),
            into=talk,
        )  # fmt: skip
    refusal = talk.sent[Peer.NEAR].removeprefix(greeting(PROTOCOL_41 | CLIENT_SSL).encode())
    assert refusal[3:5] == b"\x02\xff"
    assert b"insecure transport" in refusal


def test_a_server_without_tls_is_refused_before_the_client_has_said_anything() -> None:
    talk = Conversation()
    with pytest.raises(NegotiationFailed, match="does not offer TLS"):
        converse(mysql.client_in_clear(TERMS), b"", greeting(PROTOCOL_41).encode(), into=talk)
    assert talk.sent[Peer.NEAR][3:5] == b"\0\xff"
    assert talk.sent[Peer.FAR] == b""


def test_a_local_client_that_asks_for_tls_is_refused() -> None:
    near = request(1, PROTOCOL_41 | CLIENT_SSL).encode()
    with pytest.raises(NegotiationFailed, match="not offered"):
        converse(mysql.client_in_clear(TERMS), near, greeting(PROTOCOL_41 | CLIENT_SSL).encode())


BROKEN = {
    "protocol 9": Packet(0, b"\x093.20\0" + bytes(20)),
    "no end of the version": Packet(0, b"\x0a" + b"8" * 60),
    "cut short": Packet(0, b"\x0a8.0\0" + bytes(13)),
    "empty": Packet(0, b""),
    "too long": Packet(0, b"\x0a" + bytes(1024)),
}


@pytest.mark.parametrize("packet", BROKEN.values(), ids=BROKEN)
def test_a_broken_greeting_is_refused(packet: Packet) -> None:
    for script in (mysql.server_in_clear, mysql.client_in_clear):
        with pytest.raises(NegotiationFailed):
            converse(script(TERMS), b"", packet.encode())


def test_a_client_of_the_old_protocol_is_refused() -> None:
    old = Packet(1, struct.pack("<H", CLIENT_SSL) + bytes(30))
    with pytest.raises(NegotiationFailed, match=r"before 4\.1"):
        converse(mysql.server_in_clear(TERMS), old.encode(), greeting(PROTOCOL_41).encode())


def test_the_authentication_may_not_last_for_ever() -> None:
    near = stream(answer(2, PROTOCOL_41), *(Packet(0, b"x") for _ in range(64)))
    with pytest.raises(NegotiationFailed, match="64 turns"):
        converse(mysql.server_in_tls(TERMS), near, stream(*(Packet(0, FULL) for _ in range(65))))
