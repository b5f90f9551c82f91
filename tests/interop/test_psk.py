"""Pre-shared keys between Culvert and the programs of other projects."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.interop.conftest import MIB, SECONDS, Service, exchange, run, spawned
from tests.proxies import Kind, Proxy, need, payload, running
from tests.proxies.tls import VERSIONS

pytestmark = [pytest.mark.interop, pytest.mark.integration]

HEXADECIMAL = "000102030405060708090a0b0c0d0e0f"
BODY = payload(MIB)

every_version = pytest.mark.parametrize("version", list(VERSIONS))
Start = Callable[..., Proxy]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start tunnels that know the keys of alice and bob and have no certificate."""
    secrets = tmp_path / "psk.txt"
    secrets.write_text(f"alice:{HEXADECIMAL}\nbob:what only bob and the server know\n")
    secrets.chmod(0o600)
    with ExitStack() as stack:

        def begin(kind: Kind, mode: str, far: tuple[str, int], version: str) -> Proxy:
            need(kind)
            own = "client = yes\nPSKidentity = bob\n" if mode == "client" else ""
            text = (
                "foreground = yes\npid =\nsyslog = no\ndebug = info\n[tunnel]\n"
                f"{own}accept = 127.0.0.1:@PORT@\nconnect = {far[0]}:{far[1]}\n"
                f"PSKsecrets = {secrets}\nsslVersion = {version}\n"
            )
            return stack.enter_context(running(kind, text, tmp_path / f"{kind.value}-{mode}"))

        yield begin


def passes(near: Proxy) -> None:
    """Twice, so that the second time there is a session to resume."""
    for _ in range(2):
        assert exchange(near.address, BODY, MIB)[1] == BODY


@every_version
def test_a_stunnel_client_knows_the_key(
    start: Start, service: Callable[[bytes], Service], version: str
) -> None:
    culvert = start(Kind.CULVERT, "server", service(BODY).address, version)
    passes(start(Kind.STUNNEL, "client", culvert.address, version))
    culvert.wait_line('Key configured for PSK identity "bob"')
    culvert.wait_line("TLS accepted: previous session reused")


@every_version
def test_a_stunnel_server_knows_the_key(
    start: Start, service: Callable[[bytes], Service], version: str
) -> None:
    stunnel = start(Kind.STUNNEL, "server", service(BODY).address, version)
    culvert = start(Kind.CULVERT, "client", stunnel.address, version)
    passes(culvert)
    culvert.wait_line('PSK client configured for identity "bob"')


@contextmanager
def greeter() -> Iterator[tuple[str, int]]:
    """A service that says hello and ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    sock.sendall(b"hello\n")
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(1024):
                        pass

        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@every_version
def test_s_client_knows_the_key(start: Start, version: str) -> None:
    with greeter() as far:
        culvert = start(Kind.CULVERT, "server", far, version)
        done = run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{culvert.port}", "-psk_identity", "alice",
            "-psk", HEXADECIMAL, "-ign_eof",
        )  # fmt: skip
        assert b"hello" in done.stdout, done.stderr
        bad = run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{culvert.port}", "-psk_identity", "alice",
            "-psk", HEXADECIMAL[::-1], "-ign_eof",
        )  # fmt: skip
        assert b"hello" not in bad.stdout


@every_version
def test_gnutls_cli_knows_the_key(start: Start, version: str) -> None:
    # gnutls-cli 3.7 crashes when it prints what it agreed on with ECDHE-PSK in TLS 1.2.
    kind = "+PSK" if version == "TLSv1.2" else "+ECDHE-PSK"
    only = "NORMAL:-VERS-ALL:+VERS-" + version.replace("TLSv", "TLS") + ":" + kind
    with greeter() as far:
        culvert = start(Kind.CULVERT, "server", far, version)
        done = run(
            "gnutls-cli", "--priority", only, "--pskusername", "alice", "--pskkey", HEXADECIMAL,
            "-p", str(culvert.port), "127.0.0.1",
        )  # fmt: skip
    assert b"hello" in done.stdout, done.stdout + done.stderr
    culvert.wait_line('Key configured for PSK identity "alice"')


@every_version
def test_s_server_knows_the_key(start: Start, version: str) -> None:
    key = b"what only bob and the server know".hex()
    with spawned(
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-nocert", "-psk_identity", "bob", "-psk", key,
        "-naccept", "1",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.match(rb"ACCEPT .*:(\d+)", line):
                break
        assert found is not None
        culvert = start(Kind.CULVERT, "client", ("127.0.0.1", int(found[1])), version)
        with socket.create_connection(culvert.address, SECONDS) as sock:
            sock.sendall(b"greetings from bob\n")
            sock.shutdown(socket.SHUT_WR)
            assert b"greetings from bob" in process.stdout.read()


@every_version
def test_gnutls_serv_knows_the_key(start: Start, version: str, tmp_path: Path) -> None:
    passwords = tmp_path / "gnutls.psk"
    passwords.write_text("bob:" + b"what only bob and the server know".hex() + "\n")
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    with spawned(
        "gnutls-serv", "--echo", "--port", str(port), "--pskpasswd", passwords,
        "--priority", "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if b"Echo Server listening" in line and b"0.0.0.0" in line:
                break
        culvert = start(Kind.CULVERT, "client", ("127.0.0.1", port), version)
        with socket.create_connection(culvert.address, SECONDS) as sock:
            sock.settimeout(SECONDS)
            sock.sendall(b"greetings from bob\n")
            assert sock.recv(100) == b"greetings from bob\n"
