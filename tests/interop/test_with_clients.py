"""Clients of other projects in front of Culvert in server mode."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.interop.conftest import (
    BIG,
    BODY,
    DIGEST,
    MIB,
    SECONDS,
    Service,
    Start,
    exchange,
    run,
    spawned,
    verified,
)
from tests.pki import Pki
from tests.proxies import Kind, Proxy
from tests.proxies.tls import VERSIONS

pytestmark = [pytest.mark.interop, pytest.mark.integration]

every_version = pytest.mark.parametrize("version", list(VERSIONS))


class Handler(BaseHTTPRequestHandler):
    """GET / gives 64 MiB, /part the first of them, else a few octets; POST the SHA-256 of what came."""

    def do_GET(self) -> None:
        self._reply({"/": BODY, "/part": BODY[:MIB]}.get(self.path, b"hello"))

    def do_POST(self) -> None:
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left and (data := self.rfile.read(min(left, MIB))):
            digest.update(data)
            left -= len(data)
        self._reply(digest.hexdigest().encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class calls it so
        """Say nothing."""

    def _reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def web(start: Start) -> Iterator[Proxy]:
    """Culvert in front of a web server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield start(Kind.CULVERT, "server", ("127.0.0.1", server.server_port))
        finally:
            server.shutdown()
            thread.join()


def number(version: str) -> str:
    """1.2 or 1.3."""
    return version.removeprefix("TLSv")


def curl(proxy: Proxy, pki: Pki, version: str, *arguments: str) -> bytes:
    """What curl receives over that version only."""
    only = ("--tlsv" + number(version), "--tls-max", number(version))
    done = run("curl", "-sS", "--cacert", pki.ca, *only, f"https://localhost:{proxy.port}/", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@every_version
def test_curl_downloads_64_mebibytes(web: Proxy, pki: Pki, version: str) -> None:
    assert hashlib.sha256(curl(web, pki, version)).hexdigest() == DIGEST


@every_version
def test_curl_uploads_64_mebibytes(web: Proxy, pki: Pki, version: str, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(BODY)
    assert curl(web, pki, version, "-H", "Expect:", "--data-binary", f"@{file}").decode() == DIGEST


def s_client(proxy: Proxy, pki: Pki, version: str, *arguments: str | Path, data: bytes) -> bytes:
    """What ``openssl s_client`` prints; it ends when the server does."""
    only = "-tls" + number(version).replace(".", "_")
    done = run(
        "openssl", "s_client", "-connect", f"localhost:{proxy.port}", "-CAfile", pki.ca,
        "-verify_return_error", "-ign_eof", only, *arguments, data=data,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@every_version
def test_s_client_downloads_64_mebibytes(web: Proxy, pki: Pki, version: str) -> None:
    printed = s_client(web, pki, version, "-quiet", data=b"GET / HTTP/1.0\r\n\r\n")
    assert hashlib.sha256(printed.partition(b"\r\n\r\n")[2]).hexdigest() == DIGEST


@every_version
def test_s_client_uploads_64_mebibytes(web: Proxy, pki: Pki, version: str) -> None:
    head = f"POST / HTTP/1.0\r\nContent-Length: {BIG}\r\n\r\n".encode()
    assert DIGEST.encode() in s_client(web, pki, version, "-quiet", data=head + BODY)


@every_version
def test_s_client_resumes_a_saved_session_every_time(
    web: Proxy, pki: Pki, version: str, tmp_path: Path
) -> None:
    saved, request = tmp_path / "session.pem", b"GET /small HTTP/1.0\r\n\r\n"
    assert b"New, TLSv1" in s_client(web, pki, version, "-sess_out", saved, data=request)
    for _ in range(6):  # more often than there are workers
        printed = s_client(web, pki, version, "-sess_in", saved, data=request)
        assert b"Reused, TLSv1" in printed
        assert b"hello" in printed


def test_s_client_reconnects_five_times_with_its_session(web: Proxy, pki: Pki) -> None:
    printed = s_client(web, pki, "TLSv1.2", "-reconnect", data=b"GET /small HTTP/1.0\r\n\r\n")
    assert printed.count(b"Reused, TLSv1.2") == 5


def test_s_client_reconnects_five_times_without_tickets(web: Proxy, pki: Pki) -> None:
    request = b"GET /small HTTP/1.0\r\n\r\n"
    printed = s_client(web, pki, "TLSv1.2", "-reconnect", "-no_ticket", data=request)
    assert printed.count(b"Reused, TLSv1.2") == 5


@every_version
def test_gnutls_cli_downloads_a_mebibyte(web: Proxy, pki: Pki, version: str) -> None:
    # No more: it prints hardly a mebibyte in a second.
    only = f"NORMAL:-VERS-ALL:+VERS-TLS{number(version)}"
    with spawned(
        "gnutls-cli", "--x509cafile", pki.ca, "--priority", only, "--logfile", "/dev/null",
        "-p", str(web.port), "localhost",
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"GET /part HTTP/1.0\r\n\r\n")
        process.stdin.flush()
        body = process.stdout.read().partition(b"\r\n\r\n")[2]
    assert body[:MIB] == BODY[:MIB]


@every_version
def test_python_moves_64_mebibytes_both_ways(web: Proxy, pki: Pki, version: str) -> None:
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.minimum_version = context.maximum_version = VERSIONS[version]
    for method, body in (("GET", None), ("POST", BODY)):
        talk = http.client.HTTPSConnection("localhost", web.port, context=context, timeout=SECONDS)
        talk.request(method, "/", body)
        with talk.getresponse() as response:
            answer = response.read()
        talk.close()
        assert DIGEST in (hashlib.sha256(answer).hexdigest(), answer.decode("latin-1"))


@every_version
def test_a_stunnel_client_moves_64_mebibytes_both_ways(
    start: Start, service: Callable[[bytes], Service], pki: Pki, version: str
) -> None:
    culvert = start(Kind.CULVERT, "server", service(BODY).address)
    stunnel = start(Kind.STUNNEL, "client", culvert.address, sslVersion=version, **verified(pki))
    assert exchange(stunnel.address, BODY, BIG) == (DIGEST, BODY)
