"""The daemon as a process: the same text, run by stunnel and by Culvert, is seen alike by shell and system.

What differs on purpose stands in DIFFERENT, with the reason; docs/migration.md tells it to operators.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, ask, ask_once, connect, gone
from tests.interop.beside import PATIENCE, both, echo, environment, logged, until, web
from tests.pki import Pki
from tests.proxies import Kind, need, running
from tests.proxies.procfs import is_listening
from tests.proxies.running import reserved_port

__all__ = ["echo"]

pytestmark = [pytest.mark.integration, pytest.mark.interop]

DIFFERENT: dict[str, dict[Kind, object]] = {
    # What cannot be had after the start is told to whoever called: stunnel is in the background by then.
    "a pid file that cannot be made": {Kind.STUNNEL: 0, Kind.CULVERT: 1},
    # Whoever restarts the daemon need not break what its clients are in the middle of.
    "a tunnel at work, after TERM": {Kind.STUNNEL: "is cut", Kind.CULVERT: "finishes"},
    # The first daemon could not be found by its file any more.
    "a second daemon with the pid file of the first": {Kind.STUNNEL: 0, Kind.CULVERT: 1},
}


# In the foreground


@both
@pytest.mark.parametrize(
    ("foreground", "number", "last"),
    [
        ("yes", signal.SIGTERM, r"LOG5\[ui\]: Terminated"),
        ("quiet", signal.SIGINT, r"LOG3\[ui\]: Received SIGINT; terminating"),
        ("yes", signal.SIGQUIT, r"LOG3\[ui\]: Received SIGQUIT; terminating"),
    ],
)
def test_in_the_foreground_a_signal_ends_it_with_0(
    kind: Kind, foreground: str, number: signal.Signals, last: str, pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    need(kind)
    top = f"foreground = {foreground}\npid = {tmp_path}/pid\noutput = {tmp_path}/log\ndebug = debug"
    with running(kind, web(pki, echo.port, top), tmp_path) as proxy:
        ask_once(pki, proxy.address)
        until((tmp_path / "pid").exists, "no pid file")
        assert (tmp_path / "pid").read_text() == f"{proxy.process.pid}\n"
        proxy.process.send_signal(number)
        assert proxy.process.wait(PATIENCE) == 0
        assert not (tmp_path / "pid").exists()
        logged(tmp_path / "log", last)
        logged(tmp_path / "log", r"LOG7\[ui\]: Removed pid file ")
    said = proxy.output
    assert bool(re.search(r"^\S+ \S+ LOG5\[ui\]: Configuration successful$", said, re.MULTILINE)) is (
        foreground == "yes"
    ), said
    assert foreground == "yes" or said == ""


# In the background


@contextmanager
def background(
    kind: Kind, body: str, folder: Path, *, words: Sequence[str] = (), descriptor: int | None = None
) -> Iterator[tuple[subprocess.CompletedProcess[str], Path]]:
    """Call it, wait until it listens at the pid file's time, and end it by the number in the file."""
    need(kind)
    folder.mkdir(exist_ok=True)
    file = folder / "c.conf"
    file.write_text(body)
    command = kind.command(file)
    done = subprocess.run(
        [*command[:-1], *(words or command[-1:])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        pass_fds=() if descriptor is None else (descriptor,),
        env=environment(),
    )
    pid_file = folder / "pid"
    try:
        yield done, pid_file
    finally:
        if pid_file.exists() and (number := pid_file.read_text().strip()):
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGTERM)
            assert gone(int(number))


@both
@pytest.mark.parametrize("how", ["FILE", "-fd N"])
def test_in_the_background(kind: Kind, how: str, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with reserved_port() as port:
        body = web(pki, echo.port, f"pid = {tmp_path}/pid\noutput = {tmp_path}/log", f"127.0.0.1:{port}")
        reader, writer = os.pipe()
        os.write(writer, body.encode())
        os.close(writer)
        words = () if how == "FILE" else ("-fd", str(reader))
        with background(kind, body, tmp_path, words=words, descriptor=reader) as (done, pid_file):
            os.close(reader)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "no pid file")
            until(lambda: is_listening(("127.0.0.1", port)), "it does not listen")
            ask_once(pki, ("127.0.0.1", port))
            pid = int(pid_file.read_text())
            assert os.getsid(pid) == pid
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
            assert pid_file.stat().st_mode & 0o777 == 0o644
            if how == "-fd N":  # what came from a descriptor cannot be read again
                os.kill(pid, signal.SIGHUP)
                logged(tmp_path / "log", r"LOG3\[main\]: Failed to reload the configuration file")
                ask_once(pki, ("127.0.0.1", port))
            os.kill(pid, signal.SIGTERM)
            assert gone(pid)
            assert not pid_file.exists()
            logged(tmp_path / "log", r"LOG5\[main\]: Terminated")


@both
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cret = x", r"\[!\] .*c\.conf:\d+: .*cret"),
        ("TIMEOUTidle = soon", r"\[!\] .*c\.conf:\d+: .*Illegal idle timeout"),
        ("cert = /nowhere/cert.pem", r"\[.\] .*/nowhere/cert\.pem"),
        (
            "accept = 127.0.0.1:@BUSY@",
            r"\[\.\] Binding service \[web\] to 127\.0\.0\.1:\d+: Address already in use",
        ),
    ],
)
def test_what_stops_the_start_is_told_and_the_status_is_1(
    kind: Kind, line: str, said: str, pki: Pki, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        line = line.replace("@BUSY@", str(busy.getsockname()[1]))
        body = web(pki, 1, f"pid = {tmp_path}/pid", "127.0.0.1:0").replace("accept = 127.0.0.1:0\n", "")
        body += line if "accept" in line else f"accept = @\n{line}".replace("@", f"{tmp_path}/socket")
        with background(kind, body + "\n", tmp_path) as (done, pid_file):
            assert (done.returncode, done.stdout) == (1, "")
            assert re.search(said, done.stderr), done.stderr
            assert not pid_file.exists()


@both
def test_a_pid_file_that_cannot_be_made_stops_it(kind: Kind, pki: Pki, tmp_path: Path) -> None:
    with reserved_port() as port:
        body = web(pki, 1, f"pid = /nowhere/pid\noutput = {tmp_path}/log", f"127.0.0.1:{port}")
        with background(kind, body, tmp_path) as (done, _):
            assert done.returncode == DIFFERENT["a pid file that cannot be made"][kind]
            logged(tmp_path / "log", r"LOG3.*Cannot create pid file /nowhere/pid")
            until(lambda: not is_listening(("127.0.0.1", port)), "it goes on")


# Where the two differ in what becomes of others


@both
def test_a_tunnel_at_work_when_the_end_is_asked_for(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    top = f"foreground = quiet\npid =\noutput = {tmp_path}/log"
    with (
        running(kind, web(pki, echo.port, top), tmp_path) as proxy,
        connect(pki, proxy.address) as tunnel,
    ):
        ask(tunnel)
        proxy.process.send_signal(signal.SIGTERM)
        logged(tmp_path / "log", r"LOG5\[ui\]: Terminated")
        until(lambda: not is_listening(proxy.address), "it listens still")
        try:
            for _ in range(1000):
                ask(tunnel)
            seen = "finishes"
        except (OSError, AssertionError):
            seen = "is cut"
    assert seen == DIFFERENT["a tunnel at work, after TERM"][kind]


@both
def test_a_second_daemon_with_the_same_pid_file(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    first = web(pki, echo.port, f"foreground = quiet\npid = {tmp_path}/pid")
    with running(kind, first, tmp_path / "first") as proxy, reserved_port() as port:
        until((tmp_path / "pid").exists, "no pid file")
        body = web(pki, echo.port, f"pid = {tmp_path}/pid", f"127.0.0.1:{port}")
        try:
            with background(kind, body, tmp_path / "second") as (done, _):
                ask_once(pki, proxy.address)
        finally:
            if done.returncode == 0:
                until(
                    lambda: _number(tmp_path / "pid") not in (0, proxy.process.pid), "no pid file of its own"
                )
                second = _number(tmp_path / "pid")
                os.kill(second, signal.SIGTERM)
                assert gone(second)
        assert done.returncode == DIFFERENT["a second daemon with the pid file of the first"][kind]


def _number(pid_file: Path) -> int:
    """What stands in it; 0 while it is being replaced."""
    text = pid_file.read_text() if pid_file.exists() else ""
    return int(text) if text.endswith("\n") else 0


# Sockets that somebody else has opened

AS_ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


@both
def test_a_socket_of_systemd_is_used_whatever_its_address_and_kept_at_a_reload(
    kind: Kind, pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    need(kind)
    top = f"foreground = quiet\npid =\noutput = {tmp_path}/log\ndebug = info"
    file = tmp_path / "c.conf"
    file.write_text(web(pki, echo.port, top, "127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as given:
        place, number = given.getsockname(), given.fileno()
        with subprocess.Popen(
            [sys.executable, "-c", AS_ACTIVATED, str(number), *kind.command(file)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(number,),
            env=environment(),
        ) as process:
            try:
                ask_once(pki, place)
                logged(tmp_path / "log", r"LOG6.*Systemd socket activation: 1 descriptors received")
                process.send_signal(signal.SIGHUP)
                logged(tmp_path / "log", "Configuration successful", 2)
                ask_once(pki, place)
            finally:
                process.terminate()
                assert process.wait(PATIENCE) == 0


@both
def test_the_size_of_a_stack_is_accepted(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    """Culvert has no threads to give it to, and says so."""
    need(kind)
    top = f"foreground = quiet\npid =\noutput = {tmp_path}/log\nstack = 131072"
    with running(kind, web(pki, echo.port, top), tmp_path) as proxy:
        ask_once(pki, proxy.address)
        if kind is Kind.CULVERT:
            logged(tmp_path / "log", "stack: it has no effect: connections are not threads")
