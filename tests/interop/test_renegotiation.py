"""`renegotiation`, with a client that asks for one (TLS 1.2; TLS 1.3 has none)."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pki import Pki
from tests.proxies import Kind, need_program, running

pytestmark = [pytest.mark.interop, pytest.mark.integration]

SECONDS = 30.0
TEXT = """
foreground = yes
syslog = no
debug = notice
[tunnel]
accept = 127.0.0.1:@PORT@
connect = 127.0.0.1:{port}
cert = {cert}
options = ALLOW_CLIENT_RENEGOTIATION
renegotiation = {allowed}
"""


@pytest.fixture
def backend() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)
        yield listening


def client(port: int) -> subprocess.Popen[bytes]:
    """s_client, which asks for a renegotiation at a line with an R, and ends at a line with a Q."""
    program = need_program("openssl")
    words = [program, "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2"]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_renegotiation_that_is_refused_ends_the_connection(
    backend: socket.socket, pki: Pki, tmp_path: Path
) -> None:
    text = TEXT.format(port=backend.getsockname()[1], cert=pki.server.both, allowed="no")
    with running(Kind.CULVERT, text, tmp_path) as proxy, client(proxy.port) as peer:
        near, _ = backend.accept()
        with near:
            near.settimeout(SECONDS)
            assert peer.stdin is not None
            peer.stdin.write(b"R\n")
            peer.stdin.flush()
            with pytest.raises(ConnectionResetError):
                near.recv(1)
        proxy.wait_line("Aborting due to renegotiation request")
        peer.communicate(timeout=SECONDS)


def test_a_connection_goes_on_after_a_renegotiation_that_is_allowed(
    backend: socket.socket, pki: Pki, tmp_path: Path
) -> None:
    text = TEXT.format(port=backend.getsockname()[1], cert=pki.server.both, allowed="yes")
    with running(Kind.CULVERT, text, tmp_path) as proxy, client(proxy.port) as peer:
        near, _ = backend.accept()
        with near:
            near.settimeout(SECONDS)
            assert peer.stdin is not None
            peer.stdin.write(b"R\n")
            peer.stdin.flush()
            assert peer.stdout is not None
            assert any(b"RENEGOTIATING" in line for line in peer.stdout)
            peer.stdin.write(b"after it\n")
            peer.stdin.flush()
            assert near.recv(100) == b"after it\n"
            near.sendall(b"to the client\n")
            near.shutdown(socket.SHUT_WR)
            output, _ = peer.communicate(timeout=SECONDS)
    assert b"to the client" in output
