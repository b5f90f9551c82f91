"""Peers are judged by their issuers before a byte is relayed, whatever the responders do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import culvert
from culvert import Address, Service
from culvert.openssl.ocsp import ANSWER_MAX
from tests.pki import Identity, Pki
from tests.proxies import listening
from tests.responders import TRY_LATER, Hang, Reply, Reset, Responder, answer, http, responder

Main = Callable[[Responder], Any]


def run(main: Main) -> None:
    """Run a test's coroutine with a responder at its side."""

    async def bounded(asked: Responder) -> None:
        async with asyncio.timeout(60):
            await main(asked)

    with responder() as asked, asyncio.Runner(loop_factory=culvert.EngineLoop) as runner:
        runner.run(bounded(asked))


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[Address]:
    """A far end that answers ping with pong."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            assert await reader.readexactly(4) == b"ping"
            writer.write(b"pong")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Address.parse(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")


def judging(pki: Pki, connect: Address, name: str = "server", **options: Any) -> Service:
    """A server that asks about its clients."""
    usual: dict[str, Any] = {
        "cert": (str(pki.server.both),),
        "ca_file": str(pki.root.ca),
        "verify_chain": True,
        "timeout_ocsp": 5.0,
        "timeout_busy": 5.0,
        "debug": 7,
    }
    return Service(name=name, accept=(Address.parse("127.0.0.1:0"),), connect=(connect,), **usual | options)


def client_context(pki: Pki, shown: Identity, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(str(shown.both))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


async def admitted(pki: Pki, port: int, shown: Identity | ssl.SSLContext) -> bool:
    """Whether a client gets through to the far end; False when it is reset."""
    context = client_context(pki, shown) if isinstance(shown, Identity) else shown
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
    except OSError:
        return False
    try:
        writer.write(b"ping")
        return await reader.read() == b"pong"
    except ConnectionResetError:
        return False
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """The URL of a port where nobody listens."""
    with listening() as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
    yield url


# What a responder may do, whether the peer is admitted where an answer is required, and a line of the log.
FAILURES: dict[str, tuple[Callable[[Pki], Reply], str]] = {
    "silence": (lambda _: Hang, "OCSP: s_poll_wait: TIMEOUTbusy exceeded"),
    "reset": (lambda _: Reset, "OCSP: No OCSP response: "),
    "500": (lambda _: http(b"", "500 Oops"), "OCSP: No OCSP response: HTTP status 500"),
    "redirect": (
        lambda _: http(b"", "301 There\r\nLocation: http://127.0.0.1:1/"),
        "OCSP: No OCSP response: HTTP status 301",
    ),
    "no http": (lambda _: b"\x16\x03\x01\r\n\r\n" * 9, "OCSP: No OCSP response: "),
    "empty": (lambda _: http(b""), "OCSP: No OCSP response"),
    "ten megabytes": (lambda _: http(bytes(10 << 20)), f"OCSP: No OCSP response: more than {ANSWER_MAX}"),
    "endless header": (
        lambda _: b"HTTP/1.1 200 OK\r\nA: " + bytes(b"a" * (1 << 20)),
        "OCSP: No OCSP response",
    ),
    "garbage": (lambda _: http(b"\x30\x82garbage" * 30), "OCSP: The OCSP response cannot be parsed"),
    "expired": (
        lambda pki: http(answer(pki.client, pki.root, days=(-2, -1))),
        "OCSP: OCSP_check_validity: status expired",
    ),
    "of another certificate": (
        lambda pki: http(answer(pki.server, pki.root)),
        "OCSP: OCSP_resp_find_status: the response is about other certificates",
    ),
    "try later": (lambda _: http(TRY_LATER), "OCSP: OCSP responder error: 3: trylater"),
    "unknown": (lambda pki: http(answer(pki.client, pki.root, "unknown")), "OCSP: Status: unknown"),
    "of a stranger": (
        lambda pki: http(answer(pki.client, pki.root, signer=pki.other_server)),
        "OCSP: OCSP_basic_verify: ",
    ),
}


def test_without_an_answer_ocsprequire_decides(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    """Each failure of a responder in turn, on one pair of services that go on accepting."""
    caplog.set_level("DEBUG", "culvert")

    async def main(asked: Responder) -> None:
        async with answering() as far:
            strict = judging(pki, far, "strict", ocsp=asked.url, timeout_busy=0.5)
            lax = judging(pki, far, "lax", ocsp=asked.url, timeout_busy=0.5, ocsp_require=False)
            async with culvert.open_tunnel(strict) as one, culvert.open_tunnel(lax) as other:
                for kind, (reply, line) in FAILURES.items():
                    caplog.clear()
                    made = reply(pki)
                    asked.reply = lambda _, made=made: made  # type: ignore[misc]
                    assert not await admitted(pki, one.port, pki.client), kind
                    assert any(text.startswith(line) for text in caplog.messages), (kind, caplog.messages)
                    assert "OCSP: Rejected (OCSPrequire = yes)" in caplog.messages, kind
                    subject = "C=PL, O=Culvert Tests, CN=client"
                    assert f"Rejected by OCSP at depth=0: {subject}" in caplog.messages, kind
                    assert await admitted(pki, other.port, pki.client), kind
                    assert "OCSP: Accepted (OCSPrequire = no)" in caplog.messages, kind
                asked.says(answer(pki.client, pki.root, "revoked"))
                assert not await admitted(pki, one.port, pki.client)
                assert not await admitted(pki, other.port, pki.client)
                assert "OCSP: Certificate revoked: 1: keyCompromise" in caplog.messages
                asked.says(answer(pki.client, pki.root))
                assert await admitted(pki, one.port, pki.client)
                assert "OCSP: Accepted (good)" in caplog.messages

    run(main)
