"""`renegotiation`, with a client that asks for one (TLS 1.2; TLS 1.3 has none)."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pki import Pki
from tests.proxies import Kind, Proxy, need_program, running

pytestmark = [pytest.mark.interop, pytest.mark.integration]

SECONDS = 30.0
TEXT = """
foreground = yes
syslog = no
debug = {debug}
[tunnel]
accept = 127.0.0.1:@PORT@
connect = 127.0.0.1:{port}
cert = {cert}
options = ALLOW_CLIENT_RENEGOTIATION
renegotiation = {allowed}
"""
NAMED = """
[named]
sni = tunnel:named.example
connect = 127.0.0.1:{port}
cert = {cert}
options = ALLOW_CLIENT_RENEGOTIATION
renegotiation = no
"""


@pytest.fixture
def backend() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        yield listening


@contextlib.contextmanager
def renegotiating(
    backend: socket.socket, pki: Pki, folder: Path, allowed: str, debug: str = "notice", text: str = TEXT
) -> Iterator[tuple[Proxy, socket.socket, subprocess.Popen[bytes]]]:
    """Culvert, the far end of a connection, and s_client at its near end, told to renegotiate."""
    text = text.format(port=backend.getsockname()[1], cert=pki.server.both, allowed=allowed, debug=debug)
    pipe = subprocess.PIPE
    with running(Kind.CULVERT, text, folder) as proxy:
        words = [need_program("openssl"), "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-tls1_2"]
        words += ["-servername", "named.example"]
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as peer:
            near, _ = backend.accept()
            with near:
                near.settimeout(SECONDS)
                write(peer, b"R\n")
                yield proxy, near, peer


def write(peer: subprocess.Popen[bytes], line: bytes) -> None:
    assert peer.stdin is not None
    peer.stdin.write(line)
    peer.stdin.flush()


def test_a_renegotiation_that_is_refused_ends_the_connection(
    backend: socket.socket, pki: Pki, tmp_path: Path
) -> None:
    with renegotiating(backend, pki, tmp_path, "no") as (proxy, near, peer):
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        proxy.wait_line("Aborting due to renegotiation request")
        peer.communicate(timeout=SECONDS)


def test_a_service_that_is_reached_by_its_name_refuses_by_itself(
    backend: socket.socket, pki: Pki, tmp_path: Path
) -> None:
    with renegotiating(backend, pki, tmp_path, "yes", text=TEXT + NAMED) as (proxy, near, peer):
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        proxy.wait_line("Aborting due to renegotiation request")
        peer.communicate(timeout=SECONDS)


def test_a_refusal_is_seen_where_each_alert_is_logged_too(
    backend: socket.socket, pki: Pki, tmp_path: Path
) -> None:
    with renegotiating(backend, pki, tmp_path, "no", "debug") as (proxy, near, peer):
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        for line in (
            r"TLS state \(accept\): ",
            r"TLS alert \(write\): warning: no renegotiation",
            "Aborting due",
        ):
            proxy.wait_line(line)
        peer.communicate(timeout=SECONDS)


def test_a_connection_goes_on_after_a_renegotiation_that_is_allowed(
    backend: socket.socket, pki: Pki, tmp_path: Path
) -> None:
    with renegotiating(backend, pki, tmp_path, "yes") as (_, near, peer):
        assert peer.stdout is not None
        assert any(b"RENEGOTIATING" in line for line in peer.stdout)
        write(peer, b"after it\n")
        assert near.recv(100) == b"after it\n"
        near.sendall(b"to the client\n")
        assert any(b"to the client" in line for line in peer.stdout)  # s_client leaves when its input ends
        near.shutdown(socket.SHUT_WR)
        peer.communicate(timeout=SECONDS)
