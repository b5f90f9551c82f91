"""Negotiations over real sockets: order of the phases, deadlines, endings, the log."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import ssl
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

import culvert
from culvert import Address, Service
from culvert.errors import ConfigErrors
from tests.pki import Pki

SECONDS = 20.0
Serve = Callable[[Reader, Writer], Awaitable[None]]


LOOPS = {"engine": culvert.EngineLoop, "asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

# uvloop keeps a pipe for the whole process from its first loop on; it is no test's to close.
uvloop.new_event_loop().close()


def run(main: Awaitable[None], loop: str = "engine") -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await main

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(bounded())


def smtp_client(pki: Pki, port: int, **options: object) -> Service:
    return Service(
        name="mail",
        client=True,
        accept=(Address.parse("127.0.0.1:0"),),
        connect=(Address.parse(f"127.0.0.1:{port}"),),
        protocol="smtp",
        verify_chain=True,
        ca_file=str(pki.ca),
        debug=7,
        **options,  # type: ignore[arg-type]
    )


async def mail_server(pki: Pki, reader: Reader, writer: Writer, heard: list[bytes]) -> None:
    """Greets, takes STARTTLS, and then echoes what it is sent."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki.server.both)
    writer.write(b"220-one\r\n220 two\r\n")
    for answer in (b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"):
        heard.append(await reader.readline())
        writer.write(answer)
    await writer.start_tls(context)
    for answer in (b"250 mx\r\n", b"235 ok\r\n"):
        heard.append(await reader.readline())
        writer.write(answer)
    writer.write(await reader.readexactly(5))
    writer.close()


def test_a_client_negotiates_in_clear_and_then_inside_tls(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[bytes] = []
    caplog.set_level(logging.DEBUG, "culvert")

    async def main() -> None:
        async def serve(reader: Reader, writer: Writer) -> None:
            await mail_server(pki, reader, writer, heard)

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            service = smtp_client(pki, port, protocol_username="u", protocol_password="hidden-word")
            async with culvert.open_tunnel(service) as tunnel:
                reader, writer = await asyncio.open_connection("127.0.0.1", tunnel.port)
                writer.write(b"hello")
                assert await reader.read() == b"220-one\r\n220 two\r\nhello"
                writer.close()
                await writer.wait_closed()

    run(main())
    assert heard == [
        b"EHLO localhost\r\n",
        b"STARTTLS\r\n",
        b"EHLO localhost\r\n",
        b"AUTH PLAIN AHUAaGlkZGVuLXdvcmQ=\r\n",
    ]
    lines = [each.getMessage() for each in caplog.records]
    assert " -> STARTTLS" in lines and " <- 220 go" in lines
    assert not any("AHUAaGlkZGVuLXdvcmQ" in each or "hidden-word" in each for each in lines)
    # What was negotiated is not counted.
    assert "Connection closed: 5 byte(s) sent to TLS, 5 byte(s) sent to socket" in lines


async def _answered(pki: Pki, serve: Serve, **options: object) -> bytes | type[Exception]:
    """What a client of the tunnel has read at the end, or the exception that it met."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        service = smtp_client(pki, server.sockets[0].getsockname()[1], **options)
        async with culvert.open_tunnel(service) as tunnel:
            reader, writer = await asyncio.open_connection("127.0.0.1", tunnel.port)
            try:
                return await reader.read()
            except OSError as error:
                return type(error)
            finally:
                writer.close()


def test_a_server_without_tls_is_refused_by_a_reset(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "culvert")

    async def serve(reader: Reader, writer: Writer) -> None:
        writer.write(b"220 mx\r\n")
        await reader.readline()
        writer.write(b"502 \x1b[2J\r\n")
        await reader.read()
        writer.close()

    async def main() -> None:
        assert await _answered(pki, serve) is ConnectionResetError

    run(main())
    lines = [each.getMessage() for each in caplog.records]
    assert "Remote server is not RFC 1425 compliant: 502 \\x1b[2J" in lines
    assert "Connection reset: 0 byte(s) sent to TLS, 0 byte(s) sent to socket" in lines


def test_octets_behind_the_go_ahead_never_reach_the_client(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        writer.write(b"220 mx\r\n")
        await reader.readline()
        writer.write(b"250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n250 injected\r\n")
        await reader.read()
        writer.close()

    async def main() -> None:
        assert await _answered(pki, serve) is ConnectionResetError

    run(main())
    assert "Plaintext behind the go-ahead of TLS: 250 injected" in caplog.text


def test_a_peer_that_drips_octets_is_ended_within_the_busy_time(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "culvert")

    async def serve(_reader: Reader, writer: Writer) -> None:
        while not writer.is_closing():
            writer.write(b"2")
            await writer.drain()
            await asyncio.sleep(0.02)  # faster than the time-out: it must not be prolonged

    async def main() -> None:
        assert await _answered(pki, serve, timeout_busy=0.3) is ConnectionResetError

    run(main())
    assert "TIMEOUTbusy exceeded: sending reset" in caplog.text


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_says_nothing_is_ended_on_every_loop(
    pki: Pki, caplog: pytest.LogCaptureFixture, loop: str
) -> None:
    """Nothing else happens on the loop that would make the engine look at its timers."""
    caplog.set_level(logging.DEBUG, "culvert")

    async def serve(reader: Reader, writer: Writer) -> None:
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    async def main() -> None:
        async with asyncio.timeout(SECONDS / 4):
            assert await _answered(pki, serve, timeout_busy=0.2) is ConnectionResetError

    run(main(), loop)
    assert "TIMEOUTbusy exceeded: sending reset" in caplog.text


# Server mode


async def _ended(pki: Pki, protocol: str, write: Serve, **options: object) -> object:
    """How a server of the protocol ends a client in clear: what it answered, or the exception."""

    async def greet(reader: Reader, writer: Writer) -> None:
        writer.write(b"200 hello\r\n")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as far:
        service = Service(
            name="server",
            accept=(Address.parse("127.0.0.1:0"),),
            connect=(Address.parse(f"127.0.0.1:{far.sockets[0].getsockname()[1]}"),),
            cert=(str(pki.server.both),),
            protocol=protocol,
            debug=7,
            **options,  # type: ignore[arg-type]
        )
        async with culvert.open_tunnel(service) as tunnel:
            reader, writer = await asyncio.open_connection("127.0.0.1", tunnel.port)
            writing = asyncio.ensure_future(write(reader, writer))
            try:
                return await reader.read()
            except OSError as error:
                return type(error)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                writer.close()


async def _endless_line(_reader: Reader, writer: Writer) -> None:
    while True:
        writer.write(b"A" * 65_536)
        await writer.drain()


async def _endless_commands(_reader: Reader, writer: Writer) -> None:
    while True:
        writer.write(b"X\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)  # every command in time


async def _early_end(_reader: Reader, writer: Writer) -> None:
    writer.write(b"START")
    writer.write_eof()


async def _farewell(_reader: Reader, writer: Writer) -> None:
    writer.write(b"QUIT\r\n")


@pytest.mark.parametrize(
    ("write", "expected", "line"),
    [
        (_endless_line, ConnectionResetError, "Line too long"),
        (_endless_commands, ConnectionResetError, "TIMEOUTbusy exceeded"),
        (_early_end, ConnectionResetError, "Unexpected socket close after 5 byte(s)"),
        (_farewell, b"200 hello\r\n205 Closing connection\r\n", "Connection closed: 0 byte(s)"),
    ],
)
def test_a_client_that_does_not_come_to_the_point_is_ended(
    pki: Pki, caplog: pytest.LogCaptureFixture, write: Serve, expected: object, line: str
) -> None:
    caplog.set_level(logging.DEBUG, "culvert")

    async def main() -> None:
        assert await _ended(pki, "nntp", write, timeout_busy=0.3) == expected

    run(main())
    assert line in caplog.text


def test_a_unix_socket_may_be_the_near_end(pki: Pki, tmp_path: Path) -> None:
    """STARTTLS over a socket on which the engine keeps an octet back while it relays (native/outbox.c)."""
    path = str(tmp_path / "mail")
    trusting = ssl.create_default_context(cafile=str(pki.ca))

    async def greet(reader: Reader, writer: Writer) -> None:
        writer.write(b"220 mx\r\n")
        writer.write(await reader.readline())
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as far:
            service = Service(
                name="server",
                accept=(Address.parse(path),),
                connect=(Address.parse(f"127.0.0.1:{far.sockets[0].getsockname()[1]}"),),
                cert=(str(pki.server.both),),
                protocol="smtp",
            )
            async with culvert.open_tunnel(service):
                reader, writer = await asyncio.open_unix_connection(path)
                assert await reader.readline() == b"220 mx culvert\r\n"
                writer.write(b"EHLO me\r\nSTARTTLS\r\n")
                await reader.readuntil(b"220 Go ahead\r\n")
                await writer.start_tls(trusting, server_hostname="localhost")
                writer.write(b"hello\n")
                assert await reader.read() == b"hello\n"
                writer.close()

    run(main())


def test_a_protocol_that_a_program_invents_is_refused(pki: Pki) -> None:
    service = smtp_client(pki, 25)
    service = dataclasses.replace(service, protocol="gopher")
    with pytest.raises(ConfigErrors, match="Protocol not supported"):
        culvert.open_tunnel(service)
