"""What every test gets: a turn of its own when it measures, and a look at what it left behind."""

from __future__ import annotations

import fcntl
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pki import pki

__all__ = ["pki"]

# Kinds of descriptors that a test has to close; plain files are often kept open by a library on purpose.
OWNED = ("socket:", "pipe:", "anon_inode:")


def descriptors() -> dict[int, str]:
    """Return the sockets, pipes and kernel objects that this process has open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of listdir itself
            continue
        if target.startswith(OWNED):
            found[int(name)] = target
    return found


def children() -> set[int]:
    """Return the process numbers of this process's children, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except FileNotFoundError:  # a thread that ended meanwhile
            continue
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process or an open socket, pipe or kernel object."""
    before, born_before = descriptors(), children()
    yield
    left = descriptors().items() - before.items()
    if left:
        gc.collect()  # an exception's traceback may still have held them
        left = descriptors().items() - before.items()
    assert not left, f"descriptors left open: {sorted(left)}"
    orphans = children() - born_before
    assert not orphans, f"processes left running: {sorted(orphans)}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test marked ``alone`` run while no other does, in this or another worker, or in another run.

    All others hold ``room`` shared, ``alone`` holds it exclusively.  Everyone goes through ``door`` first, or
    the others, always one of them inside, would keep it waiting for ever.  Timeouts start afterwards.
    """
    turns = item.config.rootpath / "build" / "turns"
    turns.mkdir(exist_ok=True, parents=True)
    kind = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    with (turns / "room").open("w") as room:
        with (turns / "door").open("w") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, kind)
        return (yield)
