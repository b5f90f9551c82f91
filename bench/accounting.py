"""CPU time and memory of a family of processes, as the kernel counts them.

Theory of operation.  The process clock of another process, ``clock_gettime(CLOCK_PROCESS_CPUTIME_ID of
PID)``, is the scheduler's own sum in nanoseconds over all threads, those that have ended included
(clock_getcpuclockid(3)). That matters for a proxy with a thread per connection: a sum over
``/proc/PID/task/*/schedstat`` would lose what ended threads used.  ``/proc/PID/stat`` carries the same sum
in ticks of 10 ms, cut into user and system time.  So we measure with the clock, check it against ``stat``,
and add the time of children that ended and were waited for, which only ``stat`` has.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.processes import family

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
QUIET_STEP = 0.01  # seconds between two looks at a clock that should stand still
QUIET_SHARE = 0.02  # of one core: below it, the work is over
QUIET_LOOKS = 200
CPUCLOCK_SCHED = 2  # linux/posix-timers: the sum of the scheduler, in nanoseconds


@dataclass(frozen=True)
class Usage:
    """What a family has used since it was started; all in seconds, except ``pids``."""

    clock: float  # by the process clocks
    ticks: float  # the same by /proc/PID/stat, rounded down to ticks
    reaped: float  # by children that were waited for, in ticks
    pids: frozenset[int]


def usage(root: int) -> Usage:
    """Read the clocks of ``root`` and its descendants.  Raises BenchError if one ends meanwhile."""
    pids = family(root)
    try:
        clock = sum(_clock(pid) for pid in pids)
        stats = [_stat_times(pid) for pid in pids]
    except OSError as error:
        raise BenchError(f"a process of the proxy ended: {error}") from error
    return Usage(clock, sum(own for own, _ in stats), sum(reaped for _, reaped in stats), pids)


def quiet_usage(root: int) -> Usage:
    """Wait until the family has nothing left to do, then read its clocks.

    Raises BenchError if it still uses more than 2 % of a core after two seconds: it spins, or was not idle.
    """
    before = usage(root)
    for _ in range(QUIET_LOOKS):
        time.sleep(QUIET_STEP)
        after = usage(root)
        if after.clock - before.clock < QUIET_STEP * QUIET_SHARE:
            return after
        before = after
    raise BenchError("the proxy goes on using CPU with nothing to do")


def spent(before: Usage, after: Usage) -> float:
    """Give the CPU seconds between two readings.

    Raises BenchError when a process was lost on the way, or when the two ways of counting disagree.
    """
    if not before.pids <= after.pids:
        raise BenchError("a process of the proxy ended during the measure")
    clock = after.clock - before.clock
    ticks = after.ticks - before.ticks
    # User and system time are cut to whole ticks one by one, in every process, at both ends.
    slack = 4 * TICK * len(after.pids) + 0.02 * clock
    if abs(clock - ticks) > slack:
        raise BenchError(f"the process clocks say {clock:.3f} s, /proc/PID/stat says {ticks:.3f} s")
    return clock + (after.reaped - before.reaped)


def proportional_set(root: int) -> int:
    """Give the memory of a family in octets: each shared page is divided among those who map it (PSS)."""
    return sum(_pss(pid) for pid in family(root))


def _clock(pid: int) -> float:
    return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED) / 1e9


def _stat_times(pid: int) -> tuple[float, float]:
    """Give (own, waited-for children's) CPU seconds: fields 14 to 17 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, child_user, child_system = (int(field) * TICK for field in fields[11:15])
    return user + system, child_user + child_system


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"/proc/{pid}/smaps_rollup has no Pss line")
