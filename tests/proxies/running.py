"""Start a proxy of any make, wait until it listens, read what it says, stop it.

    with running(Kind.STUNNEL, text, folder) as proxy:
        socket.create_connection(("127.0.0.1", proxy.port))

``text`` is the program's own configuration, in which ``@PORT@`` stands for a free port of 127.0.0.1 and
``@FOLDER@`` for a folder of its own.  The port stays reserved, by a socket that is bound to it but does not
listen, as long as the proxy runs: no other program can be given it between the choice and the bind.
"""

from __future__ import annotations

import enum
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.proxies.procfs import Place, cpu_seconds, is_listening, open_descriptors

SOURCES = Path(__file__).parents[2] / "src"
START_SECONDS = 20.0
STOP_SECONDS = 15.0


class Kind(enum.Enum):
    """The proxies that the tests know how to start."""

    CULVERT = "culvert"
    STUNNEL = "stunnel"
    HITCH = "hitch"
    HAPROXY = "haproxy"

    @property
    def program(self) -> str | None:
        """Path of the program; None when it is not installed."""
        if self is Kind.CULVERT:
            return sys.executable
        name = "stunnel4" if self is Kind.STUNNEL else self.value
        return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

    def command(self, file: Path) -> list[str]:
        """The command line that runs it in the foreground with ``file`` as its configuration."""
        program = self.program or self.value
        if self is Kind.CULVERT:
            return [program, "-m", "culvert", str(file)]
        if self is Kind.HITCH:
            return [program, f"--config={file}"]
        if self is Kind.HAPROXY:
            return [program, "-db", "-f", str(file)]
        return [program, str(file)]


class Proxy:
    """A running proxy: where it listens and what it has said so far."""

    def __init__(self, kind: Kind, process: subprocess.Popen[str], port: int, folder: Path) -> None:
        self.kind, self.port, self.folder = kind, port, folder
        self.process = process
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def output(self) -> str:
        """All lines of its standard output and standard error until now."""
        with self._more:
            return "".join(self._lines)

    def wait_line(self, pattern: str, seconds: float = START_SECONDS, *, count: int = 1) -> str:
        """Wait until ``count`` lines match; give the last of them.  AssertionError when the time is over."""
        wanted = re.compile(pattern)

        def matches() -> list[str]:
            return [line for line in self._lines if wanted.search(line)]

        with self._more:
            self._more.wait_for(lambda: len(matches()) >= count, seconds)
            found = matches()
        assert len(found) >= count, f"{count} x {pattern!r} not among:\n{''.join(self._lines)}"
        return found[count - 1]

    def wait_listening(self, place: Place, seconds: float = START_SECONDS) -> None:
        """Wait until it accepts connections at ``place``.  AssertionError when it does not."""
        deadline = time.monotonic() + seconds
        while not is_listening(place):
            ended = self._ended_within(0.005)
            assert not ended, f"{self.kind.value} ended with {self.process.returncode}:\n{self._all()}"
            assert time.monotonic() < deadline, f"{self.kind.value} does not listen:\n{self.output}"

    def wait_descriptors(self, most: int, seconds: float = START_SECONDS) -> int:
        """Wait until it holds at most ``most`` descriptors; give how many it holds, also when in vain."""
        deadline = time.monotonic() + seconds
        while (held := self.descriptors()) > most and time.monotonic() < deadline:
            assert not self._ended_within(0.02), self._all()
        return held

    def cpu_seconds(self) -> float:
        """Processor time used by all its processes so far."""
        return cpu_seconds(self.process.pid)

    def descriptors(self) -> int:
        """How many descriptors its processes hold."""
        return open_descriptors(self.process.pid)

    def stop(self) -> int:
        """Ask it to end, by its pid; kill it when it does not.  Returns its status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reader.join(STOP_SECONDS)
        if self.process.stdout:
            self.process.stdout.close()
        return status

    def _ended_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _all(self) -> str:
        self._reader.join(STOP_SECONDS)
        return self.output

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self._lines.append(line)
                self._more.notify_all()


@contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port of 127.0.0.1 that a program which sets SO_REUSEADDR can bind, and no other is given."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def running(
    kind: Kind, text: str, folder: Path, *, listens: Sequence[Place] | None = None, prefix: Sequence[str] = ()
) -> Iterator[Proxy]:
    """Run a proxy with the configuration ``text`` until the block ends.

    listens: where it must accept connections before the block begins; by default 127.0.0.1:@PORT@.
    prefix: words before its command line, such as ("prlimit", "--nofile=64").
    Raises AssertionError with its output when it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with reserved_port() as port:
        file = folder / f"{kind.value}.conf"
        file.write_text(text.replace("@PORT@", str(port)).replace("@FOLDER@", str(folder)))
        process = subprocess.Popen(
            [*prefix, *kind.command(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_environment(),
        )
        proxy = Proxy(kind, process, port, folder)
        try:
            for place in listens if listens is not None else [proxy.address]:
                proxy.wait_listening(place)
            yield proxy
        finally:
            proxy.stop()


def _environment() -> dict[str, str]:
    """Ours, with the sources of this checkout unless PYTHONPATH names others (a sanitized build)."""
    return {"PYTHONPATH": str(SOURCES), **os.environ, "PYTHONUNBUFFERED": "1"}


def need(kind: Kind) -> None:
    """Skip the test when the program is not installed; fail it in CI."""
    if kind.program is None:
        need_missing(kind.value)


def need_program(name: str) -> str:
    """Give the path of a program; skip the test when it is not installed, fail it in CI."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        need_missing(name)
    return str(path)


def need_missing(name: str) -> None:
    """Skip, or fail in CI, because ``name`` is not there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed")
