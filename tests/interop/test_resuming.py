"""Sessions are resumed between Culvert and programs of other projects, in both directions."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.daemon.scene import Echo, echoing
from tests.interop.conftest import SECONDS, Start, run, verified
from tests.pki import Pki
from tests.proxies import Kind, Proxy

pytestmark = [pytest.mark.integration, pytest.mark.interop]

VERSIONS = ("TLSv1.2", "TLSv1.3")
REUSED = "previous session reused"
PRIORITY = {"TLSv1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2", "TLSv1.3": "NORMAL:-VERS-ALL:+VERS-TLS1.3"}


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


CONNECTIONS = 8
"""stunnel sends two tickets of TLS 1.3 and keeps the session of one of them, so not each attempt can
succeed."""


def often(proxy: Proxy) -> None:
    """Some connections through a tunnel, one after the other."""
    for _ in range(CONNECTIONS):
        with socket.create_connection(proxy.address, SECONDS) as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(100) == b""


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "ids"])
@pytest.mark.parametrize("version", VERSIONS)
def test_gnutls_cli_resumes(start: Start, pki: Pki, echo: Echo, version: str, tickets: bool) -> None:
    options = {} if tickets else {"options": "NO_TICKET"}
    proxy = start(Kind.CULVERT, "server", ("127.0.0.1", echo.port), {"workers": "2"}, **options)
    done = run(
        "gnutls-cli", "--priority", PRIORITY[version], "--x509cafile", pki.ca, "--resume", "--waitresumption",
        "--port", str(proxy.port), "localhost",
    )  # fmt: skip
    assert b"*** This is a resumed session" in done.stdout, done


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "ids"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("near", "far"), [(Kind.STUNNEL, Kind.CULVERT), (Kind.CULVERT, Kind.STUNNEL)])
def test_a_client_resumes_with_a_server_of_the_other_make(
    start: Start, pki: Pki, echo: Echo, near: Kind, far: Kind, version: str, tickets: bool
) -> None:
    options = {"sslVersion": version, "debug": "info", **({} if tickets else {"options": "NO_TICKET"})}
    server = start(far, "server", ("127.0.0.1", echo.port), **options)
    client = start(near, "client", server.address, debug="info", sslVersion=version, **verified(pki))
    often(client)
    server.wait_line(f"TLS accepted: {REUSED}")
    client.wait_line(f"TLS connected: {REUSED}")
