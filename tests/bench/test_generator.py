"""The load generator against a server of Python's own: it must notice everything that is wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.backend import REPLY, running_sink
from bench.certificates import make_certificates
from bench.errors import BenchError
from bench.generator import compile_generator, parse_outcome, prepared_run


class Answer(BaseHTTPRequestHandler):
    """Answers every GET with ``body``."""

    protocol_version = "HTTP/1.1"
    body = REPLY.encode()
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


class WrongByte(Answer):
    body = b"X" + REPLY.encode()[1:]


class TooShort(Answer):
    body = REPLY.encode()[:-1]


class NotFound(Answer):
    status = 404


class TlsServer(ThreadingHTTPServer):
    """Handshakes in the connection's own thread, and waits for its threads when it closes."""

    daemon_threads = False

    def __init__(self, handler: type[Answer], context: Callable[[], ssl.SSLContext]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._context = context

    def get_request(self) -> tuple[ssl.SSLSocket, object]:
        client, address = super().get_request()
        tls = self._context().wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return tls, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that refuses us is what some tests want."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_generator(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))["p256"]


@contextlib.contextmanager
def serving(
    certificate: Path,
    handler: type[Answer] = Answer,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    tickets: int = 2,
    forgetful: bool = False,
    context: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """Serve on the port that is given; a forgetful server has new ticket keys for every connection."""

    def fresh() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.maximum_version = newest
        context.num_tickets = tickets
        return context

    kept = context or fresh()
    with TlsServer(handler, fresh if forgetful else lambda: kept) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def run(program: Path, certificate: Path, port: int, *arguments: str) -> tuple[int, int]:
    with prepared_run(program, port, certificate.with_suffix(".crt"), arguments) as prepared:
        outcome = prepared.work()
        return outcome.done, outcome.resumed


@pytest.mark.parametrize("mode", ["visits", "kept", "idle"])
def test_good_replies_are_counted(program: Path, certificate: Path, mode: str) -> None:
    with serving(certificate) as port:
        assert run(program, certificate, port, "-n", "7", "-t", "2", mode) == (7, 0)


def test_resumed_visits_are_resumed_every_time(program: Path, certificate: Path) -> None:
    with serving(certificate) as port:
        assert run(program, certificate, port, "-n", "6", "-t", "2", "-r", "visits") == (6, 6)


def test_a_server_without_tickets_fails_the_resumption(program: Path, certificate: Path) -> None:
    with serving(certificate, tickets=0) as port, pytest.raises(BenchError, match="no session ticket came"):
        run(program, certificate, port, "-n", "2", "-r", "visits")


def test_a_ticket_that_is_not_taken_fails_the_resumption(program: Path, certificate: Path) -> None:
    with serving(certificate, forgetful=True) as port, pytest.raises(BenchError, match="was not resumed"):
        run(program, certificate, port, "-n", "2", "-r", "visits")


@pytest.mark.parametrize(
    ("handler", "reason"),
    [(WrongByte, "wrong bytes"), (TooShort, "wrong length"), (NotFound, "status is not 200")],
)
def test_a_wrong_reply_is_a_failure(
    program: Path, certificate: Path, handler: type[Answer], reason: str
) -> None:
    with serving(certificate, handler) as port, pytest.raises(BenchError, match=reason):
        run(program, certificate, port, "visits")


def test_an_older_protocol_is_a_failure(program: Path, certificate: Path) -> None:
    old = ssl.TLSVersion.TLSv1_2
    with serving(certificate, newest=old) as port, pytest.raises(BenchError, match="handshake"):
        run(program, certificate, port, "visits")


def test_another_certificate_is_a_failure(program: Path, certificate: Path, tmp_path: Path) -> None:
    other = make_certificates(tmp_path)["rsa"]
    with serving(other) as port, pytest.raises(BenchError, match="certificate verify failed"):
        run(program, certificate, port, "visits")


def test_a_client_certificate_is_shown(program: Path, certificate: Path) -> None:
    folder = certificate.parent
    demanding = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    demanding.load_cert_chain(certificate)
    demanding.load_verify_locations(folder / "authority.crt")
    demanding.verify_mode = ssl.CERT_REQUIRED
    with serving(certificate, context=demanding) as port:
        assert run(program, certificate, port, "-k", str(folder / "client.pem"), "visits") == (1, 0)
        with pytest.raises(BenchError, match="after 0 units"):
            run(program, certificate, port, "visits")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-o", "-O"), "no OCSP response was stapled"),
        (("-s", "bench:00ff00ff00ff00ff00ff00ff00ff00ff"), "the pre-shared key was not used"),
    ],
)
def test_what_the_server_does_not_do_is_a_failure(
    program: Path, certificate: Path, arguments: tuple[str, ...], reason: str
) -> None:
    with serving(certificate) as port, pytest.raises(BenchError, match=reason):
        run(program, certificate, port, *arguments, "visits")


def pattern(size: int) -> bytearray:
    """Compose an upload as the generator does."""
    period = bytearray()
    state = 1
    for _ in range(65521):
        state = (state * 1103515245 + 12345) & 0xFFFFFFFF
        period.append(state >> 16 & 0xFF)
    return (period * (size // len(period) + 1))[:size]


def post(port: int, body: bytearray) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as client, client.makefile("rb") as replies:
        client.sendall(b"POST /sink HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return replies.readline().strip()


@pytest.mark.parametrize("size", [1, 65521, 300_000, 1_000_000])
def test_the_sink_takes_the_pattern_and_nothing_else(program: Path, size: int) -> None:
    good = pattern(size)
    bad = good.copy()
    bad[-1] ^= 1
    with running_sink(program) as port:
        assert post(port, good) == b"HTTP/1.1 200 OK"
        assert post(port, bad) == b"HTTP/1.1 400 Bad"


def test_a_generator_that_died_is_a_failure() -> None:
    with pytest.raises(BenchError, match="died"):
        parse_outcome("")
