"""Whose process is at the other end of a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from culvert.net.owners import Owner, Owners

NOBODY = 65534
GROUPS = (65533, 65532)

# Connects to a place, says so, and stays until its input ends; for a process of another user.
CLIENT = """
import os, socket, sys
sock = socket.socket(int(sys.argv[1]))
sock.connect(eval(sys.argv[2]))
sock.send(b"x")
sys.stdin.read()
"""


@pytest.fixture
def owners() -> Iterator[Owners]:
    with closing(Owners()) as asking:
        yield asking


@pytest.mark.parametrize(
    ("listening", "family", "connecting"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("::1", socket.AF_INET6, "::1"),
        ("::", socket.AF_INET, "127.0.0.1"),
        ("127.0.0.1", socket.AF_INET6, "::ffff:127.0.0.1"),
    ],
)
def test_the_owner_of_a_tcp_client_is_found(
    owners: Owners, listening: str, family: int, connecting: str
) -> None:
    six = ":" in listening
    with (
        socket.create_server(
            (listening, 0),
            family=socket.AF_INET6 if six else socket.AF_INET,
            dualstack_ipv6=listening == "::",
        ) as listener,
        socket.socket(family) as client,
    ):
        client.connect((connecting, listener.getsockname()[1]))
        with listener.accept()[0] as accepted:
            assert owners.owner(accepted) == Owner(os.geteuid())


def test_what_no_process_holds_any_more_is_nobodys_and_not_roots(owners: Owners) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as accepted:
            client.close()
            assert accepted.recv(1) == b""
            assert owners.owner(accepted) is None


def test_a_connection_that_was_reset_is_nobodys(owners: Owners) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as accepted:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            assert owners.owner(accepted) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_another_user_is_told_apart(owners: Owners, family: int) -> None:
    with socket.socket(family) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else f"\0culvert-{os.getpid()}")
        listener.listen()
        arguments = [sys.executable, "-c", CLIENT, str(int(family)), repr(listener.getsockname())]
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, user=NOBODY, group=NOBODY, extra_groups=GROUPS
        ) as process:
            listener.settimeout(10)
            with listener.accept()[0] as accepted:
                assert accepted.recv(1) == b"x"
                gids = frozenset((NOBODY, *GROUPS)) if family == socket.AF_UNIX else frozenset()
                assert owners.owner(accepted) == Owner(NOBODY, gids)
            process.communicate()
