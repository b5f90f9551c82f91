"""Tunnels inside a program, on every kind of loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

import culvert
from culvert import Address, Service
from culvert.config.model import GLOBAL
from culvert.errors import ConfigErrors, SystemRefusal
from culvert.openssl import library
from tests.pki import Pki

EMBEDDING = Path(__file__).resolve().parents[2] / "docs" / "embedding.md"
LOOPS = {"engine": culvert.EngineLoop, "asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

# uvloop keeps a pipe for the whole process from its first loop on; it is no test's to close.
uvloop.new_event_loop().close()


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Run a coroutine to its end on one kind of loop."""

    def run(main: Awaitable[None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await main

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(bounded())

    return run


@contextlib.asynccontextmanager
async def backend(answer: bytes = b"") -> AsyncIterator[Address]:
    """A server that echoes until the end of its input, or gives ``answer`` and ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer or await reader.read())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Address.parse(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")


def server_mode(pki: Pki, connect: Address, **options: object) -> Service:
    return Service(
        name="server",
        accept=(Address.parse("127.0.0.1:0"),),
        connect=(connect,),
        cert=(str(pki.server.chain),),
        key=str(pki.server.key),
        **options,  # type: ignore[arg-type]
    )


def client_mode(pki: Pki, port: int) -> Service:
    return Service(
        name="client",
        client=True,
        accept=(Address.parse("127.0.0.1:0"),),
        connect=(Address.parse(f"127.0.0.1:{port}"),),
        ca_file=str(pki.root.ca),
        verify_chain=True,
        check_host=("localhost",),
    )


async def exchange(port: int, data: bytes) -> bytes:
    """Send everything, end, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


def test_bytes_pass_through_a_client_and_a_server_tunnel(run: Callable[..., None], pki: Pki) -> None:
    async def main() -> None:
        async with (
            backend() as connect,
            culvert.open_tunnel(server_mode(pki, connect)) as server,
            culvert.open_tunnel(client_mode(pki, server.port)) as client,
        ):
            data = bytes(range(256)) * 8192
            assert await exchange(client.port, data) == data

    run(main())


def test_many_tunnels_at_once_end_without_a_trace(run: Callable[..., None], pki: Pki) -> None:
    async def main() -> None:
        async with (
            backend() as connect,
            culvert.open_tunnel(server_mode(pki, connect), drain=10) as server,
            culvert.open_tunnel(client_mode(pki, server.port), drain=10) as client,
        ):
            jobs = [exchange(client.port, b"%d" % number) for number in range(50)]
            assert await asyncio.gather(*jobs) == [b"%d" % number for number in range(50)]
        assert client.live == server.live == 0

    run(main())


def test_an_idle_tunnel_ends_by_its_timer_on_any_loop(run: Callable[..., None], pki: Pki) -> None:
    async def main() -> None:
        async with (
            backend() as connect,
            culvert.open_tunnel(server_mode(pki, connect, timeout_idle=0.3)) as server,
        ):
            context = ssl.create_default_context(cafile=str(pki.root.ca))
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
            )
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    run(main())


def test_leaving_ends_open_tunnels_with_a_reset(run: Callable[..., None], pki: Pki) -> None:
    async def main() -> None:
        async with backend() as connect:
            async with culvert.open_tunnel(server_mode(pki, connect)) as server:
                context = ssl.create_default_context(cafile=str(pki.root.ca))
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", server.port, ssl=context, server_hostname="localhost"
                )
                assert server.live == 1
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    run(main())


def test_a_name_is_looked_up_for_each_connection_where_asked(run: Callable[..., None], pki: Pki) -> None:
    async def main() -> None:
        async with backend() as connect:
            late = Address.parse(f"localhost:{connect.port}")
            async with (
                culvert.open_tunnel(server_mode(pki, late, delay=True)) as server,
                culvert.open_tunnel(client_mode(pki, server.port)) as client,
            ):
                assert await exchange(client.port, b"late") == b"late"

    run(main())


def test_a_text_is_a_configuration_too(run: Callable[..., None], pki: Pki) -> None:
    async def main() -> None:
        async with backend(b"hello") as connect:
            text = f"[web]\naccept = 127.0.0.1:0\nconnect = {connect.text}\ncert = {pki.server.both}\n"
            async with (
                culvert.open_tunnel(text=text) as server,
                culvert.open_tunnel(client_mode(pki, server.port)) as client,
            ):
                assert await exchange(client.port, b"") == b"hello"

    run(main())


def test_a_wrong_configuration_is_refused_with_everything_that_is_wrong(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def main() -> None:
        absent = server_mode_without_files(tmp_path)
        with pytest.raises(ConfigErrors, match="absent"):
            async with culvert.open_tunnel(absent):
                pass

    run(main())


def test_an_option_that_is_not_there_yet_is_refused_in_a_program_too(pki: Pki) -> None:
    nowhere = Address.parse("127.0.0.1:1")
    with pytest.raises(ConfigErrors, match="transport"):
        culvert.open_tunnel(server_mode(pki, nowhere, transport="udp"))


def server_mode_without_files(folder: Path) -> Service:
    return Service(
        name="server",
        accept=(Address.parse("127.0.0.1:0"),),
        connect=(Address.parse("127.0.0.1:1"),),
        cert=(str(folder / "absent.pem"),),
    )


def test_an_address_in_use_is_refused(run: Callable[..., None], pki: Pki) -> None:
    async def main() -> None:
        async with backend() as taken:
            service = Service(
                name="server",
                accept=(taken,),
                connect=(taken,),
                cert=(str(pki.server.both),),
            )
            with pytest.raises(SystemRefusal):
                async with culvert.open_tunnel(service):
                    pass

    run(main())


def test_exactly_one_kind_of_configuration_is_taken() -> None:
    with pytest.raises(TypeError, match="takes services, or a text, or a path"):
        culvert.open_tunnel()


def test_the_example_of_the_documentation_runs(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(import asyncio\n.*?)```", EMBEDDING.read_text(), re.DOTALL)
    assert found is not None
    code = found[1].replace('"server.pem"', repr(str(pki.server.chain)))
    code = code.replace('"server.key"', repr(str(pki.server.key))).replace("sleep(3600)", "sleep(0)")
    exec(compile(code, str(EMBEDDING), "exec"), {"__name__": "example"})
    assert re.fullmatch(r"listening on port \d+\n", capsys.readouterr().out)


DAEMONS = (
    *("workers = 2", "workers = auto", "foreground = yes", "foreground = no", "pid = /run/x", "watch = yes"),
    *("quarantine = yes", "readyFile = /run/x", "exitWhenIdle = 5", "chroot = /", "setuid = nobody"),
    *("setgid = nogroup", "log = overwrite", "output = /dev/null", "syslog = yes", "service = x"),
    *("EGD = /run/x", "RNDbytes = 64", "RNDfile = /dev/urandom", "RNDoverwrite = yes"),
)


@pytest.mark.parametrize("line", DAEMONS)
def test_what_only_a_daemon_can_do_is_refused_at_its_line(line: str) -> None:
    text = f"debug = info\n{line}\n[web]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:1\n"
    name = line.partition(" ")[0]
    with pytest.raises(ConfigErrors, match=f"<text>:2: {name}: is for the daemon") as caught:
        culvert.open_tunnel(text=text)
    assert len(caught.value.errors) == 1


def test_lines_of_a_daemon_that_ask_for_nothing_are_accepted() -> None:
    lines = (
        "foreground = quiet\npid =\nworkers = 1\nwatch = no\nsyslog = no\nlog = append\nRNDoverwrite = no\n"
    )
    culvert.open_tunnel(text=lines + "[web]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:1\n")


def test_every_option_of_the_whole_daemon_works_in_a_program_or_is_refused_there() -> None:
    refused = {line.partition(" ")[0] for line in DAEMONS}
    assert {each.name for each in GLOBAL if each.daemon_only} == refused
    works = {"debug", "include", "setEnv", "fips", "compression", "engine", "engineCtrl", "engineDefault"}
    works |= {"provider", "providerParameter"}
    assert {each.name for each in GLOBAL if each.available} - refused == works


def test_openssl_is_made_ready_before_a_context_needs_it(
    pki: Pki, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that is not there stops the entering; one that is there, and a variable, are taken over."""
    monkeypatch.setenv("CULVERT_EMBEDDED", "")
    section = f"[web]\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:1\ncert = {pki.server.both}\n"

    async def main() -> None:
        with pytest.raises(ConfigErrors, match="<text>:1: provider: Failed to load provider"):
            async with culvert.open_tunnel(text=f"provider = no-such\n{section}"):
                pass
        async with culvert.open_tunnel(text=f"provider = default\nsetEnv = CULVERT_EMBEDDED=1\n{section}"):
            assert library.provider_is_loaded("default")
            assert os.environ["CULVERT_EMBEDDED"] == "1"

    run(main())
