"""What every test gets: a turn of its own when it measures, and a look at what it left behind."""

from __future__ import annotations

import fcntl
import gc
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, kind)
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Tell every worker of a run which files its turns are taken with."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    config.stash[_TURNS] = Path(tempfile.gettempdir()) / f"culvert-tests-{os.getuid()}-{run}" if run else None


_TURNS: pytest.StashKey[Path | None] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test marked ``alone`` run while no other worker runs one.

    All others hold ``room`` shared, ``alone`` holds it exclusively.  Everyone goes through ``door`` first, or the
    others, always one of them inside, would keep it waiting for ever.
    """
    turns = item.config.stash[_TURNS]
    if turns is None:
        return (yield)
    kind = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    turns.mkdir(exist_ok=True, mode=0o700)
    with (turns / "room").open("w") as room:
        with _locked(turns / "door", fcntl.LOCK_EX):
            fcntl.flock(room, kind)
        return (yield)
