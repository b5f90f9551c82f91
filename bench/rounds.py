"""Interleaving: every round takes one sample from each contender, so that drift hits all of them alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.backend import Backends
from bench.errors import BenchError
from bench.generator import Facts
from bench.measures import CROWDS, CULVERT, Kind, Measure
from bench.peers import Instance, Peer, running
from bench.sampling import (
    Sample,
    connection_memory_sample,
    cpu_sample,
    crowded,
    daemon_memory_sample,
    enough_files,
    wait_until_able,
)

Taker = Callable[[], Sample]


@dataclass(frozen=True)
class Bench:
    """What all measures share."""

    folder: Path
    program: Path  # the load generator
    backends: Backends
    certificates: Mapping[str, Path]
    peers: Sequence[Peer]
    rounds: int
    share: float  # of the usual length of a sample

    def instance(self, peer: Peer, measure: Measure) -> contextlib.AbstractContextManager[Instance]:
        """Run ``peer`` with the backend and the certificate of ``measure``."""
        backend = self.backends.port(measure.backend)
        certificate = self.certificates[measure.certificate]
        return running(peer, backend, certificate, self.folder, measure.lines)


@dataclass
class Result:
    """The samples of one measure.  A contender that failed once is out: ``failures`` says why."""

    measure: Measure
    rounds: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Facts] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def values(self, name: str) -> list[float]:
        """Give all samples of one contender; none when it failed."""
        return [] if name in self.failures else [row[name] for row in self.rounds if name in row]


def take(bench: Bench, measure: Measure) -> Result:
    """Take all rounds of one measure.  Failures are in the result, not raised."""
    result = Result(measure)
    with contextlib.ExitStack() as stack:
        takers = _contenders(bench, measure, result, stack)
        for number in range(bench.rounds):
            result.rounds.append(_round(_rotated(list(takers), number), takers, result))
    _check_facts(result)
    return result


def _round(order: Sequence[str], takers: Mapping[str, Taker], result: Result) -> dict[str, float]:
    row: dict[str, float] = {}
    for name in order:
        if name in result.failures:
            continue
        with _noting(result, name):
            sample = takers[name]()
            row[name] = sample.value
            _note_facts(result, name, sample.facts)
    return row


def _rotated(names: list[str], number: int) -> list[str]:
    """Let another contender begin in every round: who follows whom may matter."""
    start = number % len(names) if names else 0
    return names[start:] + names[:start]


@contextlib.contextmanager
def _noting(result: Result, name: str) -> Iterator[None]:
    try:
        yield
    except BenchError as error:
        result.failures[name] = str(error)


def _note_facts(result: Result, name: str, facts: Facts | None) -> None:
    if facts is None:
        return
    if result.facts.setdefault(name, facts) != facts:
        raise BenchError(f"agreed on {facts} after {result.facts[name]}")


def _check_facts(result: Result) -> None:
    """Fail those who agreed on something else than the first peer did: their figures cannot be compared."""
    good = {name: facts for name, facts in result.facts.items() if name not in result.failures}
    expected = next((facts for name, facts in good.items() if name != CULVERT), None)
    for name, facts in good.items():
        if expected is not None and facts != expected:
            result.failures[name] = f"agreed on {facts}, not on {expected}"


def _contenders(
    bench: Bench, measure: Measure, result: Result, stack: contextlib.ExitStack
) -> dict[str, Taker]:
    if measure.kind is Kind.CROWD:
        return _crowds(bench, measure, result, stack)
    takers: dict[str, Taker] = {}
    for peer in bench.peers:
        if measure.rivals is not None and peer.name not in (CULVERT, *measure.rivals):
            continue
        with _noting(result, peer.name):
            takers[peer.name] = _taker(bench, measure, peer, stack)
    return takers


def _taker(bench: Bench, measure: Measure, peer: Peer, stack: contextlib.ExitStack) -> Taker:
    if measure.kind is Kind.CPU:
        instance = stack.enter_context(bench.instance(peer, measure))
        wait_until_able(bench.program, measure, instance)
        return lambda: cpu_sample(bench.program, measure, instance, bench.share)
    peer.require()
    return lambda: _fresh_sample(bench, measure, peer)


def _fresh_sample(bench: Bench, measure: Measure, peer: Peer) -> Sample:
    """Every sample of memory has an instance of its own: an allocator does not forget."""
    began = time.monotonic()
    with bench.instance(peer, measure) as instance:
        if measure.kind is Kind.START:
            return Sample((time.monotonic() - began) * measure.scale, None)
        if measure.kind is Kind.IDLE_DAEMON:
            return daemon_memory_sample(measure, instance)
        return connection_memory_sample(bench.program, measure, instance)


def _crowds(bench: Bench, measure: Measure, result: Result, stack: contextlib.ExitStack) -> dict[str, Taker]:
    """Set Culvert up twice, beside few and beside many idle connections."""
    culvert = next(peer for peer in bench.peers if peer.name == CULVERT)
    takers: dict[str, Taker] = {}
    for crowd in CROWDS:
        name = crowd_name(crowd)
        with _noting(result, name):
            takers[name] = _crowd_taker(bench, measure, culvert, crowd, stack)
    return takers


def _crowd_taker(
    bench: Bench, measure: Measure, culvert: Peer, crowd: int, stack: contextlib.ExitStack
) -> Taker:
    with enough_files(crowd), contextlib.ExitStack() as own:
        instance = own.enter_context(bench.instance(culvert, measure))
        own.enter_context(crowded(bench.program, instance, crowd - measure.threads))
        stack.enter_context(own.pop_all())
    return lambda: cpu_sample(bench.program, measure, instance, bench.share)


def crowd_name(connections: int) -> str:
    """Name the contender that has ``connections`` open."""
    return f"{connections:,} open"
