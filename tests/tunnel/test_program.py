"""Programs as an end of a tunnel, in a process that goes on when their service is over."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import signal
import ssl
from collections.abc import Iterator

import pytest

import culvert
from culvert import Address, Service
from tests.pki import Pki

PATIENCE = 30


@pytest.fixture(autouse=True)
def _no_program_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, "culvert")
    yield
    text = "\n".join(each.getMessage() for each in caplog.get_records("call"))
    for pid in re.findall(r"child started \(PID=(\d+)\)", text):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(int(pid), 0)


def first_line_of(pki: Pki, script: str) -> bytes:
    """What a client is told first by a script of the shell; the service is over when this returns."""
    service = Service(
        name="run",
        accept=(Address.parse("127.0.0.1:0"),),
        cert=(str(pki.server.both),),
        exec="/bin/sh",
        exec_args=("sh", "-c", script),
        debug=7,
    )
    trusting = ssl.create_default_context(cafile=str(pki.ca))

    async def main() -> bytes:
        async with asyncio.timeout(PATIENCE), culvert.open_tunnel(service, drain=PATIENCE) as tunnel:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", tunnel.port, ssl=trusting, server_hostname="localhost"
            )
            try:
                return await reader.readline()
            except OSError:
                return b"reset"
            finally:
                writer.transport.abort()

    return asyncio.run(main())


def is_child(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def test_a_program_that_outlives_its_service_is_buried_by_the_next(pki: Pki) -> None:
    pid = int(first_line_of(pki, "echo $$; exec sleep 3600"))
    assert is_child(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert first_line_of(pki, "echo another") == b"another\n"
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_program_whose_status_goes_to_nobody_ends_as_any(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries every child at once
    try:
        assert first_line_of(pki, "echo a word; exec >&- 2>&-") == b"a word\n"
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert not [each for each in caplog.records if each.name == "asyncio"]


def test_a_program_that_cannot_be_waited_for_ends_its_tunnel_and_is_buried(
    pki: Pki, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pidfd_open", refuse)
        first_line_of(pki, "exec cat")
    found = re.search(r"Cannot wait for child process (\d+): Too many open files", caplog.text)
    assert found is not None
    assert "INTERNAL ERROR" not in caplog.text
    with contextlib.suppress(ChildProcessError):  # or it was buried at the end of its service
        os.waitid(os.P_PID, int(found[1]), os.WEXITED | os.WNOWAIT)
    assert first_line_of(pki, "echo another") == b"another\n"
    with pytest.raises(ChildProcessError):
        os.waitpid(int(found[1]), os.WNOHANG)
