"""Two daemons behind one name that share sessions and ticket keys over Redis: there, gone, and back."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, echoing, reload, rewrite
from tests.interop.test_fleet import VERSIONS, client, configuration, daemons, passed_on, resumed
from tests.pki import Pki
from tests.proxies import Kind, Proxy, need_program, running
from tests.proxies.running import reserved_port

pytestmark = [pytest.mark.integration, pytest.mark.interop]

SECONDS = 20.0
SECRET = "5e" * 31 + "00"
GIVEN = f"ticketKeySecret = {SECRET}", f"ticketMacSecret = {SECRET}"
NO_TICKET = "options = NO_TICKET"
WAYS = {"tickets": (), "ids": (NO_TICKET,), "sealed ids": (NO_TICKET, *GIVEN), "given secrets": GIVEN}


class Redis:
    """A redis-server on a port of its own, which can be killed and started again."""

    def __init__(self, port: int, folder: Path, *arguments: str | Path) -> None:
        self.port, self._folder = port, folder
        program = need_program("redis-server")
        self._command = [program, "--save", "", "--bind", "127.0.0.1", *map(str, arguments)]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=subprocess.DEVNULL)
        until = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS).close()
                return
            except ConnectionRefusedError:
                assert self._process.poll() is None and time.monotonic() < until

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(SECONDS)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str) -> str:
        """What redis-cli says to a command."""
        command = [need_program("redis-cli"), "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def tls_of(pki: Pki) -> tuple[str | Path, ...]:
    """Arguments of a server that speaks TLS."""
    files = ("--tls-cert-file", pki.server.both, "--tls-key-file", pki.server.both)
    return (*files, "--tls-ca-cert-file", pki.ca, "--tls-auth-clients", "no")


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Redis]]:
    """Start servers: ``start("--requirepass", ...)``; with ``secure`` over TLS."""
    with ExitStack() as stack:

        def begin(*arguments: str | Path, secure: bool = False) -> Redis:
            port = stack.enter_context(reserved_port())
            ports = ("--port", "0", "--tls-port", str(port)) if secure else ("--port", str(port))
            server = Redis(port, tmp_path, *ports, *arguments)
            stack.callback(server.kill)
            return server

        yield begin


@contextmanager
def fleet(pki: Pki, echo: Echo, folder: Path, place: str, *more: str) -> Iterator[tuple[Proxy, Proxy]]:
    """Two Culverts that are connected with Redis."""
    with daemons("culvert-culvert", pki, echo, folder, f"sessiond = {place}", *more) as (one, other):
        for each in (one, other):
            each.wait_line(r"sessiond rediss?://.*: connected", count=2)  # each worker
        yield one, other


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("more", WAYS.values(), ids=WAYS.keys())
def test_a_session_made_on_one_resumes_on_the_other(
    pki: Pki, echo: Echo, start: Callable[..., Redis], tmp_path: Path, version: str, more: tuple[str, ...]
) -> None:
    redis, believes = start(), client(pki, version)
    with fleet(pki, echo, tmp_path, f"redis://127.0.0.1:{redis.port}", *more) as (one, other):
        _, saved = resumed(pki, one, believes)
        for number, each in enumerate((other, one, other), 1):
            if NO_TICKET in more:
                wait_stored(redis, number if version == "TLSv1.3" else 1)
            again, saved = resumed(pki, each, believes, saved)
            assert again
    if more == (NO_TICKET,):
        assert int(redis.command("ttl", stored(redis)[0])) <= 300


def stored(redis: Redis) -> list[str]:
    return redis.command("keys", "culvert:session:*").split()


def wait_stored(redis: Redis, count: int) -> None:
    """Wait until so many sessions are stored: they are written behind the handshake's back."""
    until = time.monotonic() + SECONDS
    while len(stored(redis)) < count:
        assert time.monotonic() < until, "nothing was stored"


@pytest.mark.parametrize("outage", ["killed", "frozen"])
def test_an_outage_means_full_handshakes_and_no_errors(
    pki: Pki, echo: Echo, start: Callable[..., Redis], tmp_path: Path, outage: str
) -> None:
    redis, believes = start(), client(pki, "TLSv1.2")
    with fleet(pki, echo, tmp_path, f"redis://127.0.0.1:{redis.port}", NO_TICKET) as (one, other):
        _, saved = resumed(pki, one, believes)
        wait_stored(redis, 1)
        redis.kill() if outage == "killed" else redis.freeze()
        for _ in range(6):
            assert not resumed(pki, other, believes, saved)[0]
        other.wait_line("out of reach")
        redis.start() if outage == "killed" else redis.thaw()
        until = time.monotonic() + SECONDS
        while not passed_on(pki, one, other, believes):  # each worker has a connection of its own
            assert time.monotonic() < until, "the fleet does not share again"
        assert not re.search(r"LOG[0-3]\[", one.output + other.output)


def test_tickets_go_on_through_an_outage_and_an_empty_server(
    pki: Pki, echo: Echo, start: Callable[..., Redis], tmp_path: Path
) -> None:
    redis, believes = start(), client(pki, "TLSv1.3")
    with fleet(pki, echo, tmp_path, f"redis://127.0.0.1:{redis.port}") as (one, other):
        _, saved = resumed(pki, one, believes)
        redis.kill()
        again, saved = resumed(pki, other, believes, saved)
        assert again
        redis.start()
        for each in (one, other):
            each.wait_line(r"sessiond redis://.*: connected", count=4)
        assert resumed(pki, one, believes, saved)[0]


def test_a_daemon_that_starts_without_redis_joins_later_and_keeps_its_tickets(
    pki: Pki, echo: Echo, start: Callable[..., Redis], tmp_path: Path
) -> None:
    redis, believes = start(), client(pki, "TLSv1.3")
    redis.kill()
    place = f"sessiond = redis://127.0.0.1:{redis.port}"
    with daemons("culvert-culvert", pki, echo, tmp_path, place) as (one, other):
        one.wait_line("out of reach", count=2)
        (_, early), (_, late) = resumed(pki, one, believes), resumed(pki, other, believes)
        redis.start()
        for each in (one, other):
            each.wait_line(r"sessiond redis://.*: connected", count=2)
        assert resumed(pki, one, believes, early)[0]
        assert resumed(pki, other, believes, late)[0]
        _, saved = resumed(pki, one, believes)
        assert resumed(pki, other, believes, saved)[0]


def test_over_tls_with_a_password_that_nobody_sees(
    pki: Pki, echo: Echo, start: Callable[..., Redis], tmp_path: Path
) -> None:
    redis, believes = start("--requirepass", "swordfish", *tls_of(pki), secure=True), client(pki, "TLSv1.3")
    place = f"rediss://:swordfish@localhost:{redis.port}/3?CAfile={pki.ca}"
    with fleet(pki, echo, tmp_path, place, "debug = debug") as (one, other):
        _, saved = resumed(pki, one, believes)
        assert resumed(pki, other, believes, saved)[0]
        assert "swordfish" not in one.output + other.output


@pytest.mark.parametrize("fault", ["password", "authority"])
def test_a_server_that_refuses_or_is_another_is_out_of_reach(
    pki: Pki, echo: Echo, start: Callable[..., Redis], tmp_path: Path, fault: str
) -> None:
    redis, believes = start("--requirepass", "right", *tls_of(pki), secure=True), client(pki, "TLSv1.2")
    authority = pki.other_ca if fault == "authority" else pki.ca
    word = "wrong" if fault == "password" else "right"
    place = f"sessiond = rediss://:{word}@localhost:{redis.port}/?CAfile={authority}"
    text = configuration(Kind.CULVERT, pki, echo.port, place)
    with running(Kind.CULVERT, text, tmp_path / "one") as proxy:
        proxy.wait_line("certificate verify failed" if fault == "authority" else "invalid username-password")
        assert resumed(pki, proxy, believes, resumed(pki, proxy, believes)[1])[0]
        assert word not in proxy.output.replace("username-password", "")


def test_a_reload_goes_on_with_the_keys_of_the_fleet(
    pki: Pki, echo: Echo, start: Callable[..., Redis], tmp_path: Path
) -> None:
    redis, believes = start(), client(pki, "TLSv1.3")
    with fleet(pki, echo, tmp_path, f"redis://127.0.0.1:{redis.port}") as (one, other):
        _, saved = resumed(pki, other, believes)
        rewrite(
            one, configuration(Kind.CULVERT, pki, echo.port, f"sessiond = redis://127.0.0.1:{redis.port}")
        )
        reload(one)
        one.wait_line(r"sessiond redis://.*: connected", count=4)
        assert resumed(pki, one, believes, saved)[0]


def test_a_service_that_is_not_resumed_asks_nobody(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    text = configuration(Kind.CULVERT, pki, echo.port, "sessiond = redis://127.0.0.1:1", "sessionResume = no")
    believes: ssl.SSLContext = client(pki, "TLSv1.2")
    with running(Kind.CULVERT, text, tmp_path) as proxy:
        resumed(pki, proxy, believes)
        assert "sessiond" not in proxy.output
