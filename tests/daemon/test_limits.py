"""Limits that hold for all workers together, whatever becomes of one of them."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from culvert.net.wrappers.asking import HELPERS
from tests.daemon import scene
from tests.pki import Pki
from tests.proxies.running import Proxy, need_program

pytestmark = pytest.mark.integration

FULL = r"Service \[web\] rejected 127\.0\.0\.1:\d+: too many connections"


@contextmanager
def limited(pki: Pki, folder: Path, most: int) -> Iterator[tuple[Proxy, int, str]]:
    with scene.echoing() as echo:
        text = scene.configuration(pki, echo.port).replace("workers = 1", "workers = 3")
        text = text.replace("debug = info", "debug = debug")
        text += f"maxConnections = {most}\n"
        with scene.culvert(text, folder) as proxy:
            yield proxy, echo.port, text


def turned_away(pki: Pki, proxy: Proxy) -> bool:
    """Whether a new client is reset, at whatever moment it notices."""
    outgoing = ssl.MemoryBIO()
    client = scene.context(pki).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    try:
        with socket.create_connection(proxy.address, scene.PATIENCE) as raw:
            raw.sendall(outgoing.read())
            assert raw.recv(1), "an orderly end"
    except (ConnectionResetError, BrokenPipeError):
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
        before = proxy.output.count(" left)")
        assert all(turned_away(pki, proxy) for _ in range(6))
        proxy.wait_line(FULL)
        proxy.wait_line(r"finished \(\d left\)", count=before + 6)
        tunnels[0].unwrap().close()
        proxy.wait_line(r"finished \(\d left\)", count=before + 7)
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


def test_helpers_judge_by_hosts_allow_and_end_with_their_worker(pki: Pki, tmp_path: Path) -> None:
    need_program("tcpdmatch")
    with scene.echoing() as echo:
        text = scene.configuration(pki, echo.port).replace("debug = info", "debug = debug")
        with scene.culvert(text + "libwrap = yes\n", tmp_path) as proxy:
            scene.ask_once(pki, proxy.address)
            proxy.wait_line(r"Service \[web\] permitted by libwrap from 127\.0\.0\.1:")
            processes = scene.workers(proxy)
            assert len(processes) == 1 + HELPERS
        assert all(scene.gone(pid) for pid in processes)
