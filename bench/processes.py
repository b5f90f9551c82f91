"""Child processes of the benchmark: started, watched, and stopped by their own id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from bench.errors import BenchError

START_SECONDS = 10.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.01
LOG_TAIL = 600  # octets of a log that an error message shows


class Child:
    """One program in the foreground, its output in ``FOLDER/NAME.log``.  Leaving the context stops it."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None
    ) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_death_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the program itself; its children are found by ``family``."""
        return self._process.pid

    def wait_until_listening(self, port: int) -> None:
        """Return once a TCP connection to the loopback ``port`` opens.  Raises BenchError."""
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended with {self._process.returncode}: {self._tail()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} does not listen after {START_SECONDS:.0f} s: {self._tail()}")
            time.sleep(POLL_SECONDS)

    def wait_until_said(self, word: str, seconds: float = START_SECONDS) -> None:
        """Return once ``word`` is in the output: for programs that a mere connection confuses."""
        deadline = time.monotonic() + seconds
        while word.encode() not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.name} did not start: {self._tail()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End the program with TERM, and whoever of its family is left after a while with KILL."""
        members = family(self.pid)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        for pid in members:
            if self._is_ours(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        # Who has thousands of sockets to close dies slowly, and would disturb the next measure.
        deadline = time.monotonic() + STOP_SECONDS
        while any(self._is_ours(pid) for pid in members) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _is_ours(self, pid: int) -> bool:
        """A process id may have been given anew; the session is ours alone."""
        try:
            return os.getsid(pid) == self.pid
        except ProcessLookupError:
            return False

    def _tail(self) -> str:
        lines = self._log.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace").splitlines()
        return " | ".join(line.strip() for line in lines) or "it said nothing"


def family(root: int) -> frozenset[int]:
    """Find the process ``root`` and all its descendants, as far as they are alive."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return frozenset(found)


def free_port() -> int:
    """Let the kernel choose a loopback TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path("/proc", entry, "stat").read_text()
                yield int(entry), int(stat.rpartition(")")[2].split()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _death_with_parent() -> list[str]:
    """A prefix that lets the kernel end the child should the benchmark itself be killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
