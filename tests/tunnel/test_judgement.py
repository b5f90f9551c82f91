"""Peers are judged by their issuers before a byte is relayed, whatever the responders do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import culvert
from culvert import Address, Service
from culvert.openssl.ocsp import ANSWER_MAX
from tests.pki import Identity, Pki
from tests.proxies import listening
from tests.responders import TRY_LATER, Hang, Reply, Reset, Responder, answer, http, nonce_of, responder

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


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """The URL of a listener whose queue is full: the kernel answers no further SYN."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/"


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


def test_questions_about_one_certificate_are_one_question(pki: Pki) -> None:
    async def main(asked: Responder) -> None:
        go_on = threading.Event()

        def reply(_: bytes) -> Reply:
            assert go_on.wait(30)
            return http(answer(pki.client, pki.root))

        asked.reply = reply
        async with answering() as far, culvert.open_tunnel(judging(pki, far, ocsp=asked.url)) as tunnel:
            clients = [asyncio.ensure_future(admitted(pki, tunnel.port, pki.client)) for _ in range(8)]
            judge = tunnel._services[0].judge
            assert judge is not None
            while len(judge._asked) < 1 or tunnel.live < 8:  # noqa: ASYNC110 - the engine tells nobody
                await asyncio.sleep(0)
            go_on.set()
            assert await asyncio.gather(*clients) == [True] * 8
            assert len(asked.asked) == 1
            assert await admitted(pki, tunnel.port, pki.client)  # remembered
            assert len(asked.asked) == 1

    run(main)


def test_nothing_is_relayed_before_the_verdict(pki: Pki) -> None:
    """The far end does not even hear of a connection that is still being judged."""

    async def main(asked: Responder) -> None:
        asked.reply = lambda _: Hang
        with listening() as sock:
            far = Address.parse(f"127.0.0.1:{sock.getsockname()[1]}")
            sock.setblocking(False)
            async with culvert.open_tunnel(judging(pki, far, ocsp=asked.url, timeout_busy=0.3)) as tunnel:
                assert not await admitted(pki, tunnel.port, pki.client)
            with pytest.raises(BlockingIOError):
                sock.accept()
        assert len(asked.asked) == 1

    run(main)


def test_a_service_ends_while_it_waits_for_an_answer(pki: Pki) -> None:
    async def main(asked: Responder) -> None:
        asked.reply = lambda _: Hang
        async with answering() as far:
            async with culvert.open_tunnel(judging(pki, far, ocsp=asked.url)) as tunnel:
                waiting = asyncio.ensure_future(admitted(pki, tunnel.port, pki.client))
                await asyncio.get_running_loop().run_in_executor(None, asked.wait, 1)
            assert not await waiting

    run(main)


def test_a_client_judges_its_server(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    """By the stapled answer, or by whom it asks; a refused server is never sent a byte."""
    caplog.set_level("DEBUG", "culvert")

    async def main(asked: Responder) -> None:
        shown = pki.issue("judged-server", responders=(asked.url,))
        asked.says(answer(shown, pki.root))
        async with (
            answering() as far,
            culvert.open_tunnel(
                Service(
                    name="server",
                    accept=(Address.parse("127.0.0.1:0"),),
                    connect=(far,),
                    cert=(str(shown.both),),
                    ca_file=str(pki.ca),
                )
            ) as server,
        ):
            client = Service(
                name="client",
                client=True,
                accept=(Address.parse("127.0.0.1:0"),),
                connect=(Address.parse(f"127.0.0.1:{server.port}"),),
                ca_file=str(pki.ca),
                verify_chain=True,
                check_host=("localhost",),
                ocsp_aia=True,
                session_resume=False,
                debug=7,
            )
            stapled = server._services[0].plan.policy.stapled[0].staple
            while stapled.current is None:  # noqa: ASYNC110 - it lies in shared memory
                await asyncio.sleep(0)
            async with culvert.open_tunnel(client) as tunnel:
                assert await plainly_admitted(tunnel.port)
                assert "OCSP: OCSP stapling response received" in caplog.messages
                stapled.take_away()
                assert await plainly_admitted(tunnel.port)
                assert "OCSP: No OCSP stapling response received" in caplog.messages
                assert len(asked.asked) == 2  # by the server for its staple, by the client about the server
            asked.says(answer(shown, pki.root, "revoked"))
            async with culvert.open_tunnel(client) as tunnel:
                assert not await plainly_admitted(tunnel.port)

    run(main)


async def plainly_admitted(port: int) -> bool:
    """The same for a client in clear text."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"ping")
    try:
        return await reader.read() == b"pong"
    except ConnectionResetError:
        return False
    finally:
        writer.transport.abort()


def test_a_rejected_peer_goes_where_redirect_leads(pki: Pki) -> None:
    async def main(asked: Responder) -> None:
        asked.says(answer(pki.client, pki.root, "revoked"))
        with listening() as sock:
            hidden = Address.parse(f"127.0.0.1:{sock.getsockname()[1]}")
            sock.setblocking(False)
            async with answering() as far:
                service = judging(pki, hidden, ocsp=asked.url, redirect=(far,))
                async with culvert.open_tunnel(service) as tunnel:
                    assert await admitted(pki, tunnel.port, pki.client)
                    assert len(asked.asked) == 1
                    # Whoever fails the handshake's checks has no say in whom we ask.
                    other = pki.other_root
                    stranger = pki.issue("stranger", issuer=other, chain=(other,))
                    assert await admitted(pki, tunnel.port, stranger)
                    assert len(asked.asked) == 1
            with pytest.raises(BlockingIOError):
                sock.accept()

    run(main)


def test_with_a_nonce_every_connection_asks(pki: Pki) -> None:
    async def main(asked: Responder) -> None:
        asked.reply = lambda question: http(answer(pki.client, pki.root, nonce=nonce_of(question)))
        async with answering() as far:
            service = judging(pki, far, ocsp=asked.url, ocsp_nonce=True, session_resume=False)
            async with culvert.open_tunnel(service) as tunnel:
                for _ in range(2):
                    assert await admitted(pki, tunnel.port, pki.client)
                assert len(set(asked.asked)) == 2
                asked.says(answer(pki.client, pki.root, nonce=b"0123456789abcdef"))
                assert not await admitted(pki, tunnel.port, pki.client)

    run(main)


def test_a_responder_that_cannot_be_reached_gives_no_answer(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "culvert")

    async def main(_: Responder) -> None:
        with nobody() as refusing, deaf() as silent:
            lines = {
                refusing: "OCSP: s_connect: ",
                silent: "OCSP: s_connect: s_poll_wait: TIMEOUTocsp exceeded",
                "http://no-such-host.invalid/": "OCSP: Failed to resolve the OCSP responder address",
            }
            for url, line in lines.items():
                service = judging(pki, Address.parse("1"), ocsp=url, timeout_ocsp=0.3)
                async with culvert.open_tunnel(service) as tunnel:
                    assert not await admitted(pki, tunnel.port, pki.client)
                    assert any(text.startswith(line) for text in caplog.messages), caplog.messages

    run(main)


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_service_that_a_name_leads_to_judges_by_its_own_rules(pki: Pki, version: ssl.TLSVersion) -> None:
    """The service that listens asks nobody; behind the name every session waits for the verdict."""

    async def main(asked: Responder) -> None:
        shown = pki.issue("named", names=("named.example",), responders=(asked.url,))
        staple, verdicts = answer(shown, pki.root), iter(["revoked", "revoked", "good"])
        asked.says(staple)
        async with answering() as far:
            usual: dict[str, Any] = {"connect": (far,), "ca_file": str(pki.ca), "timeout_busy": 5.0}
            primary = Service(
                name="web", accept=(Address.parse("127.0.0.1:0"),), cert=(str(pki.server.both),), **usual
            )
            named = Service(
                name="named", sni=("web:named.example",), cert=(str(shown.both),), verify_chain=True,
                ocsp=asked.url, session_resume=True, **usual,
            )  # fmt: skip
            async with culvert.open_tunnel(primary, named) as tunnel:
                await asyncio.get_running_loop().run_in_executor(None, asked.wait, 1)
                asked.reply = lambda _: http(answer(pki.client, pki.root, next(verdicts)))
                context = client_context(pki, pki.client, version)
                assert await admitted(pki, tunnel.port, context)  # the one that listens
                results = [await resuming(tunnel.port, context) for _ in range(3)]
                assert results == [False, False, True]
                assert len(asked.asked) == 1 + 3

    run(main)


_SAVED: dict[ssl.SSLContext, ssl.SSLSession] = {}


async def resuming(port: int, context: ssl.SSLContext) -> bool:
    """Whether a client of named.example, which tries to resume its last session, gets through."""

    def connect() -> bool:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as raw,
            context.wrap_socket(raw, server_hostname="named.example", session=_SAVED.get(context)) as tunnel,
        ):
            try:
                tunnel.sendall(b"ping")
                return tunnel.recv(64) == b"pong"
            except OSError:
                return False
            finally:
                if tunnel.session is not None:
                    _SAVED[context] = tunnel.session

    return await asyncio.get_running_loop().run_in_executor(None, connect)
