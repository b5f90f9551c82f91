"""Policies against the programs that operators use: openssl's own and stunnel4."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from culvert import tls
from tests.openssl.memory import Ours
from tests.pki import Pki
from tests.tls.pairs import DEADLINE, Log, client, facts, server

pytestmark = pytest.mark.interop


def program(name: str) -> str:
    """The path of a peer; the test is skipped without it, but fails where CI promised it."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return path


def over_socket(end: Ours, link: socket.socket, until: bytes = b"") -> bytes:
    """Shake hands over a socket, then read until ``until`` has come."""
    link.settimeout(DEADLINE)
    got = b""
    while not end.done:
        end.handshake()
        link.sendall(end.to_send())
        if not end.done:
            _receive(end, link)
    link.sendall(end.to_send())
    while until and until not in got:  # the first bytes may have come with the handshake's last
        if not (data := end.read()):
            _receive(end, link)
        got += data
    return got


def _receive(end: Ours, link: socket.socket) -> None:
    data = link.recv(1 << 16)
    if not data:
        raise ConnectionError("the peer left")
    end.receive(data)


def serve_once(listener: socket.socket, policy: tls.TlsPolicy) -> dict[str, Any]:
    listener.settimeout(DEADLINE)
    link, _ = listener.accept()
    with link:
        end = Ours(policy.session(None, Log()))
        over_socket(end, link, b"hello")
        end.write(b"welcome\n")
        end.shutdown()
        link.sendall(end.to_send())
        answer = facts(end.session)
        end.close()
    return answer


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_resumes(
    pki: Pki, listener: socket.socket, tmp_path: Path, version: str, tickets: bool
) -> None:
    port = listener.getsockname()[1]
    policy = tls.build(
        server(pki, verify_chain=True, ca_file=str(pki.ca), options=() if tickets else ("NO_TICKET",))
    )
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", version, "-quiet"]
    command += ["-CAfile", str(pki.ca), "-verify_return_error", "-verify_hostname", "localhost"]
    command += ["-cert", str(pki.client.cert), "-key", str(pki.client.key)]
    seen = []
    for turn in range(2):
        keep = ["-sess_in" if turn else "-sess_out", str(tmp_path / "session")]
        with subprocess.Popen(
            [*command, *keep], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as peer:
            assert peer.stdin is not None
            peer.stdin.write(b"hello\n")
            peer.stdin.flush()
            seen.append(serve_once(listener, policy))
            output, _ = peer.communicate(timeout=DEADLINE)
            assert b"welcome" in output
    assert [each["resumed"] for each in seen] == [False, True]
    assert {each["peer"] for each in seen} == {"C=PL, O=Culvert Tests, CN=client"}


@contextlib.contextmanager
def s_server(pki: Pki, *options: str) -> Iterator[int]:
    """openssl s_server on a port of its own choice."""
    command = [program("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", str(pki.server.cert)]
    command += ["-key", str(pki.server.key), "-CAfile", str(pki.ca), *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as peer:
        try:
            assert peer.stdout is not None
            line = next(line for line in peer.stdout if line.startswith("ACCEPT"))
            yield int(line.rsplit(":", 1)[1])
        finally:
            peer.kill()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_resumes_with_s_server(pki: Pki, version: str) -> None:
    rules = {"verify_chain": True, "ca_file": str(pki.ca), "check_host": ("localhost",)}
    policy = tls.build(client(cert=(str(pki.client.both),), **rules))
    resumed = []
    with s_server(pki, version, "-Verify", "1", "-verify_return_error", "-rev") as port:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
                end = Ours(policy.session("there", Log()))
                over_socket(end, link)
                end.write(b"hello\n")
                assert b"olleh" in over_socket(end, link, b"olleh")
                resumed.append(end.session.resumed)
                end.shutdown()
                link.sendall(end.to_send())
                end.close()
    assert resumed == [False, True]


def test_a_client_refuses_an_s_server_of_another_authority(pki: Pki) -> None:
    policy = tls.build(client(verify_chain=True, ca_file=str(pki.other_ca)))
    with s_server(pki) as port, socket.create_connection(("127.0.0.1", port), DEADLINE) as link:
        end = Ours(policy.session("there", Log()))
        with pytest.raises(Exception, match="certificate verify failed"):
            over_socket(end, link)
        end.close()


@pytest.mark.parametrize("pinned", [True, False])
def test_stunnel_is_let_in_by_its_certificate(
    pki: Pki, listener: socket.socket, tmp_path: Path, pinned: bool
) -> None:
    """As a client of inetd: its standard input is the clear end."""
    port = listener.getsockname()[1]
    trusted = pki.write("stunnel.ca.pem", pki.root.pem + (pki.client.pem if pinned else b""))
    policy = tls.build(server(pki, verify_peer=True, ca_file=str(trusted)))
    configuration = tmp_path / "stunnel.conf"
    configuration.write_text(
        f"foreground = quiet\nsyslog = no\ndebug = 7\noutput = {tmp_path}/log\nclient = yes\n"
        f"connect = 127.0.0.1:{port}\ncert = {pki.client.both}\nverifyChain = yes\nCAfile = {pki.ca}\n"
        "checkHost = localhost\n"
    )
    near, far = socket.socketpair()
    command = [program("stunnel4"), str(configuration)]
    with near, far, subprocess.Popen(command, stdin=far.fileno(), stdout=far.fileno()) as peer:
        try:
            near.sendall(b"hello\n")
            if pinned:
                answer = serve_once(listener, policy)
                assert answer["peer"] == "C=PL, O=Culvert Tests, CN=client"
                near.settimeout(DEADLINE)
                assert near.recv(100) == b"welcome\n"
            else:
                with pytest.raises(Exception, match="certificate verify failed"):
                    serve_once(listener, policy)
        finally:
            peer.kill()
