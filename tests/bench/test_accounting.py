from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench import accounting
from bench.accounting import TICK, Usage, proportional_set, quiet_usage, spent, usage
from bench.errors import BenchError
from bench.processes import family

# Burns the CPU seconds that it is told, in a thread that then ends, and says so.
BURNER = """
import sys, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass
print("up", flush=True)
for line in sys.stdin:
    thread = threading.Thread(target=burn, args=(float(line),))
    thread.start(); thread.join()
    print("done", flush=True)
"""
# Runs BURNER as a child of its own.
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@contextlib.contextmanager
def talking(*command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


@pytest.mark.parametrize("command", [(BURNER,), (PARENT, BURNER)], ids=["itself", "its child"])
def test_time_of_threads_that_ended_is_counted(command: tuple[str, ...]) -> None:
    with talking(*command) as process:
        assert hear(process) == "up"
        before = quiet_usage(process.pid)
        say(process, "0.2")
        assert hear(process) == "done"
        assert spent(before, quiet_usage(process.pid)) == pytest.approx(0.2, abs=0.05)


def test_a_child_that_ended_and_was_waited_for_is_counted() -> None:
    program = (
        "import subprocess, sys; print('up', flush=True); sys.stdin.readline();"
        "subprocess.run([sys.executable, '-c', sys.argv[1]], input='0.3\\n', text=True, stdout=2);"
        "print('done', flush=True); sys.stdin.read()"
    )
    with talking(program, BURNER) as process:
        assert hear(process) == "up"
        before = usage(process.pid)
        say(process, "")
        assert hear(process) == "done"
        assert spent(before, usage(process.pid)) >= 0.3 - 2 * TICK


def test_a_family_has_grandchildren() -> None:
    with talking(PARENT, BURNER) as process:
        assert hear(process) == "up"
        assert len(family(process.pid)) == 2


def test_memory_of_a_family_is_the_sum_of_its_members() -> None:
    with talking(PARENT, BURNER) as process:
        assert hear(process) == "up"
        # Both are interpreters of several MiB, most of it their own.
        assert proportional_set(process.pid) > 4 << 20


def test_a_process_that_spins_is_never_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "QUIET_LOOKS", 3)
    with talking(BURNER) as process:
        assert hear(process) == "up"
        say(process, "0.5")
        with pytest.raises(BenchError, match="goes on using CPU"):
            quiet_usage(process.pid)
        assert hear(process) == "done"


def test_a_lost_process_voids_the_measure() -> None:
    before = Usage(1.0, 1.0, 0.0, frozenset({1, 2}))
    with pytest.raises(BenchError, match="ended during"):
        spent(before, Usage(2.0, 2.0, 0.0, frozenset({1, 3})))


def test_two_ways_of_counting_that_disagree_void_the_measure() -> None:
    before = Usage(0.0, 0.0, 0.0, frozenset({1}))
    with pytest.raises(BenchError, match=r"1\.000 s.*0\.500 s"):
        spent(before, Usage(1.0, 0.5, 0.0, frozenset({1})))
