"""`culvert FILE`: exit codes, standard error, the background, the pid file, the time it takes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, Echo, ask_once, configuration, culvert, echoing, gone
from tests.pki import Pki
from tests.proxies.procfs import tree
from tests.proxies.running import SOURCES, reserved_port

pytestmark = pytest.mark.integration

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


def call(*words: str, cwd: Path | None = None, descriptors: tuple[int, ...] = ()) -> Done:
    """Run `culvert WORDS` until what was called ends."""
    return subprocess.run(
        [sys.executable, "-m", "culvert", *words],
        check=False,
        cwd=cwd,
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        env={"PYTHONPATH": str(SOURCES), **os.environ},
    )


def background(pki: Pki, backend: int, port: int, folder: Path, more: str = "") -> str:
    """The text of a configuration for a daemon in the background, with a log and a pid file in `folder`."""
    text = configuration(pki, backend, accept=f"127.0.0.1:{port}")
    places = f"pid = {folder}/pid\noutput = {folder}/log\n{more}"
    return text.replace("foreground = yes", places)


@contextmanager
def ended_later(folder: Path) -> Iterator[None]:
    """End the daemon whose pid file is in `folder`, by its number, whatever happens."""
    try:
        yield
    finally:
        if (folder / "pid").exists():
            pid = int((folder / "pid").read_text())
            os.kill(pid, signal.SIGTERM)
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


def test_in_the_background_it_is_ready_when_the_call_returns(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with reserved_port() as port:
        file = tmp_path / "c.conf"
        file.write_text(background(pki, echo.port, port, tmp_path))
        with ended_later(tmp_path):
            done = call("c.conf", cwd=tmp_path)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            ask_once(pki, ("127.0.0.1", port))
            pid = int((tmp_path / "pid").read_text())
            assert os.getsid(pid) == pid
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
            assert (tmp_path / "pid").stat().st_mode & 0o777 == 0o644
            left = tree(pid)
            os.kill(pid, signal.SIGTERM)
            assert all(gone(each) for each in left)
    assert not (tmp_path / "pid").exists()
    log = (tmp_path / "log").read_text()
    assert re.search(r"LOG5\[ui\]: Configuration successful", log)
    assert re.search(r"LOG6\[main\]: Accepting new connections", log)
    assert re.search(r"LOG5\[main\]: Terminated", log)


def test_in_the_background_a_relative_file_name_is_found_again(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with reserved_port() as port, ended_later(tmp_path):
        (tmp_path / "c.conf").write_text(background(pki, echo.port, port, tmp_path))
        assert call("c.conf", cwd=tmp_path).returncode == 0
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGHUP)
        with open(tmp_path / "log") as log:
            end = time.monotonic() + PATIENCE
            text = ""
            while text.count("Accepting new connections") < 2 and time.monotonic() < end:
                text += log.readline()
        assert text.count("Accepting new connections") == 2
        ask_once(pki, ("127.0.0.1", port))


FAILURES = {
    "an unknown option": ("cret = x", r'\[!\] .*c\.conf:\d+: cret: .*did you mean "cert"'),
    "a file that is not there": ("verifyChain = yes\nCAfile = /nowhere/ca.pem", r"\[!\] .*/nowhere/ca\.pem"),
    "a log that cannot be opened": ("output = /nowhere/log", r"\[!\] Cannot open log file: /nowhere/log"),
    "a pid file that cannot be made": (
        "pid = /nowhere/pid",
        r"\[!\] Cannot create pid file /nowhere/pid: create: ",
    ),
}


@pytest.mark.parametrize(("line", "said"), FAILURES.values(), ids=FAILURES.keys())
def test_what_stops_the_start_is_on_standard_error_and_the_code_is_1(
    pki: Pki, echo: Echo, tmp_path: Path, line: str, said: str
) -> None:
    """Even what is found only after the call went into the background."""
    with reserved_port() as port, ended_later(tmp_path):
        (tmp_path / "c.conf").write_text(background(pki, echo.port, port, tmp_path, line + "\n"))
        done = call("c.conf", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.search(said, done.stderr), done.stderr
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_busy_port_is_named_on_standard_error(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "c.conf").write_text(background(pki, echo.port, port, tmp_path))
        done = call("c.conf", cwd=tmp_path)
    assert done.returncode == 1
    assert f"[.] Binding service [web] to 127.0.0.1:{port}: Address already in use (98)" in done.stderr
    assert "[!] Binding service [web] failed" in done.stderr


def test_a_second_daemon_cannot_take_the_port_of_the_first(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    """Though the sockets of both have SO_REUSEPORT."""
    with culvert(configuration(pki, echo.port), tmp_path / "first") as first:
        text = configuration(pki, echo.port).replace("@PORT@", str(first.port))
        (tmp_path / "c.conf").write_text(text)
        done = call("c.conf", cwd=tmp_path)
    assert done.returncode == 1
    assert "Address already in use (98)" in done.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = call("-absent", cwd=tmp_path)
    assert done.returncode == 1
    assert '[!] Invalid configuration file name "-absent": No such file or directory (2)' in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [(("-fd",), "No file descriptor specified"), (("-FD", "x"), "Invalid file descriptor number")],
)
def test_a_wrong_descriptor_is_refused(words: tuple[str, ...], said: str) -> None:
    done = call(*words)
    assert done.returncode == 1
    assert said in done.stderr


def test_a_configuration_from_a_descriptor_cannot_be_reloaded(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with reserved_port() as port, ended_later(tmp_path):
        reader, writer = os.pipe()
        os.write(writer, background(pki, echo.port, port, tmp_path).encode())
        os.close(writer)
        done = call("-fd", str(reader), descriptors=(reader,))
        os.close(reader)
        assert done.returncode == 0, done.stderr
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGHUP)
        with open(tmp_path / "log") as log:
            end = time.monotonic() + PATIENCE
            text = ""
            while "Failed to reload" not in text and time.monotonic() < end:
                text += log.readline()
        assert "LOG3[main]: Cannot open configuration file" in text
        ask_once(pki, ("127.0.0.1", port))


@pytest.mark.parametrize("word", ["-help", "-VERSION", "-sockets", "-options", "help", "version", "--help"])
def test_information_is_on_standard_error_and_the_code_is_0(word: str) -> None:
    done = call(word, "ignored", "too")
    assert (done.returncode, done.stdout) == (0, "")
    assert len(done.stderr.splitlines()) > 5
