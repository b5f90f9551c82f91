"""Runs private instances of real servers: each with its own configuration and folders under a temporary one,
ports of 127.0.0.1 that nobody else has, in the foreground, ended by its pid.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.proxies.procfs import is_listening, tree
from tests.proxies.running import reserved_port

START_SECONDS = 20.0
STOP_SECONDS = 10.0
USER, PASSWORD = "user", "secret-word"


def root_only() -> None:
    """Most of these servers change their user."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@contextmanager
def ports(*names: str) -> Iterator[dict[str, int]]:
    """A port of 127.0.0.1 for each name."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(reserved_port()) for name in names}


@contextmanager
def serving(
    command: Sequence[str | Path],
    folder: Path,
    wanted: Mapping[str, int],
    *,
    env: Mapping[str, str] | None = None,
) -> Iterator[dict[str, int]]:
    """Run a server until the block ends; the block begins when it listens on all its ports."""
    output = folder / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**_without_sanitizers(), **(env or {})},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not all(is_listening(("127.0.0.1", port)) for port in wanted.values()):
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, f"{command[0]} does not listen: {output.read_text()}"
            else:
                raise AssertionError(f"{command[0]} ended: {output.read_text()}")
        yield dict(wanted)
    finally:
        _stop(process)


def _without_sanitizers() -> dict[str, str]:
    """Ours, without what `make sanitize` loads into every program."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and all that it started."""
    family = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in family:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def owned(folder: Path, user: str, mode: int = 0o755) -> Path:
    """Make a folder that belongs to a user."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    folder.chmod(mode)
    return folder
