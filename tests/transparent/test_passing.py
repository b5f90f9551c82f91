"""The backend sees the client's address, and the client reaches where it meant to go: in namespaces."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, context
from tests.pki import Pki
from tests.proxies.running import Kind, Proxy, need, need_program, running
from tests.transparent.namespaces import ADDRESSES, ELSEWHERE, Network, network

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and foreign addresses need root"),
]

PORT, SERVER, TARGET = 4433, 4434, 8080

# From the manual page of stunnel, transparent = source; the same with ip6tables.
DIVERT = (
    "{tables} -t mangle -N DIVERT",
    "{tables} -t mangle -A PREROUTING -p tcp -m socket -j DIVERT",
    "{tables} -t mangle -A DIVERT -j MARK --set-mark 1",
    "{tables} -t mangle -A DIVERT -j ACCEPT",
    "ip -{family} rule add fwmark 1 lookup 100",
    "ip -{family} route add local {everything} dev lo table 100",
)
# transparent = destination, for a target on another host.
NAT = f"{{tables}} -t nat -I PREROUTING -p tcp --dport {TARGET} -i a0 -j "
DNAT = f"{NAT}DNAT --to-destination {{proxy}}:{PORT}"
REDIRECT = f"{{tables}} -t nat -I PREROUTING -p tcp --dport {TARGET} -i a0 -j REDIRECT --to-ports {PORT}"
TPROXY = (
    f"{{tables}} -t mangle -A PREROUTING -p tcp --dport {TARGET} -i a0"
    f" -j TPROXY --on-port {PORT} --tproxy-mark 1"
)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Network]:
    for program in ("ip", "iptables", "ip6tables"):
        need_program(program)
    with network() as made:
        for family in ADDRESSES:
            for rule in DIVERT:
                rules(made, family, rule)
        yield made


def rules(hosts: Network, family: int, rule: str) -> None:
    text = rule.format(
        tables="iptables" if family == 4 else "ip6tables",
        family=family,
        everything="0.0.0.0/0" if family == 4 else "::/0",
        proxy=ADDRESSES[family][1] if family == 4 else f"[{ADDRESSES[family][1]}]",
    )
    hosts.run("proxy", text)


NAMES = ("DNAT", "REDIRECT", "TPROXY")
KINDS = (Kind.CULVERT, Kind.STUNNEL)
both = pytest.mark.parametrize("kind", KINDS, ids=[kind.value for kind in KINDS])


@contextmanager
def with_rule(hosts: Network, family: int, rule: str) -> Iterator[None]:
    rules(hosts, family, rule)
    try:
        yield
    finally:
        rules(hosts, family, rule.replace("-I PREROUTING", "-D PREROUTING").replace("-A P", "-D P"))


class Backend:
    """Tells each client its address and the address that it came to."""

    def __init__(self, hosts: Network, host: str, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with hosts.inside(host):
            self._listener = socket.create_server((address, TARGET), family=family)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            with sock:
                sock.sendall(f"{peer[0]} {peer[1]} {sock.getsockname()[0]}".encode())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def backend(hosts: Network, host: str, address: str) -> Iterator[None]:
    made = Backend(hosts, host, address)
    try:
        yield
    finally:
        made.close()


@contextmanager
def proxy(hosts: Network, pki: Pki, folder: Path, section: str, kind: Kind = Kind.CULVERT) -> Iterator[Proxy]:
    need(kind)
    workers = "workers = 1\n" if kind is Kind.CULVERT else "pid =\n"
    text = f"foreground = yes\nsyslog = no\ndebug = debug\n{workers}[web]\ncert = {pki.server.both}\n"
    with hosts.inside("proxy"), running(kind, text + section, folder, listens=()) as made:
        made.wait_line("Accepting new connections")
        yield made


def ask(hosts: Network, pki: Pki, address: str, port: int) -> tuple[str, int, str, int]:
    """What the backend says: the client's address and port, the backend's address; and our own port."""
    with hosts.inside("client"):
        raw = socket.create_connection((address, port), PATIENCE)
    client: ssl.SSLContext = context(pki)
    with client.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as tunnel:
        own = tunnel.getsockname()[1]
        said = b""
        while data := tunnel.recv(1024):
            said += data
    host, its_port, target = said.decode().split()
    return host, int(its_port), target, own


@both
@pytest.mark.parametrize("family", [4, 6])
def test_the_backend_sees_the_client(
    hosts: Network, pki: Pki, tmp_path: Path, family: int, kind: Kind
) -> None:
    client, near, _, target = ADDRESSES[family]
    section = f"accept = {near}:{PORT}\nconnect = {target}:{TARGET}\ntransparent = yes\n"
    with backend(hosts, "backend", target), proxy(hosts, pki, tmp_path, section, kind) as made:
        host, port, reached, own = ask(hosts, pki, near, PORT)
        assert (host, reached) == (client, target)
        assert port == own
        made.wait_line("bind succeeded on the original port")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (Kind.CULVERT, DNAT),
        (Kind.CULVERT, REDIRECT),
        (Kind.CULVERT, TPROXY),
        (Kind.STUNNEL, DNAT),
        (Kind.STUNNEL, REDIRECT),  # its listening sockets do not take what TPROXY leads to them
    ],
    ids=[f"{kind}-{rule}" for kind, rules in (("culvert", 3), ("stunnel", 2)) for rule in NAMES[:rules]],
)
def test_the_client_reaches_where_it_meant_to_go(
    hosts: Network, pki: Pki, tmp_path: Path, family: int, rule: str, kind: Kind
) -> None:
    _, _, to_backend, target = ADDRESSES[family]
    own = "0.0.0.0" if family == 4 else "::"
    section = f"accept = {own}:{PORT}\ntransparent = destination\n"
    with (
        with_rule(hosts, family, rule),
        backend(hosts, "backend", target),
        proxy(hosts, pki, tmp_path, section, kind),
    ):
        host, _, reached, _ = ask(hosts, pki, target, TARGET)
    assert (host, reached) == (to_backend, target)


def asking(pki: Pki, family: int) -> str:
    """A server of SOCKS, and a client of it without protocolHost."""
    own = "0.0.0.0" if family == 4 else "::"
    near = ADDRESSES[family][1]
    return (
        f"accept = {near}:{SERVER}\nprotocol = socks\n"
        f"[asks]\nclient = yes\naccept = {own}:{PORT}\nconnect = {near}:{SERVER}\nprotocol = socks\n"
        f"verifyChain = yes\nCAfile = {pki.ca}\ncheckHost = localhost\n"
    )


def heard(hosts: Network, address: str, port: int) -> str:
    """What the backend says to a client without TLS."""
    with hosts.inside("client"):
        sock = socket.create_connection((address, port), PATIENCE)
    with sock, sock.makefile() as stream:
        return stream.read()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("rule", [DNAT, REDIRECT, TPROXY], ids=["DNAT", "REDIRECT", "TPROXY"])
def test_a_socks_server_is_asked_for_what_the_client_meant(
    hosts: Network, pki: Pki, tmp_path: Path, family: int, rule: str
) -> None:
    _, _, to_backend, target = ADDRESSES[family]
    with (
        with_rule(hosts, family, rule),
        backend(hosts, "backend", target),
        proxy(hosts, pki, tmp_path, asking(pki, family)) as made,
    ):
        host, _port, reached = heard(hosts, target, TARGET).split()
        made.wait_line("SOCKS5 request succeeded")
    assert (host, reached) == (to_backend, target)


def test_a_socks_server_is_not_asked_for_the_service_itself(hosts: Network, pki: Pki, tmp_path: Path) -> None:
    with proxy(hosts, pki, tmp_path, asking(pki, 4)) as made:
        with pytest.raises(ConnectionResetError):
            heard(hosts, ADDRESSES[4][1], PORT)
        made.wait_line("The original destination of the connection is not known")


@pytest.mark.parametrize("family", [4, 6])
def test_both_ends_see_each_other_as_if_nobody_was_between(
    hosts: Network, pki: Pki, tmp_path: Path, family: int
) -> None:
    client, _, _, target = ADDRESSES[family]
    own = "0.0.0.0" if family == 4 else "::"
    section = f"accept = {own}:{PORT}\ntransparent = both\n"
    with (
        with_rule(hosts, family, TPROXY),
        backend(hosts, "backend", target),
        proxy(hosts, pki, tmp_path, section),
    ):
        host, _, reached, _ = ask(hosts, pki, target, TARGET)
    assert (host, reached) == (client, target)


def test_a_client_of_ipv4_is_one_behind_a_socket_of_ipv6(hosts: Network, pki: Pki, tmp_path: Path) -> None:
    client, near, _, target = ADDRESSES[4]
    section = f"accept = :::{PORT}\nconnect = {target}:{TARGET}\ntransparent = source\n"
    with backend(hosts, "backend", target), proxy(hosts, pki, tmp_path, section):
        assert ask(hosts, pki, near, PORT)[0] == client


def test_a_target_of_another_family_is_passed_over(hosts: Network, pki: Pki, tmp_path: Path) -> None:
    client, near, _, target = ADDRESSES[4]
    lines = f"connect = {ADDRESSES[6][3]}:{TARGET}\nconnect = {target}:{TARGET}\n"
    section = f"accept = {near}:{PORT}\n{lines}transparent = source\n"
    with backend(hosts, "backend", target), proxy(hosts, pki, tmp_path, section) as made:
        assert ask(hosts, pki, near, PORT)[0] == client
        made.wait_line("is of another address family than the client")


def test_an_address_of_our_own_comes_before_the_clients(hosts: Network, pki: Pki, tmp_path: Path) -> None:
    _, near, to_backend, target = ADDRESSES[4]
    section = f"accept = {near}:{PORT}\nconnect = {target}:{TARGET}\ntransparent = source\n"
    section += f"local = {to_backend}\n"
    with backend(hosts, "backend", target), proxy(hosts, pki, tmp_path, section):
        assert ask(hosts, pki, near, PORT)[0] == to_backend


def test_who_comes_without_a_rule_is_not_led_in_a_circle(hosts: Network, pki: Pki, tmp_path: Path) -> None:
    near = ADDRESSES[4][1]
    section = f"accept = 0.0.0.0:{PORT}\ntransparent = destination\n"
    with proxy(hosts, pki, tmp_path, section) as made:
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            ask(hosts, pki, near, PORT)
        made.wait_line("the client meant this service itself")


def test_nobody_has_the_address_that_a_client_means(hosts: Network, pki: Pki, tmp_path: Path) -> None:
    section = f"accept = 0.0.0.0:{PORT}\ntransparent = destination\n"
    with with_rule(hosts, 4, TPROXY), proxy(hosts, pki, tmp_path, section) as made:
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            ask(hosts, pki, ELSEWHERE[4], TARGET)
        made.wait_line(f"s_connect: connect {ELSEWHERE[4]}:{TARGET}: Network is unreachable")
