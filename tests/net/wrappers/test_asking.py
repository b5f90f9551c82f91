"""Processes and threads that judge, and what becomes of those that die."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from culvert.net import addresses
from culvert.net.wrappers import Impossible
from culvert.net.wrappers.asking import Wrappers
from culvert.net.wrappers.facts import Request
from culvert.net.wrappers.tables import Tables
from tests.proxies.running import need_program

RULES = "web : 127.0.0.1\n"


def request(client: str, daemon: str = "web") -> Request:
    near, far = (addresses.endpoint(socket.AF_INET, (host, 443)).packed for host in (client, "127.0.0.1"))
    return Request(daemon, near, far)


@contextmanager
def wrappers(folder: Path, helpers: int) -> Iterator[Wrappers]:
    (folder / "allow").write_text(RULES)
    (folder / "deny").write_text("ALL : ALL\n")
    made = Wrappers(Tables(str(folder / "allow"), str(folder / "deny")), helpers)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("helpers", [0, 2])
def test_both_kinds_judge_and_notice_a_changed_file(tmp_path: Path, helpers: int) -> None:
    need_program("tcpdmatch")

    async def main(judge: Wrappers) -> None:
        assert await judge.permits(request("127.0.0.1"))
        assert not await judge.permits(request("127.0.0.2"))
        answers = await asyncio.gather(*(judge.permits(request(f"127.0.0.{n}")) for n in range(1, 20)))
        assert answers == [True, *[False] * 18]
        (tmp_path / "allow").write_text("web : ALL : spawn (echo)\n")
        with pytest.raises(Impossible, match=r"allow:1: .spawn. is not supported"):
            await judge.permits(request("127.0.0.1"))
        (tmp_path / "allow").write_text("ALL : ALL\n")
        assert await judge.permits(request("127.0.0.2"))

    with wrappers(tmp_path, helpers) as judge:
        assert judge.helpers == helpers
        asyncio.run(main(judge))


def test_when_the_last_helper_is_dead_threads_judge(tmp_path: Path) -> None:
    need_program("tcpdmatch")

    async def main(judge: Wrappers) -> None:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        assert await judge.permits(request("127.0.0.1"))
        assert not await judge.permits(request("127.0.0.2"))
        assert judge.helpers == 0

    with wrappers(tmp_path, 3) as judge:
        asyncio.run(main(judge))


def test_a_question_that_was_given_up_does_not_answer_the_next_one(tmp_path: Path) -> None:
    need_program("tcpdmatch")

    async def main(judge: Wrappers) -> None:
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(judge.permits(request("127.0.0.1")), 0.05)
        os.kill(pid, signal.SIGCONT)
        assert not await judge.permits(request("127.0.0.2"))

    with wrappers(tmp_path, 1) as judge:
        asyncio.run(main(judge))


def test_helpers_end_with_the_process_that_asks(tmp_path: Path) -> None:
    need_program("tcpdmatch")
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with wrappers(tmp_path, 2):
            os._exit(0)
    os.close(tell)
    os.waitpid(pid, 0)
    assert os.read(told, 1) == b""  # no helper has the pipe of its maker either
    os.close(told)


def children() -> list[int]:
    return [int(each) for each in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
