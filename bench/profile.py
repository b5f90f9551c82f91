"""Where Culvert's CPU time goes during one measure, by perf."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.generator import prepared_run
from bench.measures import Kind, Measure
from bench.peers import Instance
from bench.processes import family
from bench.rounds import Bench

FREQUENCY = "1999"  # samples per second and core; odd, so as not to march with the clock tick
LEAST_PERCENT = "0.7"
LENGTH = 5.0  # of the usual sample: small symbols need many samples
REPORTS = {
    "by library": ("--sort", "comm,dso"),
    "by system call": ("--sort", "parent", "--parent", "_sys_|^ksys_|^exc_|^do_exit"),
    "by symbol": ("--sort", "dso,symbol"),
}
WITHOUT_PERF = """perf is not installed (Debian: apt-get install linux-perf). Without it:
  valgrind --tool=callgrind --trace-children=yes .venv/bin/python -m culvert FILE   (C, instruction counts)
  py-spy record --native --subprocesses --pid SUPERVISOR                            (Python frames)"""


def print_profile(bench: Bench, measure: Measure) -> None:
    """Run the load of ``measure`` on the first peer under perf and print the costliest symbols.

    Raises BenchError if perf is missing or may not look, or if the measure is one of memory.
    """
    if measure.kind not in (Kind.CPU, Kind.CROWD):
        raise BenchError(f"{measure.key} measures memory; perf has nothing to say about it")
    if shutil.which("perf") is None:
        raise BenchError(WITHOUT_PERF)
    data = bench.folder / "perf.data"
    with bench.instance(bench.peers[0], measure) as instance:
        _record(bench, measure, instance, data)
    for title, arguments in REPORTS.items():
        print(f"\n{title}\n{_report(data, arguments)}")


def _record(bench: Bench, measure: Measure, instance: Instance, data: Path) -> None:
    more = measure.more(instance.peer.name, instance.site.certificate.parent)
    arguments = measure.arguments(LENGTH * bench.share, more=more)
    port, trusted = instance.site.port, instance.trusted
    with prepared_run(bench.program, port, trusted, arguments) as run, _recording(instance, data):
        outcome = run.work()
    print(f"{measure.title}: {outcome.done} units, {outcome.facts}")


@contextlib.contextmanager
def _recording(instance: Instance, data: Path) -> Iterator[None]:
    pids = ",".join(str(pid) for pid in sorted(family(instance.process.pid)))
    command = ["perf", "record", "-q", "-g", "-F", FREQUENCY, "-o", str(data), "-p", pids]
    control = data.with_suffix(".err")
    with control.open("wb") as errors:
        perf = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        try:
            yield
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()
    if not data.exists():
        raise BenchError(f"perf record: {control.read_text(errors='replace').strip()}")


def _report(data: Path, arguments: Sequence[str]) -> str:
    command = ["perf", "report", "-i", str(data), "--stdio", "-q", "--no-children", "-g", "none"]
    done = subprocess.run(
        [*command, "--percent-limit", LEAST_PERCENT, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"perf report: {done.stderr.strip()}")
    return "\n".join(line.rstrip(" -") for line in done.stdout.splitlines() if line.strip())
