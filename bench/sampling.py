"""One sample of one measure on one running proxy."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.accounting import proportional_set, quiet_usage, spent
from bench.errors import BenchError
from bench.generator import Facts, prepared_run
from bench.measures import Measure
from bench.peers import Instance

WARM_UP = ["-n", "20", "-t", "2", "visits"]
CROWD_THREADS = 8
ABLE_SECONDS = 10.0
ABLE_STEP = 0.2
FILES_PER_CONNECTION = 2  # a tunnel has two sockets
SPARE_FILES = 1000


@dataclass(frozen=True)
class Sample:
    """A value in the measure's unit; ``facts`` is None where nothing was negotiated."""

    value: float
    facts: Facts | None


def cpu_sample(program: Path, measure: Measure, instance: Instance, share: float) -> Sample:
    """Measure CPU time per unit of work.  Raises BenchError."""
    more = measure.more(instance.peer.name, instance.site.certificate.parent)
    arguments = measure.arguments(share, more=more)
    with prepared_run(program, instance.site.port, instance.trusted, arguments) as run:
        before = quiet_usage(instance.process.pid)
        outcome = run.work()
        seconds = spent(before, quiet_usage(instance.process.pid))
    if measure.resume and outcome.resumed != outcome.done:
        raise BenchError(f"{outcome.resumed} of {outcome.done} sessions were resumed")
    return Sample(seconds * measure.scale / outcome.done, outcome.facts)


def wait_until_able(program: Path, measure: Measure, instance: Instance) -> None:
    """Give a proxy time to fetch what the measure demands of it.  Raises BenchError."""
    if not measure.demands:
        return
    more = measure.more(instance.peer.name, instance.site.certificate.parent)
    deadline = time.monotonic() + ABLE_SECONDS
    while True:
        try:
            with prepared_run(program, instance.site.port, instance.trusted, [*more, "visits"]) as run:
                run.work()
                return
        except BenchError:
            if time.monotonic() > deadline:
                raise
        time.sleep(ABLE_STEP)


def connection_memory_sample(program: Path, measure: Measure, instance: Instance) -> Sample:
    """Measure memory per idle connection, after a few visits have warmed the proxy up.  Raises BenchError."""
    with prepared_run(program, instance.site.port, instance.trusted, WARM_UP) as warm_up:
        warm_up.work()
    quiet_usage(instance.process.pid)
    before = proportional_set(instance.process.pid)
    with prepared_run(program, instance.site.port, instance.trusted, measure.arguments()) as run:
        outcome = run.work()
        if outcome.done != measure.count:
            raise BenchError(f"{outcome.done} of {measure.count} connections are open")
        quiet_usage(instance.process.pid)
        grown = proportional_set(instance.process.pid) - before
    return Sample(grown * measure.scale / outcome.done, outcome.facts)


def daemon_memory_sample(measure: Measure, instance: Instance) -> Sample:
    """Measure the memory of a proxy that has not served anybody yet."""
    quiet_usage(instance.process.pid)
    return Sample(proportional_set(instance.process.pid) * measure.scale, None)


@contextlib.contextmanager
def crowded(program: Path, instance: Instance, connections: int) -> Iterator[None]:
    """Hold ``connections`` open that did one request each.  Raises BenchError."""
    arguments = ["-n", str(connections), "-t", str(CROWD_THREADS), "idle"]
    with prepared_run(program, instance.site.port, instance.trusted, arguments) as run:
        outcome = run.work()
        if outcome.done != connections:
            raise BenchError(f"{outcome.done} of {connections} connections are open")
        yield


@contextlib.contextmanager
def enough_files(connections: int) -> Iterator[None]:
    """Raise the limit of open files, as far as we may, for what is started meanwhile.

    Only while it is needed: a peer may size its tables by this limit.  Where the hard limit stays below what
    one process would need, the connections may still fit, spread over several workers; if not, opening fails.
    """
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections * FILES_PER_CONNECTION + SPARE_FILES
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, old[0]), max(wanted, old[1])))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (old[1], old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
