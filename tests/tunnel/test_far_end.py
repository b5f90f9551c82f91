"""Which address of a far end is dialled, and what is said about it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

import culvert
from culvert import Address, Service
from culvert.net import addresses
from culvert.tunnel.far_end import FarEnd
from culvert.tunnel.plan import plan_service
from tests.pki import Pki


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=culvert.EngineLoop) as runner:
        runner.run(asyncio.wait_for(main, 30))


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "culvert")


@contextlib.asynccontextmanager
async def backend(name: bytes) -> AsyncIterator[Address]:
    """A server that says its name and ends."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Address.parse(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")


def refusing() -> Address:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return Address.parse(f"127.0.0.1:{sock.getsockname()[1]}")


@contextlib.asynccontextmanager
async def through(pki: Pki, *connect: Address, **options: Any) -> AsyncIterator[int]:
    """A plain port that leads through a client and a server tunnel to what ``connect`` says."""
    anywhere = (Address.parse("127.0.0.1:0"),)
    near = Service(
        name="far", accept=anywhere, connect=connect, cert=(str(pki.server.both),), debug=7, **options
    )
    async with culvert.open_tunnel(near) as server:
        to_server = (Address.parse(f"127.0.0.1:{server.port}"),)
        front = Service(name="front", client=True, accept=anywhere, connect=to_server, debug=0)
        async with culvert.open_tunnel(front) as client:
            yield client.port


async def answer(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


def test_the_next_address_is_tried_when_one_refuses(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    gone = refusing()

    async def main() -> None:
        async with backend(b"second") as second, through(pki, gone, second) as port:
            assert await answer(port) == b"second"
        assert f"s_connect: connect {gone.text}: Connection refused (111)" in caplog.messages
        assert f"s_connect: connected {second.text}" in caplog.messages
        assert "failover: priority, starting at entry #0" in caplog.messages

    run(main())


def test_who_refused_is_tried_last_for_a_while(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    gone = refusing()

    async def main() -> None:
        async with backend(b"second") as second, through(pki, gone, second) as port:
            assert [await answer(port) for _ in range(3)] == [b"second"] * 3

    run(main())
    assert caplog.messages.count(f"s_connect: connecting {gone.text}") == 1
    assert f"failover: {gone.text} is tried last for 1 second(s)" in caplog.messages


def test_priority_begins_with_the_first_each_time(pki: Pki) -> None:
    async def main() -> None:
        async with (
            backend(b"first") as first,
            backend(b"second") as second,
            through(pki, first, second) as port,
        ):
            assert [await answer(port) for _ in range(3)] == [b"first"] * 3

    run(main())


def test_round_robin_gives_everyone_a_turn(pki: Pki) -> None:
    async def main() -> None:
        async with (
            backend(b"first") as first,
            backend(b"second") as second,
            through(pki, first, second, failover="rr", session_resume=False) as port,
        ):
            answers = [await answer(port) for _ in range(4)]
        assert sorted(answers) == [b"first", b"first", b"second", b"second"]
        assert answers[0] != answers[1]

    run(main())


def test_a_far_end_without_an_address_left_is_a_reset(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with through(pki, refusing(), refusing()) as port:
            assert await answer(port) == b"reset"
        assert "No more addresses to connect" in caplog.messages

    run(main())


def test_a_name_that_is_not_known_at_the_start_is_looked_up_later(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with through(pki, Address.parse("no-such-host.invalid:1")) as port:
            assert "Cannot resolve connect target - delaying DNS lookup" in caplog.messages
            assert await answer(port) == b"reset"
        assert "No remote host resolved" in caplog.messages

    run(main())


@pytest.mark.parametrize(
    ("connect", "delay", "together"),
    [
        (("127.0.0.1:1",), False, True),
        (("127.0.0.1:1", "127.0.0.1:2"), False, False),
        (("127.0.0.1:1",), True, False),
        (("127.0.0.1:1", "127.0.0.1:2"), True, False),
    ],
)
def test_sessions_are_kept_for_each_address_unless_there_is_only_one(
    connect: tuple[str, ...], delay: bool, together: bool
) -> None:
    service = Service(name="near", client=True, connect=tuple(map(Address.parse, connect)), delay=delay)
    far_end = FarEnd(plan_service(service))
    one, other = (
        far_end.session_key(*addresses.resolve(Address.parse(f"127.0.0.1:{port}"), passive=False))
        for port in (1, 2)
    )
    assert (one == other) is together


def test_the_source_address_is_the_configured_one(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with backend(b"far") as far, through(pki, far, local="127.0.0.5") as port:
            assert await answer(port) == b"far"
        assert any("connected remote server from 127.0.0.5:" in line for line in caplog.messages)

    run(main())


def test_an_address_of_another_family_than_the_source_is_passed_over(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with backend(b"four") as four:
            six = Address.parse(f"::1:{four.port}")
            async with through(pki, six, four, local="127.0.0.1") as port:
                assert await answer(port) == b"four"

    run(main())
    assert any("another address family" in line for line in caplog.messages)


def test_the_far_end_with_the_fewest_connections_comes_first(pki: Pki) -> None:
    @contextlib.asynccontextmanager
    async def keeping(name: bytes) -> AsyncIterator[Address]:
        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(name)
            await reader.read()
            writer.close()

        async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
            yield Address.parse(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")

    async def main() -> None:
        async with (
            keeping(b"a") as one,
            keeping(b"b") as other,
            through(pki, one, other, failover="leastconn", session_resume=False) as port,
        ):
            kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
            names = [await reader.readexactly(1) for reader, _ in kept]
            assert sorted(names) == [b"a"] * 3 + [b"b"] * 3
            for name, (reader, writer) in zip(names, kept, strict=True):
                if name == b"b":
                    writer.write_eof()
                    assert await reader.read() == b""  # the tunnel is over
            for _ in range(3):
                kept.append(await asyncio.open_connection("127.0.0.1", port))
                assert await kept[-1][0].readexactly(1) == b"b"
            for _, writer in kept:
                writer.close()

    run(main())
