"""``culvert demo``: a service, a tunnel in front of it, a tunnel in front of that, a request through both.

Everything is made on the spot in a temporary folder, and goes with it.  The tunnels are two daemons of the
usual kind, started with the configuration files that are shown.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from culvert import __version__
from culvert.cli.demo_authority import NAME, Certificates, issue
from culvert.cli.demo_backend import backend
from culvert.cli.demo_daemon import Daemon, DaemonFailed, daemon
from culvert.cli.demo_report import END_OF_TUNNEL, Passage, facts, table
from culvert.errors import CulvertError

USAGE = """\
culvert demo [--once]

Shows a tunnel at work on this machine; stays up until Ctrl-C.
  --once   end after the request: status 0 if it went through, else 1
"""
REPLY_SECONDS = 10.0

SERVER_FILE = """\
; TLS in front of the service: what a server would run.
foreground = yes
debug = info
workers = 1

[demo-server]
accept = 127.0.0.1:{server}
connect = 127.0.0.1:{backend}
cert = {certificates.server}
key = {certificates.server_key}
"""
CLIENT_FILE = """\
; TLS towards that server: what the client's machine would run.
foreground = yes
debug = info
workers = 1

[demo-client]
client = yes
accept = 127.0.0.1:{client}
connect = 127.0.0.1:{server}
CAfile = {certificates.authority}
verifyChain = yes
checkHost = {name}
sni = {name}
"""


class Ports(NamedTuple):
    """Where on 127.0.0.1 each part listens."""

    client: int
    server: int
    backend: int


class Scene(NamedTuple):
    """The demonstration while it is up."""

    ports: Ports
    certificates: Certificates
    server: Daemon
    client: Daemon


class RequestFailed(CulvertError):
    """What came back through the tunnels is not what the service sent."""


def run(arguments: Sequence[str]) -> int:
    """Run the command with the words after ``demo``; return the exit status."""
    if any(word != "--once" for word in arguments):
        print(USAGE, end="", file=sys.stderr)
        return 0 if arguments[0] in {"-h", "-help", "--help"} else 1
    return asyncio.run(_until_stopped(once=bool(arguments)))


async def _until_stopped(*, once: bool) -> int:
    """Show everything; a signal to stop, whenever it comes, takes everything down in order."""
    task = asyncio.create_task(_show(once=once))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        print("\nstopped")
        return int(once)
    except CulvertError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _show(*, once: bool) -> None:
    greeting = f"Hello from behind two tunnels.  {secrets.token_hex(8)}\n"
    async with _scene(greeting) as scene:
        passages = [await _passage(scene, greeting) for _ in range(2)]
        print(_report(scene, passages), flush=True)
        if not once:
            print("\nUp until Ctrl-C.", flush=True)
            await asyncio.gather(scene.server.ended(), scene.client.ended())
            raise RequestFailed("both tunnels have ended")


@asynccontextmanager
async def _scene(greeting: str) -> AsyncIterator[Scene]:
    """Put up certificates, service and tunnels, in this order; take them down in the other."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="culvert-demo-")))
        certificates = issue(folder)
        client, server = _free_ports(2)
        ports = Ports(client, server, await stack.enter_async_context(backend(greeting)))
        daemons = []
        for name, text in (("server.conf", SERVER_FILE), ("client.conf", CLIENT_FILE)):
            (folder / name).write_text(text.format(**ports._asdict(), certificates=certificates, name=NAME))
            daemons.append(await stack.enter_async_context(daemon(folder / name)))
        yield Scene(ports, certificates, *daemons)


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now: the files shall show numbers that one can connect to."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


async def _passage(scene: Scene, greeting: str) -> Passage:
    """Send one request through both tunnels.  Raises RequestFailed unless the service's own reply comes."""
    started = time.perf_counter()
    try:
        reply = await asyncio.wait_for(_request(scene.ports.client), REPLY_SECONDS)
    except (TimeoutError, OSError) as error:
        raise await _explained(scene, f"no reply: {error or 'nothing came in time'}") from error
    milliseconds = (time.perf_counter() - started) * 1000
    if not (reply.startswith(b"HTTP/1.1 200 ") and reply.endswith(greeting.encode())):
        raise await _explained(scene, f"not the service's reply: {reply[:100]!r}")
    return Passage(facts(await scene.client.lines_until(END_OF_TUNNEL)), milliseconds)


async def _request(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


async def _explained(scene: Scene, reason: str) -> RequestFailed:
    """Add to ``reason`` what the tunnel that saw the failure first has logged."""
    try:
        log = await scene.client.lines_until(END_OF_TUNNEL, seconds=1.0)
    except DaemonFailed as silent:
        log = list(silent.log)
    return RequestFailed("\n".join((reason, *log)))


def _report(scene: Scene, passages: Sequence[Passage]) -> str:
    lines = [f"Culvert {__version__}: a request went through two tunnels, and its reply came back.", ""]
    lines += [f"  {text}" for text in _way(scene.ports)]
    lines += ["", table(passages)]
    for path in (scene.server.file, scene.client.file):
        lines += ["", str(path), _indented(path)]
    lines += ["", "Commands to try:", *(f"  {text}" for text in _commands(scene.ports, scene.certificates))]
    return "\n".join(lines)


def _way(ports: Ports) -> tuple[str, ...]:
    return (
        f"127.0.0.1:{ports.client:<6} client tunnel: takes plain TCP, verifies the server's certificate",
        f"127.0.0.1:{ports.server:<6} server tunnel: takes TLS, passes plain TCP on",
        f"127.0.0.1:{ports.backend:<6} an HTTP service that knows nothing of TLS",
    )


def _indented(path: Path) -> str:
    return "\n".join(f"  | {line}" for line in path.read_text().splitlines())


def _commands(ports: Ports, certificates: Certificates) -> tuple[str, ...]:
    authority = certificates.authority
    return (
        f"curl http://127.0.0.1:{ports.client}/",
        f"curl --cacert {authority} https://{NAME}:{ports.server}/",
        f"curl -o /dev/null http://127.0.0.1:{ports.client}/bytes/1000000000",
        f"openssl s_client -connect 127.0.0.1:{ports.server} -servername {NAME} -CAfile {authority} -brief",
        f"{sys.executable} -m culvert check {certificates.server.parent / 'client.conf'}",
    )
