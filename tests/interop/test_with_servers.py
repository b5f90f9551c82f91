"""Servers of other projects behind Culvert in client mode."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.interop.conftest import BIG, BODY, DIGEST, SECONDS, Service, Start, exchange, spawned, verified
from tests.pki import Pki
from tests.proxies import Kind
from tests.proxies.tls import VERSIONS

pytestmark = [pytest.mark.interop, pytest.mark.integration]

every_version = pytest.mark.parametrize("version", list(VERSIONS))
Address = tuple[str, int]


@contextmanager
def s_server(pki: Pki, version: str, *arguments: str) -> Iterator[tuple[Address, subprocess.Popen[bytes]]]:
    """Run ``openssl s_server`` in the folder of the certificates; its address and process."""
    only = "-tls" + version.removeprefix("TLSv").replace(".", "_")
    with spawned(
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", pki.server.cert, "-key", pki.server.key,
        only, *arguments, folder=pki.folder,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.match(rb"ACCEPT .*:(\d+)", line):
                yield ("127.0.0.1", int(found[1])), process
                return
        pytest.fail("openssl s_server does not listen")


def get(address: Address, path: str) -> bytes:
    """The body of what a web server answers, and it has to end with FIN."""
    with socket.create_connection(address, SECONDS) as sock, sock.makefile("rb") as stream:
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return stream.read().partition(b"\r\n\r\n")[2]


def send_all(sock: socket.socket) -> None:
    """Send 64 MiB and FIN."""
    sock.sendall(BODY)
    sock.shutdown(socket.SHUT_WR)


@every_version
def test_64_mebibytes_come_from_s_server(start: Start, pki: Pki, version: str) -> None:
    (pki.folder / "big.bin").write_bytes(BODY)
    with s_server(pki, version, "-WWW") as (address, _):
        culvert = start(Kind.CULVERT, "client", address, **verified(pki))
        assert hashlib.sha256(get(culvert.address, "/big.bin")).hexdigest() == DIGEST


@every_version
def test_64_mebibytes_go_to_s_server(start: Start, pki: Pki, version: str) -> None:
    with s_server(pki, version, "-naccept", "1") as (address, process):
        culvert = start(Kind.CULVERT, "client", address, **verified(pki))
        assert process.stdout is not None
        with socket.create_connection(culvert.address, SECONDS) as sock, ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send_all, sock)
            printed = process.stdout.read()
            sending.result()
    start_of_body = printed.index(BODY[:64])
    assert hashlib.sha256(printed[start_of_body : start_of_body + BIG]).hexdigest() == DIGEST


@every_version
def test_a_session_with_s_server_is_resumed(start: Start, pki: Pki, version: str) -> None:
    with s_server(pki, version, "-www") as (address, _):
        culvert = start(Kind.CULVERT, "client", address, top={"workers": "1"}, **verified(pki))
        for _ in range(4):
            assert b"s_server" in get(culvert.address, "/")
        culvert.wait_line("TLS connected: new session negotiated")
        culvert.wait_line("TLS connected: previous session reused", count=3)


@every_version
def test_a_stunnel_server_moves_64_mebibytes_both_ways(
    start: Start, service: Callable[[bytes], Service], pki: Pki, version: str
) -> None:
    stunnel = start(Kind.STUNNEL, "server", service(BODY).address, sslVersion=version)
    culvert = start(Kind.CULVERT, "client", stunnel.address, **verified(pki))
    assert exchange(culvert.address, BODY, BIG) == (DIGEST, BODY)


@pytest.mark.parametrize("kind", [Kind.HITCH, Kind.HAPROXY], ids=lambda kind: kind.value)
def test_other_proxies_as_servers_move_64_mebibytes_both_ways(
    start: Start, service: Callable[[bytes], Service], pki: Pki, kind: Kind
) -> None:
    other = start(kind, "server", service(BODY).address)
    culvert = start(Kind.CULVERT, "client", other.address, **verified(pki))
    assert exchange(culvert.address, BODY, BIG) == (DIGEST, BODY)


@every_version
def test_culvert_behind_culvert_moves_64_mebibytes_both_ways(
    start: Start, service: Callable[[bytes], Service], pki: Pki, version: str
) -> None:
    far = start(Kind.CULVERT, "server", service(BODY).address)
    near = start(Kind.CULVERT, "client", far.address, sslVersion=version, **verified(pki))
    assert exchange(near.address, BODY, BIG) == (DIGEST, BODY)
