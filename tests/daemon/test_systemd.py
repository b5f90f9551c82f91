"""What a service manager hands over and hears: sockets, readiness, reloads, life signs."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from culvert.daemon import systemd
from tests.daemon.scene import (
    PATIENCE,
    Echo,
    ask_once,
    configuration,
    culvert,
    echoing,
    reload,
    rewrite,
    workers,
)
from tests.pki import Pki
from tests.proxies.running import Kind, reserved_port, running

# Opens sockets as systemd does, from descriptor 3 on, and becomes the program that is named behind them.
ACTIVATE = """
import os, socket, sys
count = int(sys.argv[1])
places, command = sys.argv[2 : 2 + count], sys.argv[2 + count :]
for place in places:
    family = socket.AF_UNIX if place.startswith("/") else socket.AF_INET
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(place if family == socket.AF_UNIX else ("127.0.0.1", int(place)))
    sock.listen(16)
    os.set_inheritable(sock.detach(), True)
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()))
os.execv(command[0], command)
"""


def activated(*places: object) -> tuple[str, ...]:
    return (sys.executable, "-c", ACTIVATE, str(len(places)), *map(str, places))


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


@contextmanager
def manager(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager that daemons are told of."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.bind(str(folder / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        yield sock


def told(sock: socket.socket, word: str) -> str:
    """The next message with this assignment; others before it are passed over."""
    while True:
        message = sock.recv(4096).decode()
        if word in message.splitlines():
            return message


def signs_until_silence(sock: socket.socket) -> int:
    """How many life signs still come before none has come for a second."""
    for count in range(100):
        try:
            told(sock, "WATCHDOG=1")
        except TimeoutError:
            return count
    return 100


def test_sockets_meant_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "2")
    assert systemd.take_listening() == ()
    assert "LISTEN_FDS" not in os.environ


@pytest.mark.parametrize("count", ["", "x", "-1", "²"])
def test_a_count_that_is_none_is_no_socket(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    assert systemd.take_listening() == ()


def test_nobody_listens_and_nothing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for address in ("", "relative", str(tmp_path / "absent")):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notifier = systemd.Notifier()
        notifier.ready()
        notifier.close()


@pytest.mark.integration
def test_given_sockets_serve_the_sections_in_their_order_and_outlive_reloads(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with reserved_port() as port:
        text = configuration(pki, echo.port, accept="127.0.0.1:1").replace("workers = 1", "workers = 2")
        text += f"[second]\naccept = 127.0.0.1:2\nconnect = 127.0.0.1:{echo.port}\ncert = {pki.server.both}\n"
        with culvert(
            text, tmp_path / "daemon", listens=[("127.0.0.1", port), str(path)], prefix=activated(port, path)
        ) as proxy:
            proxy.wait_line("Systemd socket activation: 2 descriptors received")
            for _ in range(8):
                ask_once(pki, ("127.0.0.1", port))
            reload(proxy)
            ask_once(pki, ("127.0.0.1", port))
            proxy.wait_line(rf"Service \[second\] .FD=\d+. bound to .*{path}")
    assert path.is_socket()  # the manager's, not ours to remove


@pytest.mark.integration
def test_more_sockets_than_sections_stop_the_start(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    text = configuration(pki, echo.port, accept="127.0.0.1:1")
    with (
        pytest.raises(
            AssertionError, match="Too many listening file descriptors received from systemd: got 2"
        ),
        running(Kind.CULVERT, text, tmp_path, prefix=activated(0, 0)),
    ):
        pass


@pytest.mark.integration
def test_the_manager_hears_of_readiness_reloads_and_the_end(
    pki: Pki, echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with manager(tmp_path, monkeypatch) as sock:
        with culvert(configuration(pki, echo.port), tmp_path / "daemon") as proxy:
            assert f"MAINPID={proxy.process.pid}" in told(sock, "READY=1")
            reload(proxy)
            assert "MONOTONIC_USEC=" in told(sock, "RELOADING=1")
            told(sock, "READY=1")
            rewrite(proxy, "nonsense")
            reload(proxy, broken=True)
            told(sock, "RELOADING=1")
            told(sock, "READY=1")
            told(sock, "STATUS=The last reload failed; the configuration before it is in force")
        told(sock, "STOPPING=1")


@pytest.mark.integration
def test_the_watchdog_hears_nothing_while_a_worker_hangs(
    pki: Pki, echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    text = configuration(pki, echo.port).replace("workers = 1", "workers = 2")
    with manager(tmp_path, monkeypatch) as sock, culvert(text, tmp_path / "daemon") as proxy:
        told(sock, "WATCHDOG=1")
        told(sock, "WATCHDOG=1")
        stopped = workers(proxy)[0]
        os.kill(stopped, signal.SIGSTOP)
        sock.settimeout(1.0)
        assert signs_until_silence(sock) < 5  # what was on its way
        sock.settimeout(PATIENCE)
        os.kill(stopped, signal.SIGCONT)
        told(sock, "WATCHDOG=1")
