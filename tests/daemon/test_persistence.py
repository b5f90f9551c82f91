"""A client that resumes its session comes to the backend that it had: on every worker, after a reload."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, connect, context, culvert, reload, rewrite
from tests.pki import Pki
from tests.proxies.running import Proxy

pytestmark = pytest.mark.integration

WAYS = {
    "TLS 1.2, tickets": (ssl.TLSVersion.TLSv1_2, ""),
    "TLS 1.3, tickets": (ssl.TLSVersion.TLSv1_3, ""),
    "TLS 1.2, ids": (ssl.TLSVersion.TLSv1_2, "options = NO_TICKET"),
    "TLS 1.3, ids": (ssl.TLSVersion.TLSv1_3, "options = NO_TICKET"),
}


class Backend:
    """Says its own port to everybody, then ends."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            with sock:
                sock.sendall(b"%d" % self.port)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
        self._thread.join(PATIENCE)


@pytest.fixture
def backends() -> Iterator[list[Backend]]:
    with ExitStack() as stack:
        made = [Backend() for _ in range(3)]
        for each in made:
            stack.callback(each.close)
        yield made


def configuration(pki: Pki, ports: list[int], more: str = "") -> str:
    return "\n".join(
        [
            "foreground = yes",
            "syslog = no",
            "debug = info",
            "workers = 2",
            "[web]",
            "accept = 127.0.0.1:@PORT@",
            "failover = rr",
            f"cert = {pki.server.both}",
            *(f"connect = 127.0.0.1:{port}" for port in ports),
            more,
            "",
        ]
    )


class Client:
    """Connects again and again with the session that it was given last."""

    def __init__(self, pki: Pki, proxy: Proxy, version: ssl.TLSVersion) -> None:
        self._pki, self._proxy = pki, proxy
        self._context = context(pki)
        self._context.minimum_version = self._context.maximum_version = version
        self._session: ssl.SSLSession | None = None
        self.resumed = False

    def ask(self) -> int:
        """The port of the backend that it was led to."""
        with connect(self._pki, self._proxy.address, self._context, self._session) as tunnel:
            port = int(tunnel.recv(100))
            self.resumed = bool(tunnel.session_reused)
            self._session = tunnel.session
            tunnel.unwrap().close()
        return port


@pytest.mark.parametrize("way", WAYS)
def test_every_client_keeps_its_backend(pki: Pki, backends: list[Backend], tmp_path: Path, way: str) -> None:
    version, more = WAYS[way]
    ports = [each.port for each in backends]
    with culvert(configuration(pki, ports, more), tmp_path) as proxy:
        clients = [Client(pki, proxy, version) for _ in range(3)]
        before = [client.ask() for client in clients]
        for _ in range(4):
            assert [client.ask() for client in clients] == before
            assert all(client.resumed for client in clients)
        proxy.wait_line(f"persistence: 127.0.0.1:{before[0]} reused")
        assert "No cached address" not in proxy.output


def test_a_backend_is_kept_through_a_reload_until_it_is_taken_out(
    pki: Pki, backends: list[Backend], tmp_path: Path
) -> None:
    ports = [each.port for each in backends]
    with culvert(configuration(pki, ports), tmp_path) as proxy:
        client = Client(pki, proxy, ssl.TLSVersion.TLSv1_3)
        before = client.ask()
        reload(proxy)
        assert client.ask() == before
        ports.remove(before)
        rewrite(proxy, configuration(pki, ports))
        reload(proxy)
        after = client.ask()
        assert after in ports
        proxy.wait_line(f"persistence: 127.0.0.1:{before} not available")
        assert [client.ask() for _ in range(3)] == [after] * 3


def test_a_backend_that_is_down_is_left_for_another_one(
    pki: Pki, backends: list[Backend], tmp_path: Path
) -> None:
    with culvert(configuration(pki, [each.port for each in backends]), tmp_path) as proxy:
        client = Client(pki, proxy, ssl.TLSVersion.TLSv1_2)
        before = client.ask()
        down = next(each for each in backends if each.port == before)
        down.close()
        after = client.ask()
        assert after != before
        assert [client.ask() for _ in range(3)] == [after] * 3


@pytest.mark.parametrize("way", ["TLS 1.2, tickets", "TLS 1.3, tickets"])
def test_a_service_that_is_reached_by_name_keeps_backends_too(
    pki: Pki, backends: list[Backend], tmp_path: Path, way: str
) -> None:
    ports = [each.port for each in backends]
    named = ["[named]", "sni = web:localhost", "failover = rr", f"cert = {pki.server.both}"]
    named += [f"connect = 127.0.0.1:{port}" for port in ports]
    with culvert(configuration(pki, [1], "\n".join(named)), tmp_path) as proxy:
        clients = [Client(pki, proxy, WAYS[way][0]) for _ in range(3)]
        before = [client.ask() for client in clients]
        for _ in range(3):
            assert [client.ask() for client in clients] == before
            assert all(client.resumed for client in clients)


def test_one_backend_needs_no_memory(pki: Pki, backends: list[Backend], tmp_path: Path) -> None:
    with culvert(configuration(pki, [backends[0].port]), tmp_path) as proxy:
        client = Client(pki, proxy, ssl.TLSVersion.TLSv1_3)
        assert [client.ask() for _ in range(2)] == [backends[0].port] * 2
        assert "persistence" not in proxy.output
