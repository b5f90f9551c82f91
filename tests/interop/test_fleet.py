"""Two daemons that share sessions: Culvert and stunnel, over `culvert sessiond`."""

from __future__ import annotations

import re
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, ask, connect, context, echoing
from tests.pki import Pki
from tests.proxies import Kind, Proxy, need, running

pytestmark = [pytest.mark.integration, pytest.mark.interop]

SECONDS = 20.0
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


class Sessiond:
    """A running `culvert sessiond`, and where it listens."""

    def __init__(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "culvert", "sessiond", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        assert select.select([self.process.stderr], [], [], SECONDS)[0]
        line = self.process.stderr.readline()
        found = re.fullmatch(r"Serving TLS sessions on 127\.0\.0\.1:(\d+)\n", line)
        assert found, line
        self.port = int(found[1])

    def stop(self) -> str:
        """End it; gives its last line."""
        self.process.send_signal(signal.SIGTERM)
        _, last = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0
        return last


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


@pytest.fixture
def sessiond() -> Iterator[Sessiond]:
    server = Sessiond()
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.stop()


def configuration(kind: Kind, pki: Pki, backend: int, *more: str) -> str:
    lines = ["foreground = yes", "syslog = no", "debug = info", "pid ="]
    if kind is Kind.CULVERT:
        lines += ["workers = 2"]
    service = ["[web]", "accept = 127.0.0.1:@PORT@", f"connect = 127.0.0.1:{backend}"]
    return "\n".join([*lines, *service, f"cert = {pki.server.both}", *more, ""])


@contextmanager
def daemons(kinds: str, pki: Pki, echo: Echo, folder: Path, *more: str) -> Iterator[list[Proxy]]:
    """Daemons of the kinds named, all behind one name, with these lines in their service."""
    made = [Kind(each) for each in kinds.split("-")]
    for kind in made:
        need(kind)
    first = running(made[0], configuration(made[0], pki, echo.port, *more), folder / "one")
    second = running(made[1], configuration(made[1], pki, echo.port, *more), folder / "other")
    with first as one, second as other:
        yield [one, other]


def resumed(
    pki: Pki, proxy: Proxy, believes: ssl.SSLContext, saved: ssl.SSLSession | None = None
) -> tuple[bool, ssl.SSLSession | None]:
    """Whether a daemon takes a session, and the one that it gives."""
    with connect(pki, proxy.address, believes, saved) as tunnel:
        ask(tunnel)
        reused = bool(tunnel.session_reused)
        kept = tunnel.session
        tunnel.unwrap().close()
    return reused, kept


def client(pki: Pki, version: str) -> ssl.SSLContext:
    believes = context(pki)
    believes.minimum_version = believes.maximum_version = VERSIONS[version]
    return believes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "kinds", ["culvert-culvert", "stunnel-stunnel", "stunnel-culvert", "culvert-stunnel"]
)
def test_a_session_made_on_one_daemon_resumes_on_the_other(
    pki: Pki, echo: Echo, sessiond: Sessiond, tmp_path: Path, kinds: str, version: str
) -> None:
    believes = client(pki, version)
    with daemons(kinds, pki, echo, tmp_path, f"sessiond = 127.0.0.1:{sessiond.port}") as (one, other):
        # stunnel waits for 0.2 ms only, and then shakes hands in full.
        tries = 20 if other.kind is Kind.STUNNEL else 1
        assert any(passed_on(pki, one, other, believes) for _ in range(tries))
    assert "0 session(s)" not in sessiond.stop()


def passed_on(pki: Pki, one: Proxy, other: Proxy, believes: ssl.SSLContext) -> bool:
    """Whether a new session of one daemon resumes on the other."""
    first, saved = resumed(pki, one, believes)
    assert not first
    return resumed(pki, other, believes, saved)[0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("kinds", ["culvert-culvert", "stunnel-culvert"])
def test_a_ticket_of_equal_secrets_resumes_on_culvert(
    pki: Pki, echo: Echo, tmp_path: Path, kinds: str, size: int, version: str
) -> None:
    secret = bytes(reversed(range(size))).hex()  # it ends with a zero octet
    more = f"ticketKeySecret = {secret}", f"ticketMacSecret = {secret}"
    with daemons(kinds, pki, echo, tmp_path, *more) as (one, other):
        assert passed_on(pki, one, other, client(pki, version))


def test_a_ticket_of_stunnel_is_not_taken_where_clients_are_verified(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    """Nobody knows by which rules stunnel has let the client in."""
    believes, secret = client(pki, "TLSv1.3"), bytes(32).hex()
    believes.load_cert_chain(str(pki.client.both))
    given = f"ticketKeySecret = {secret}", f"ticketMacSecret = {secret}"
    more = *given, "verifyChain = yes", f"CAfile = {pki.ca}"
    with daemons("stunnel-culvert", pki, echo, tmp_path, *more) as (one, other):
        assert not passed_on(pki, one, other, believes)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_of_a_named_service_resumes_on_the_other_daemon(
    pki: Pki, echo: Echo, sessiond: Sessiond, tmp_path: Path, version: str
) -> None:
    named = "[named]", "sni = web:localhost", f"connect = 127.0.0.1:{echo.port}", f"cert = {pki.server.both}"
    more = f"sessiond = 127.0.0.1:{sessiond.port}", *named
    with daemons("culvert-culvert", pki, echo, tmp_path, *more) as (one, other):
        assert passed_on(pki, one, other, client(pki, version))
        other.wait_line(r"SNI: switched to service \[named\]", count=1)
        other.wait_line("cache_transfer: request=get")


def test_without_its_server_a_daemon_does_full_handshakes_until_it_is_back(
    pki: Pki, echo: Echo, sessiond: Sessiond, tmp_path: Path
) -> None:
    believes, more = client(pki, "TLSv1.2"), f"sessiond = 127.0.0.1:{sessiond.port}"
    with daemons("culvert-culvert", pki, echo, tmp_path, more) as (one, other):
        _, saved = resumed(pki, one, believes)
        sessiond.stop()
        for _ in range(3):
            assert not resumed(pki, other, believes, saved)[0]
        again = Sessiond(sessiond.port)
        try:
            # Each worker finds out for itself, by the first session that it asks for.
            assert any(passed_on(pki, one, other, believes) for _ in range(40))
        finally:
            again.stop()


def test_a_server_that_does_not_answer_is_waited_for_once(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    believes = client(pki, "TLSv1.2")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        more = f"sessiond = 127.0.0.1:{mute.getsockname()[1]}"
        with daemons("culvert-culvert", pki, echo, tmp_path, more) as (one, other):
            _, saved = resumed(pki, one, believes)
            for _ in range(6):
                assert not resumed(pki, other, believes, saved)[0]
            assert 1 <= other.output.count("cache_transfer: recv timeout") <= 2  # once in each worker


def test_sessions_with_certificates_are_too_long_for_the_protocol(
    pki: Pki, echo: Echo, sessiond: Sessiond, tmp_path: Path
) -> None:
    believes = client(pki, "TLSv1.2")
    believes.load_cert_chain(str(pki.client.both))
    more = f"sessiond = 127.0.0.1:{sessiond.port}", "verifyChain = yes", f"CAfile = {pki.ca}"
    with daemons("culvert-culvert", pki, echo, tmp_path, *more) as (one, other):
        _, saved = resumed(pki, one, believes)
        one.wait_line("cache_transfer: encoded session too big")
        assert resumed(pki, one, believes, saved)[0]
        assert not resumed(pki, other, believes, saved)[0]
