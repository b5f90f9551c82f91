"""The daemon as an operator meets it: start, stop, signals, workers that die."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from culvert.daemon.worker import STOP_SECONDS
from tests.daemon.scene import (
    PATIENCE,
    Echo,
    ask,
    ask_once,
    configuration,
    connect,
    culvert,
    echoing,
    gone,
    workers,
)
from tests.pki import Pki
from tests.proxies.procfs import cpu_seconds
from tests.proxies.running import Proxy

pytestmark = pytest.mark.integration


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


@pytest.fixture
def proxy(pki: Pki, echo: Echo, tmp_path: Path) -> Iterator[Proxy]:
    with culvert(configuration(pki, echo.port), tmp_path) as running:
        yield running


def closed(sock: socket.socket) -> str:
    """How the other side ended a connection: `clean`, `truncated` or `reset`."""
    sock.settimeout(PATIENCE)
    try:
        while sock.recv(65536):
            pass
    except ssl.SSLEOFError:
        return "truncated"
    except ConnectionResetError:
        return "reset"
    return "clean"


def ask_for_ever(tunnel: ssl.SSLSocket) -> None:
    while True:
        ask(tunnel)


def test_it_carries_bytes_and_says_when_it_is_ready(proxy: Proxy, pki: Pki) -> None:
    ask_once(pki, proxy.address)
    proxy.wait_line(r"LOG5\[ui\]: Configuration successful")
    proxy.wait_line(rf"LOG6\[ui\]: Service \[web\] \(FD=\d+\) bound to 127\.0\.0\.1:{proxy.port}")
    proxy.wait_line(r"LOG5\[0\]: Service \[web\] accepted connection from 127\.0\.0\.1:\d+")
    proxy.wait_line(r"LOG5\[0\]: Connection closed: 5 byte\(s\) sent to TLS, 5 byte\(s\) sent to socket")


# The end


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGTERM, r"LOG5\[ui\]: Terminated"),
        (signal.SIGINT, r"LOG3\[ui\]: Received SIGINT; terminating"),
        (signal.SIGQUIT, r"LOG3\[ui\]: Received SIGQUIT; terminating"),
    ],
)
def test_a_signal_ends_it_with_0(proxy: Proxy, number: int, line: str) -> None:
    left = workers(proxy)
    proxy.process.send_signal(number)
    assert proxy.process.wait(PATIENCE) == 0
    proxy.wait_line(line)
    assert all(gone(pid, 0) for pid in left)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(proxy.address)


def test_a_tunnel_that_is_idle_is_cut_and_not_shown_as_a_clean_end(proxy: Proxy, pki: Pki) -> None:
    with connect(pki, proxy.address) as tunnel:
        ask(tunnel)
        proxy.process.send_signal(signal.SIGTERM)
        assert closed(tunnel) in ("reset", "truncated")
        assert proxy.process.wait(PATIENCE) == 0
    proxy.wait_line("Connection reset: 5 byte")


def test_a_tunnel_at_work_may_finish(proxy: Proxy, pki: Pki) -> None:
    with connect(pki, proxy.address) as tunnel:
        ask(tunnel)
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_line("Terminating 1 worker")
        start = time.monotonic()
        while time.monotonic() - start < 1.2:  # longer than an idle one would be left
            ask(tunnel)
        tunnel.unwrap().close()
    assert proxy.process.wait(PATIENCE) == 0
    proxy.wait_line("Connection closed:")


def test_a_second_request_to_end_cuts_tunnels_at_work(proxy: Proxy, pki: Pki) -> None:
    with connect(pki, proxy.address) as tunnel:
        ask(tunnel)
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_line("Terminating 1 worker")
        ask(tunnel)
        again = time.monotonic()
        proxy.process.send_signal(signal.SIGTERM)
        with pytest.raises((OSError, AssertionError)):
            ask_for_ever(tunnel)
        assert time.monotonic() - again < STOP_SECONDS  # what it would have had without the second one
        assert proxy.process.wait(PATIENCE) == 0


def test_a_storm_of_signals_neither_kills_nor_hangs_it(proxy: Proxy, pki: Pki) -> None:
    with connect(pki, proxy.address) as tunnel:
        ask(tunnel)
        for _ in range(5):
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
                proxy.process.send_signal(number)
        proxy.wait_line("Listed 1 active connection")
        ask(tunnel)
        proxy.process.send_signal(signal.SIGTERM)
        proxy.wait_line("Terminated")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP):
            proxy.process.send_signal(number)
        proxy.wait_line("Not reloading: the daemon is terminating")
        for _ in range(20):
            if proxy.process.poll() is None:
                proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(PATIENCE) == 0


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with culvert(configuration(pki, echo.port), tmp_path) as proxy:
            proxy.process.send_signal(signal.SIGINT)
            proxy.process.send_signal(signal.SIGUSR2)
            proxy.wait_line("Listed 0 active connection")
            ask_once(pki, proxy.address)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_unix_socket_is_replaced_when_stale_and_removed_at_the_end(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    text = configuration(pki, echo.port, accept=str(path), more="workers = 2")
    with culvert(text, tmp_path, listens=[str(path)]) as proxy:
        for _ in range(8):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(str(path))
                wrapper = ssl.create_default_context(cafile=str(pki.root.ca))
                with wrapper.wrap_socket(raw, server_hostname="localhost") as tunnel:
                    ask(tunnel)
        assert proxy.stop() == 0
    assert not path.exists()


# Workers


def test_a_killed_worker_is_replaced_and_its_queue_survives(proxy: Proxy, pki: Pki) -> None:
    (victim,) = workers(proxy)
    os.kill(victim, signal.SIGSTOP)  # from now on connections wait in the kernel's queue
    with ExitStack() as stack:
        waiting = [socket.create_connection(proxy.address, timeout=PATIENCE) for _ in range(20)]
        os.kill(victim, signal.SIGKILL)
        trusting = ssl.create_default_context(cafile=str(pki.root.ca))
        for raw in waiting:
            tunnel = stack.enter_context(trusting.wrap_socket(raw, server_hostname="localhost"))
            ask(tunnel)
    proxy.wait_line(rf"LOG3\[ui\]: Child process {victim} terminated on SIGKILL")
    (fresh,) = workers(proxy)
    assert fresh != victim
    proxy.wait_line(rf"LOG5\[ui\]: Worker process {fresh} replaces it")


def test_a_worker_that_dies_again_and_again_is_replaced_at_longer_and_longer_intervals(proxy: Proxy) -> None:
    start = time.monotonic()
    for n in range(4):
        (victim,) = workers(proxy)
        os.kill(victim, signal.SIGKILL)
        proxy.wait_line("replaces it", count=n + 1)
    assert time.monotonic() - start >= 0.1 + 0.2 + 0.4 + 0.8


def test_workers_end_when_the_supervisor_is_killed(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with culvert(configuration(pki, echo.port, more="workers = 2"), tmp_path) as proxy:
        left = workers(proxy)
        assert len(left) == 2
        with connect(pki, proxy.address) as tunnel:
            ask(tunnel)
            proxy.process.kill()
            assert closed(tunnel) != "clean"
            assert all(gone(pid) for pid in left)


def test_signals_to_a_whole_group_reach_the_daemon_once(proxy: Proxy, pki: Pki) -> None:
    """`killall -HUP culvert` and Ctrl-C reach workers too, which must leave them to the supervisor."""
    with connect(pki, proxy.address) as tunnel:
        ask(tunnel)
        for pid in workers(proxy):
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
                os.kill(pid, number)
        ask(tunnel)
        proxy.process.send_signal(signal.SIGUSR2)
        proxy.wait_line("Listed 1 active connection")
        assert proxy.output.count("Active connections:") == 1


def test_a_worker_asked_to_end_by_itself_does_and_is_replaced(proxy: Proxy, pki: Pki) -> None:
    (victim,) = workers(proxy)
    os.kill(victim, signal.SIGTERM)
    proxy.wait_line("replaces it")
    ask_once(pki, proxy.address)


def test_session_ids_differ_over_all_workers(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    """The random numbers of forked processes must not be the same (CVE-2014-0016)."""
    wrapper = ssl.create_default_context(cafile=str(pki.root.ca))
    wrapper.maximum_version = ssl.TLSVersion.TLSv1_2
    wrapper.options |= ssl.OP_NO_TICKET
    ids = []
    with culvert(configuration(pki, echo.port, more="workers = 4"), tmp_path) as proxy:
        for _ in range(100):
            raw = socket.create_connection(proxy.address)
            with wrapper.wrap_socket(raw, server_hostname="localhost") as tunnel:
                assert tunnel.session is not None
                ids.append(tunnel.session.id)
    assert len(set(ids)) == 100
    assert all(ids)


def test_log_identifiers_are_counted_over_all_workers_and_reloads(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    with culvert(configuration(pki, echo.port, more="workers = 3"), tmp_path) as proxy:
        for _ in range(20):
            ask_once(pki, proxy.address)
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_line("Accepting new connections", count=2)
        for _ in range(20):
            ask_once(pki, proxy.address)
        proxy.wait_line(r"Connection closed", count=40)
        numbers = re.findall(r"LOG5\[(\d+)\]: Service \[web\] accepted connection", proxy.output)
    assert sorted(map(int, numbers)) == list(range(40))


# Logs


def test_the_log_is_reopened_by_all_processes_after_a_rename(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    path = tmp_path / "culvert.log"
    with culvert(configuration(pki, echo.port, more=f"output = {path}"), tmp_path) as proxy:
        ask_once(pki, proxy.address)
        proxy.wait_line("Connection closed")
        path.rename(tmp_path / "rotated")
        proxy.process.send_signal(signal.SIGUSR1)
        proxy.wait_line(r"LOG5\[ui\]: Log file reopened")
        ask_once(pki, proxy.address)
        proxy.wait_line("Connection closed", count=2)
    assert "Connection closed" in (tmp_path / "rotated").read_text()
    assert "Log file reopened" in path.read_text()
    assert path.read_text().count("Connection closed") == 1
    assert path.stat().st_mode & 0o777 == 0o640


def test_live_connections_are_listed(proxy: Proxy, pki: Pki) -> None:
    with connect(pki, proxy.address) as first, connect(pki, proxy.address) as second:
        ask(first, b"x" * 100)
        ask(second, b"x" * 7)
        proxy.process.send_signal(signal.SIGUSR2)
        proxy.wait_line(r"LOG0\[ui\]: Listed 2 active connection\(s\)")
    proxy.wait_line(r"LOG0\[ui\]: Active connections:")
    for amount in (100, 7):
        facts = rf"{amount} byte\(s\) sent to TLS, {amount} byte\(s\) sent to socket"
        proxy.wait_line(rf"LOG0\[ui\]: Active connection [12]: Service \[web\], {facts}")


# Limits


def processor_share(pid: int, seconds: float) -> float:
    """How much of one processor a daemon uses from now on, 0 .. 1 and more."""
    before, start = cpu_seconds(pid), time.monotonic()
    assert not gone(pid, seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - start)


def test_it_recovers_by_itself_when_descriptors_run_out(proxy: Proxy, pki: Pki) -> None:
    (worker,) = workers(proxy)
    with connect(pki, proxy.address) as old, ExitStack() as crowd:
        ask(old)
        limit = len(os.listdir(f"/proc/{worker}/fd")) + 6
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limit + 1000))
        for _ in range(60):
            crowd.enter_context(socket.create_connection(proxy.address, timeout=PATIENCE))
        proxy.wait_line(r"LOG5\[ui\]: Accepting new connections suspended for 1 second")
        assert processor_share(worker, 3) < 0.05
        assert proxy.output.count("suspended for 1 second") == 1
        ask(old)
        crowd.close()
        ask_once(pki, proxy.address)


def test_more_clients_than_descriptors_allow_are_turned_away(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with culvert(configuration(pki, echo.port), tmp_path, prefix=["prlimit", "--nofile=40"]) as proxy:
        with ExitStack() as crowd:
            for _ in range(60):
                crowd.enter_context(socket.create_connection(proxy.address, timeout=PATIENCE))
            proxy.wait_line(r"LOG4\[ui\]: Connection rejected: too many clients \(>=17\)")
            assert processor_share(proxy.process.pid, 1) < 0.05
            assert proxy.output.count("too many clients") == 1
        ask_once(pki, proxy.address)


def test_it_may_open_as_many_descriptors_as_the_system_permits(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    prefix = ["prlimit", "--nofile=100:1000"]
    with culvert(configuration(pki, echo.port), tmp_path, prefix=prefix) as proxy:
        for pid in (proxy.process.pid, *workers(proxy)):
            assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (1000, 1000)
