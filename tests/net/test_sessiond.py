"""The protocol of a server of sessions: its packets, and a client that never waits long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.net.addresses import of_socket
from culvert.net.sessiond import ERROR, GET, LONGEST, MOST, NEW, OK, REMOVE, Packet, SessiondClient, parse

KEY = bytes(range(32))
SECONDS = 10.0


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(SECONDS)
        yield sock


class Lines(list[tuple[int, str]]):
    def __call__(self, level: int, text: str) -> None:
        self.append((level, text))


def talk(server: socket.socket, story: Callable[[SessiondClient], Awaitable[None]]) -> Lines:
    """Have a client of ``server``, for one story; gives the lines of its log."""
    lines = Lines()

    async def run() -> None:
        client = SessiondClient(of_socket(server), asyncio.get_running_loop(), lines)
        try:
            await asyncio.wait_for(story(client), SECONDS)
        finally:
            client.close()

    asyncio.run(run())
    return lines


async def heard(server: socket.socket) -> tuple[Packet, tuple[str, int]]:
    octets, peer = await asyncio.to_thread(server.recvfrom, 2048)
    packet = parse(octets)
    assert packet is not None
    return packet, peer


def test_a_packet_looks_as_the_protocol_has_it() -> None:
    assert Packet(NEW, 300, KEY, b"session").octets == b"\x01\x00\x01\x2c" + KEY + b"session"
    assert Packet(NEW, 10**6, KEY, b"").octets[2:4] == LONGEST.to_bytes(2, "big")
    assert parse(b"\x01\x81\x00\x00" + KEY + b"x" * MOST) == Packet(OK, 0, KEY, b"x" * MOST)


@pytest.mark.parametrize("octets", [b"", b"\x01\x81\x00\x00" + KEY[:31], b"\x02\x81\0\0" + KEY, bytes(549)])
def test_what_is_no_packet_is_none(octets: bytes) -> None:
    assert parse(octets) is None


@given(st.binary(max_size=600))
def test_no_datagram_is_an_error(octets: bytes) -> None:
    packet = parse(octets)
    assert packet is None or packet.octets[:1] == b"\x01"


def test_requests_are_sent_and_logged(server: socket.socket) -> None:
    async def story(client: SessiondClient) -> None:
        client.keep(b"\xab\xcd", b"session", 100_000)
        assert (await heard(server))[0] == Packet(NEW, LONGEST, b"\xab\xcd" + bytes(30), b"session")
        client.forget(KEY)
        assert (await heard(server))[0] == Packet(REMOVE, 0, KEY, b"")

    lines = talk(server, story)
    assert lines[0] == (6, "cache_transfer: request=new, timeout=64800, id=ABCD, length=7")
    assert lines[1] == (6, f"cache_transfer: request=remove, timeout=0, id={KEY.hex().upper()}, length=0")


def test_a_session_that_is_too_long_is_not_sent(server: socket.socket) -> None:
    async def story(client: SessiondClient) -> None:
        client.keep(KEY, bytes(MOST + 1), 300)
        client.keep(KEY, bytes(MOST), 300)
        assert len((await heard(server))[0].session) == MOST

    assert talk(server, story)[0] == (3, "cache_transfer: encoded session too big (513 bytes)")


@pytest.mark.parametrize(
    ("answer", "found"),
    [(Packet(OK, 0, KEY, b"session"), b"session"), (Packet(ERROR, 0, KEY, b""), None)],
    ids=["ok", "error"],
)
def test_an_answer_is_taken(server: socket.socket, answer: Packet, found: bytes | None) -> None:
    async def story(client: SessiondClient) -> None:
        async def reply() -> None:
            packet, peer = await heard(server)
            assert packet == Packet(GET, 0, KEY, b"")
            server.sendto(answer.octets, peer)

        results = await asyncio.gather(client.fetch(KEY), client.fetch(KEY), reply())
        assert list(results[:2]) == [found, found]

    lines = talk(server, story)
    assert ((6, "cache_transfer: session not found") in lines) is (found is None)


STRANGE = {
    "another id": Packet(OK, 0, bytes(32), b"session").octets,
    "a request": Packet(GET, 0, KEY, b"").octets,
    "too short": b"\x01\x81",
    "another version": b"\x02" + Packet(OK, 0, KEY, b"session").octets[1:],
    "too long": Packet(OK, 0, KEY, bytes(MOST + 1)).octets,
}


@pytest.mark.parametrize("octets", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_answer_to_the_question_is_none(server: socket.socket, octets: bytes) -> None:
    async def story(client: SessiondClient) -> None:
        async def reply() -> None:
            server.sendto(octets, (await heard(server))[1])

        assert (await asyncio.gather(client.fetch(KEY), reply()))[0] is None

    assert (6, "cache_transfer: recv timeout") in talk(server, story)


def test_a_silent_server_is_waited_for_once_and_asked_each_time(server: socket.socket) -> None:
    async def story(client: SessiondClient) -> None:
        for _ in range(3):
            assert await client.fetch(KEY) is None
        for _ in range(3):
            _, peer = await heard(server)
        server.sendto(Packet(ERROR, 0, KEY, b"").octets, peer)  # late, but it is back
        while client._silent:  # noqa: ASYNC110 - there is no event but the datagram
            await asyncio.sleep(0)
        question = asyncio.ensure_future(client.fetch(KEY))
        _, peer = await heard(server)
        server.sendto(Packet(OK, 0, KEY, b"session").octets, peer)
        assert await question == b"session"

    assert talk(server, story).count((6, "cache_transfer: recv timeout")) == 1


def test_a_port_that_nobody_listens_on_is_not_waited_for(server: socket.socket) -> None:
    async def story(client: SessiondClient) -> None:
        server.close()
        for _ in range(5):
            assert await client.fetch(KEY) is None
        client.keep(KEY, b"session", 300)

    assert not [text for _, text in talk(server, story) if "timeout" in text and "request" not in text]


def test_the_end_answers_who_waits(server: socket.socket) -> None:
    async def story(client: SessiondClient) -> None:
        question = asyncio.ensure_future(client.fetch(KEY))
        await heard(server)
        client.close()
        assert await question is None
        client.__init__(of_socket(server), asyncio.get_running_loop(), Lines())  # type: ignore[misc]

    talk(server, story)
