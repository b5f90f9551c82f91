"""The Python side of the load generator: compile, run, read the result.  ``load/load.h`` has its theory."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.backend import REPLY
from bench.errors import BenchError

SOURCES = Path(__file__).with_name("load")
FLAGS = ("-D_GNU_SOURCE", "-std=c11", "-O2", "-Wall", "-Wextra", "-pthread")
LIBRARIES = ("-lssl", "-lcrypto")
RUN_SECONDS = 180.0  # a run that takes longer is killed


@dataclass(frozen=True)
class Facts:
    """What the handshakes of a run agreed on; must be the same for all peers of a measure."""

    version: str
    cipher: str
    group: str
    key: str

    def __str__(self) -> str:
        return f"{self.version} {self.cipher} {self.group} {self.key}"


@dataclass(frozen=True)
class Outcome:
    """A run without any failure: units of work done, how many of them on resumed sessions, and the facts."""

    done: int
    resumed: int
    facts: Facts


def compile_generator(folder: Path) -> Path:
    """Compile the C sources into ``folder`` and give the path of the program.  Raises BenchError."""
    program = folder / "load"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    done = subprocess.run(
        [*compiler, *FLAGS, *sources, *LIBRARIES, "-o", str(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the load generator does not compile: {done.stderr.strip()}")
    return program


class Run:
    """A load whose connections are set up; ``work`` may be called once."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        if self._read() != "ready":
            raise BenchError("the load generator ended in its set-up")

    def work(self) -> Outcome:
        """Do the work.  Raises BenchError at any wrong byte, status, version or missing resumption."""
        if self._process.stdin is None:
            raise BenchError("the load generator has no pipe")
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return parse_outcome(self._read())

    def _read(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        return line.strip()


def parse_outcome(line: str) -> Outcome:
    """Turn the generator's result line into an Outcome.  Raises BenchError with the first failure in it."""
    try:
        result = json.loads(line)
    except ValueError as error:
        raise BenchError("the load generator died, or took too long") from error
    if result["error"]:
        raise BenchError(f"{result['error']} (after {result['done']} units)")
    facts = Facts(result["version"], result["cipher"], result["group"], result["key"])
    return Outcome(result["done"], result["resumed"], facts)


@contextlib.contextmanager
def prepared_run(program: Path, port: int, trusted: Path, arguments: Sequence[str]) -> Iterator[Run]:
    """Set up a load against the loopback ``port``; its connections close when the context ends."""
    command = [str(program), "-p", str(port), "-a", str(trusted), "-c", REPLY, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(RUN_SECONDS, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield Run(process)
        except BaseException:
            process.kill()
            raise
        finally:
            # Closing the pipe lets the generator close its connections and end.
            with contextlib.suppress(BrokenPipeError):
                if process.stdin:
                    process.stdin.close()
            process.wait()
            watchdog.cancel()
