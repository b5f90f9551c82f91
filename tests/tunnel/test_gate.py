"""Who is let in to a service, and what is said of those who are not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

import culvert
from culvert import Address, Service
from culvert.config import load_text
from culvert.errors import ConfigErrors
from culvert.net.wrappers.tables import Tables
from culvert.tunnel.embedding import OpenTunnel
from tests.proxies import need_program

NOBODY = 65534
ANYWHERE = (Address.parse("127.0.0.1:0"),)


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=culvert.EngineLoop) as runner:
        runner.run(asyncio.wait_for(main, 30))


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "culvert")


class Gated:
    """A service in client mode, and a far end that keeps every connection of who was let in."""

    def __init__(self, tunnel: OpenTunnel, met: asyncio.Queue[asyncio.StreamWriter]) -> None:
        self.tunnel, self.met = tunnel, met
        self.far: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}

    async def come(self, source: str = "127.0.0.1") -> asyncio.StreamWriter | None:
        """A new client; None when it was turned away."""
        place = ("127.0.0.1", self.tunnel.port)
        try:
            reader, writer = await asyncio.open_connection(*place, local_addr=(source, 0))
        except ConnectionResetError:  # before this loop knew that it was connected
            return None
        let_in = asyncio.ensure_future(self.met.get())
        ended = asyncio.ensure_future(reader.read(1))
        await asyncio.wait((let_in, ended), return_when=asyncio.FIRST_COMPLETED)
        if let_in.done():
            ended.cancel()
            self.far[writer] = let_in.result()
            return writer
        let_in.cancel()
        with pytest.raises(ConnectionResetError):
            ended.result()
        writer.close()
        return None

    async def may_come(self) -> bool:
        """Whether a client is let in; it leaves at once."""
        writer = await self.come()
        if writer is not None:
            writer.close()
        return writer is not None


@contextlib.asynccontextmanager
async def gated(accept: tuple[Address, ...] = ANYWHERE, /, **options: Any) -> AsyncIterator[Gated]:
    met = asyncio.Queue[asyncio.StreamWriter]()

    async def keep(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await met.put(writer)

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
        far = Address.parse(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        service = Service(name="near", client=True, accept=accept, connect=(far,), debug=7, **options)
        async with culvert.open_tunnel(service) as tunnel:
            gate = Gated(tunnel, met)
            yield gate
        for writer in gate.far.values():
            writer.close()


def said(caplog: pytest.LogCaptureFixture, start: str) -> list[str]:
    return [line for line in caplog.messages if line.startswith(start)]


@pytest.mark.parametrize(
    ("allow", "deny", "outcome"),
    [
        ("", "127.0.0.1", "deny"),
        ("", "127.0.0.2 ::/0", None),
        ("127.0.0.1", "", None),
        ("127.0.0.2", "", "allow"),
        ("127.0.0.1", "127.0.0.0/8", "deny"),
        ("::/0", "", "allow"),
    ],
)
def test_networks_are_let_in_or_not(
    allow: str, deny: str, outcome: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        allowed, denied = (tuple(map(ip_network, each.split())) for each in (allow, deny))
        async with gated(allow=allowed, deny=denied) as gate:
            assert await gate.may_come() is (outcome is None)

    run(main())
    assert len(said(caplog, "Service [near] REFUSED by")) == (outcome is not None)
    assert len(said(caplog, f"Service [near] REFUSED by {outcome} from 127.0.0.1:")) == (outcome is not None)
    assert len(said(caplog, "Service [near] accepted connection from")) == (outcome is None)
    assert len(said(caplog, "Connection ")) == (outcome is None)


def test_a_service_has_so_many_connections_and_gets_their_seats_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with gated(max_connections=2) as gate:
            first, second = await gate.come(), await gate.come()
            assert first is not None and second is not None
            assert [await gate.come() for _ in range(3)] == [None] * 3
            first.close()
            gate.far[first].close()  # during the handshake only the far end is watched
            async with asyncio.timeout(10):
                while gate.tunnel.live > 1:  # noqa: ASYNC110 - the end of a tunnel is no event of this loop
                    await asyncio.sleep(0.01)
            third = await gate.come()
            assert third is not None
            second.close()
            third.close()

    run(main())
    lines = said(caplog, "Service [near] rejected 127.0.0.1:")
    assert len(lines) == 1
    assert lines[0].endswith("too many connections (>=2)")


def test_an_address_has_so_many_connections(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with gated(max_connections_per_address=1) as gate:
            first, other = await gate.come(), await gate.come("127.0.0.2")
            assert first is not None and other is not None
            assert not await gate.may_come()
            first.close()
            other.close()

    run(main())
    assert "too many connections from one address (>=1)" in caplog.text


def test_the_user_of_this_process_is_let_in() -> None:
    async def main() -> None:
        async with gated(allow_uid=(os.geteuid(),)) as gate:
            assert await gate.may_come()

    run(main())


def test_another_user_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with gated(allow_uid=(4_000_000_000,)) as gate:
            assert not await gate.may_come()

    run(main())
    (line,) = said(caplog, "Service [near] REFUSED by allowUid from 127.0.0.1:")
    assert line.endswith(f"(user {os.geteuid()})")


def test_members_of_a_group_are_let_in_by_tcp_and_by_unix_sockets(tmp_path: Path) -> None:
    async def main(group: int, expected: bool) -> None:
        path = Address.parse(str(tmp_path / "gate"))
        async with gated((*ANYWHERE, path), allow_gid=(group,)) as gate:
            assert await gate.may_come() is expected
            with socket.socket(socket.AF_UNIX) as sock:
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, str(path.path))
                if expected:
                    (await asyncio.wait_for(gate.met.get(), 10)).close()
                else:
                    with contextlib.suppress(ConnectionResetError):
                        assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""

    run(main(os.getegid(), True))
    run(main(4_000_000_000, False))


# libwrap


@pytest.mark.parametrize(
    ("deny", "line"),
    [
        ("far : ALL", None),
        ("near : 127.0.0.1", "Service [near] REFUSED by libwrap from 127.0.0.1:"),
        ("ALL : ALL : spawn (echo)", "libwrap: "),
    ],
)
def test_hosts_deny_is_obeyed_by_the_name_of_the_service(
    deny: str,
    line: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tables = Tables(str(tmp_path / "allow"), str(tmp_path / "deny"))
    monkeypatch.setattr("culvert.net.wrappers.asking.Tables", lambda: tables)

    async def main() -> None:
        async with gated(libwrap=True) as gate:
            (tmp_path / "deny").write_text(f"{deny}\n")  # after the load
            assert await gate.may_come() is (line is None)

    run(main())
    assert len(said(caplog, "Service [near] permitted by libwrap from 127.0.0.1:")) == (line is None)
    assert len(said(caplog, "Service [near] accepted connection")) == (line is None)
    assert line is None or len(said(caplog, line)) == 1


def test_a_rule_that_starts_programs_is_refused_at_the_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "allow").write_text("# here\nnear : ALL : spawn (echo)\n")
    tables = Tables(str(tmp_path / "allow"), str(tmp_path / "deny"))
    monkeypatch.setattr("culvert.net.wrappers.tables.Tables", lambda: tables)

    async def main() -> None:
        with pytest.raises(ConfigErrors, match=r'allow:2: "spawn" is not supported'):
            async with gated(libwrap=True):
                pass

    run(main())


# ident


class IdentServer:
    """Answers every question with the same octets, `@` being the question."""

    def __init__(self, answer: bytes, *, end: bool = True) -> None:
        self._answer, self._end = answer, end
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.readline()
        self.asked.append(question)
        writer.write(self._answer.replace(b"@", question.strip()))
        if not self._end:
            await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def asked_at(server: IdentServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        number = listening.sockets[0].getsockname()[1]
        monkeypatch.setattr("culvert.tunnel.ident.port", lambda: (number, ""))
        yield


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"@ : USERID : UNIX : joe\r\n", None),
        (b"@:USERID:OTHER:joe", None),
        (b"@ : USERID : UNIX : eve\r\n", 'REFUSED by IDENT (user "eve")'),
        (b"@ : USERID : UNIX : ev\x1be\n", 'REFUSED by IDENT (user "ev.e")'),
        (b"@ : ERROR : HIDDEN-USER\r\n", "Incorrect IDENT response type: ERROR"),
        (b"1 , 1 : USERID : UNIX : joe\r\n", "Malformed IDENT response: it is about another connection"),
        (b"x" * 100_000, "Malformed IDENT response: more than 1024 octets"),
        (b"", "Malformed IDENT response"),
    ],
)
def test_the_host_of_the_client_says_whose_it_is(
    answer: bytes, line: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = IdentServer(answer)
        async with asked_at(server, monkeypatch), gated(ident="joe") as gate:
            writer = await gate.come()
            assert (writer is None) is (line is not None)
            if writer is not None:
                port = writer.get_extra_info("sockname")[1]
                assert server.asked == [b"%d , %d\r\n" % (port, gate.tunnel.port)]
                writer.close()

    run(main())
    assert (line or "IDENT authentication passed") in caplog.text
    accepted = said(caplog, "Service [near] accepted connection from")
    assert len(accepted) == (line is None)
    assert len(said(caplog, "Connection ")) == 1 + (line or "").startswith("REFUSED by")


def test_a_host_that_answers_nothing_is_waited_for_as_long_as_TIMEOUTbusy(  # noqa: N802
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = IdentServer(b"half a line", end=False)
        async with asked_at(server, monkeypatch), gated(ident="joe", timeout_busy=0.1) as gate:
            assert not await gate.may_come()

    run(main())
    assert "IDENT: no answer in time" in caplog.text


def test_a_host_that_cannot_be_asked_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setattr("culvert.tunnel.ident.port", lambda: (bound.getsockname()[1], ""))

        async def main() -> None:
            async with gated(ident="joe") as gate:
                assert not await gate.may_come()

        run(main())
    assert "IDENT: " in caplog.text


@pytest.mark.interop
@pytest.mark.skipif(os.geteuid() != 0, reason="oidentd tells of sockets of others to root only")
@pytest.mark.parametrize("expected", ["root", "nobody"])
def test_oidentd_is_believed(
    expected: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    oidentd = need_program("oidentd")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            number = free.getsockname()[1]
        command = f"-i -q -S -u root -g root -C /dev/null -a 127.0.0.1 -p {number}".split()
        process = await asyncio.create_subprocess_exec(oidentd, *command)
        try:
            await answering(number)
            monkeypatch.setattr("culvert.tunnel.ident.port", lambda: (number, ""))
            async with gated(ident=expected) as gate:
                assert await gate.may_come() is (expected == "root")
        finally:
            process.kill()
            await process.wait()

    run(main())
    line = "IDENT authentication passed" if expected == "root" else 'REFUSED by IDENT (user "root")'
    assert line in caplog.text


async def answering(port: int) -> None:
    """Wait until somebody listens."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


# What is refused at the load


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("allow = 10.0.0.1/8", 'allow: "10.0.0.1/8" is no network (did you mean "10.0.0.0/8"?)'),
        ("deny = somewhere", 'deny: "somewhere" is no network'),
        ("allow =", "allow: a value is needed"),
        ("allowUid = root no-such-user", 'allowUid: there is no user "no-such-user" here'),
        ("allowGid = no-such-group", 'allowGid: there is no group "no-such-group" here'),
        ("maxConnections = 0", "maxConnections: Illegal number of connections"),
        ("maxConnectionsPerAddress = 100000", "maxConnectionsPerAddress: Illegal number of connections"),
    ],
)
def test_what_cannot_be_is_refused_at_its_line(line: str, reason: str) -> None:
    text = f"[web]\nclient = yes\naccept = 1\nconnect = 2\n{line}\n"
    with pytest.raises(ConfigErrors) as refused:
        culvert.open_tunnel(text=text)
    assert f"<text>:5: {reason}" in str(refused.value)


@pytest.mark.parametrize("option", ["allow = 10.0.0.0/8", "deny = ::1", "maxConnectionsPerAddress = 3"])
def test_clients_of_unix_sockets_have_no_address_to_judge_by(option: str) -> None:
    text = f"[web]\nclient = yes\naccept = /run/web\nconnect = 2\n{option}\n"
    with pytest.raises(ConfigErrors, match="clients of a Unix socket have no address"):
        culvert.open_tunnel(text=text)


def test_lines_and_words_add_up() -> None:
    lines = "allow = 10.0.0.0/8, ::ffff:192.0.2.0/120\nallow = 10.0.0.0/8 2001:db8::1\nallowUid = root 7\n"
    text = f"[web]\nclient = yes\naccept = 1\nconnect = 2\n{lines}"
    (service,) = load_text(text).services
    assert list(map(str, service.allow)) == ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::1/128"]
    assert service.allow_uid == (0, 7)
