"""Limits that hold for all workers together, whatever becomes of one of them."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon import scene
from tests.pki import Pki
from tests.proxies.running import Proxy

pytestmark = pytest.mark.integration

FULL = r"Service \[web\] rejected 127\.0\.0\.1:\d+: too many connections"


@contextmanager
def limited(pki: Pki, folder: Path, most: int) -> Iterator[tuple[Proxy, int, str]]:
    with scene.echoing() as echo:
        text = scene.configuration(pki, echo.port).replace("workers = 1", "workers = 3")
        text += f"maxConnections = {most}\n"
        with scene.culvert(text, folder) as proxy:
            yield proxy, echo.port, text


def turned_away(pki: Pki, proxy: Proxy) -> bool:
    """Whether a new client is reset, at whatever moment it notices."""
    try:
        raw = socket.create_connection(proxy.address, scene.PATIENCE)
    except ConnectionResetError:
        return True
    client = scene.context(pki)
    with client.wrap_socket(raw, server_hostname="localhost", do_handshake_on_connect=False) as tunnel:
        try:
            tunnel.do_handshake()
        except ConnectionResetError:
            return True
    return False


def fill(pki: Pki, proxy: Proxy, stack: ExitStack, number: int) -> list[ssl.SSLSocket]:
    tunnels = [stack.enter_context(scene.connect(pki, proxy.address)) for _ in range(number)]
    for tunnel in tunnels:
        scene.ask(tunnel)
    return tunnels


def test_all_workers_count_together_and_the_end_of_a_connection_is_a_seat(pki: Pki, tmp_path: Path) -> None:
    with limited(pki, tmp_path, 6) as (proxy, _, _), ExitStack() as stack:
        tunnels = fill(pki, proxy, stack, 6)
        assert all(turned_away(pki, proxy) for _ in range(6))
        proxy.wait_line(FULL)
        tunnels[0].unwrap().close()
        proxy.wait_line("Connection closed: 5 byte")
        fill(pki, proxy, stack, 1)


def test_the_seats_of_a_killed_worker_are_free(pki: Pki, tmp_path: Path) -> None:
    with limited(pki, tmp_path, 4) as (proxy, _, _), ExitStack() as stack:
        fill(pki, proxy, stack, 4)
        assert turned_away(pki, proxy)
        for pid in scene.workers(proxy):
            os.kill(pid, signal.SIGKILL)
        proxy.wait_line("replaces it", count=3)
        fill(pki, proxy, stack, 4)
        assert turned_away(pki, proxy)


def test_connections_from_before_a_reload_still_have_their_seats(pki: Pki, tmp_path: Path) -> None:
    with limited(pki, tmp_path, 3) as (proxy, _, _), ExitStack() as stack:
        fill(pki, proxy, stack, 2)
        scene.reload(proxy)
        fill(pki, proxy, stack, 1)
        assert turned_away(pki, proxy)
