"""Socket options: compiled, applied, inherited."""

from __future__ import annotations

import socket
import struct

import pytest

from culvert.config.sockets import DEFAULTS, NAMES, SocketOption
from culvert.config.sockets import parse as parse_option
from culvert.errors import SystemRefusal
from culvert.net import sockets


def options(*texts: str) -> list[SocketOption]:
    return [parse_option(text) for text in texts]


def test_options_are_compiled_for_their_slot_in_order() -> None:
    given = options("r:TCP_NODELAY=no", "l:SO_KEEPALIVE=yes", "r:SO_RCVBUF=4096")
    assert sockets.compile(given, "r") == (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, struct.pack("i", 0)),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, struct.pack("i", 4096)),
    )
    assert sockets.compile(given, "a") == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("l:SO_LINGER=1:5", struct.pack("ii", 1, 5)),
        ("l:SO_RCVTIMEO=3:500", struct.pack("ll", 3, 500)),
        ("l:SO_BINDTODEVICE=lo", b"lo\0"),
    ],
)
def test_structures_are_laid_out_for_the_kernel(text: str, value: bytes) -> None:
    ((level, number, packed),) = sockets.compile(options(text), "l")
    assert packed == value
    with socket.socket() as sock:
        sock.setsockopt(level, number, packed)


def test_a_name_of_another_platform_is_refused() -> None:
    with pytest.raises(SystemRefusal, match="SO_EXCLUSIVEADDRUSE: Not available on this platform"):
        sockets.compile([SocketOption("a", "SO_EXCLUSIVEADDRUSE", 1)], "a")


def test_every_name_of_linux_has_its_number() -> None:
    absent = set(NAMES) - set(sockets.TABLE)
    assert {name for name in absent if not name.startswith("UDP_")} == {
        "SO_EXCLUSIVEADDRUSE", "IP_BINDANY", "IPV6_BINDANY",
    }  # fmt: skip


def test_an_option_that_the_kernel_refuses_is_told_by_name() -> None:
    with (
        socket.socket() as sock,
        pytest.raises(SystemRefusal, match="setsockopt TCP_MAXSEG: Invalid argument"),
    ):
        sockets.apply(sock, sockets.compile(options("l:TCP_MAXSEG=1"), "l"))


def test_a_unix_socket_gets_no_options() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sockets.apply(sock, sockets.compile(options("l:TCP_NODELAY=yes"), "l"))


INHERITED = (
    "l:SO_KEEPALIVE=yes", "l:SO_OOBINLINE=yes", "l:SO_DONTROUTE=yes", "l:SO_RCVBUF=40000",
    "l:SO_SNDBUF=40000",
    "l:IP_TOS=16", "l:IP_TTL=33", "l:TCP_NODELAY=yes", "l:TCP_KEEPCNT=3", "l:TCP_KEEPIDLE=61",
    "l:TCP_KEEPINTVL=16", "l:TCP_USER_TIMEOUT=123456",
)  # fmt: skip


@pytest.mark.parametrize("text", INHERITED)
def test_an_accepted_socket_inherits_what_is_said_to_be_inherited(text: str) -> None:
    compiled = sockets.compile(options(text), "l")
    assert sockets.inherited(compiled) == compiled
    assert sockets.per_accepted(compiled) == ()
    ((level, number, _),) = compiled
    with socket.create_server(("127.0.0.1", 0)) as listener:
        before = listener.getsockopt(level, number)
        sockets.apply(listener, compiled)
        assert listener.getsockopt(level, number) != before
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(level, number) == listener.getsockopt(level, number)


def test_what_would_govern_the_listener_is_set_on_each_accepted_socket() -> None:
    compiled = sockets.compile(options("l:SO_LINGER=1:0", "l:TCP_NODELAY=yes", "l:SO_RCVTIMEO=5"), "l")
    assert [number for _, number, _ in sockets.per_accepted(compiled)] == [
        socket.SO_LINGER,
        socket.SO_RCVTIMEO,
    ]
    assert len(sockets.inherited(compiled)) == 1


def test_the_defaults_cost_nothing_for_each_connection() -> None:
    assert sockets.per_accepted(sockets.compile(DEFAULTS, "l")) == ()


def test_the_table_tells_ours_and_the_systems() -> None:
    found = {row.name: row for row in sockets.rows(DEFAULTS)}
    assert found["TCP_NODELAY"] == ("TCP_NODELAY", "", "yes", "yes", "no")
    assert found["SO_REUSEADDR"].accept == "yes"
    assert found["TCP_KEEPIDLE"].local == "60"
    assert found["SO_LINGER"].system == "0:0"
    assert found["IPV6_V6ONLY"].system in ("yes", "no")
    assert "IP_BINDANY" not in found
