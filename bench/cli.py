"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from bench.backend import running_backends
from bench.certificates import make_certificates, responder_command
from bench.errors import BenchError
from bench.generator import compile_generator
from bench.machine import facts
from bench.measures import CULVERT, MEASURES, Measure, measure_named
from bench.peers import DEFAULT_CULVERT, RIVALS, Peer, culvert_peer
from bench.processes import Child, free_port
from bench.profile import print_profile
from bench.report import json_report, text_report, write_document
from bench.rounds import Bench, take
from bench.summary import Row, summarize

ROUNDS = 9
KEYS = [measure.key for measure in MEASURES]
DONE, NOT_MEASURED, OVER, USAGE = 0, 1, 3, 2

EPILOG = f"""measures: {", ".join(KEYS)}
`python -m bench profile MEASURE` runs one of them on Culvert alone, under perf.
status: 0 measured, 1 something could not be measured, 2 wrong usage, 3 with --strict: a limit was not kept"""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; give the exit status."""
    signal.signal(signal.SIGTERM, _leave)
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps daemons, and not in everybody's path
    options = _parser().parse_intermixed_args(arguments)
    try:
        peers = _peers(options.peers, options.culvert)
        return _profile(options, peers) if options.command else _measure(options, peers)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return NOT_MEASURED
    except KeyboardInterrupt:
        return NOT_MEASURED


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Leave all contexts on TERM, so that no child stays behind."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("command", nargs="?", choices=["profile"], help="profile one measure instead of comparing")
    add("profiled", nargs="?", choices=KEYS, metavar="MEASURE")
    add("--measure", action="append", choices=KEYS, help="only this one; may be repeated")
    add(
        "--rounds",
        type=_positive,
        default=ROUNDS,
        help=f"default {ROUNDS}; at least 5 for figures to be quoted",
    )
    add("--peers", default=",".join(peer.name for peer in RIVALS), help="rivals, by comma; empty for none")
    add("--culvert", default=DEFAULT_CULVERT, metavar="COMMAND", help="CONFIG in it becomes the file's path")
    add("--share", type=float, default=1.0, help="of the usual length of a sample, e.g. 0.2 for a quick look")
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    add("--write-docs", action="store_true", help="write docs/benchmarks.md; needs all measures and peers")
    add("--strict", action="store_true", help="status 3 when a limit is not kept")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _peers(names: str, culvert: str) -> list[Peer]:
    wanted = [name for name in names.split(",") if name]
    known = {peer.name: peer for peer in RIVALS}
    if unknown := [name for name in wanted if name not in known]:
        raise BenchError(f"--peers: {', '.join(unknown)}: known are {', '.join(known)}")
    return [culvert_peer(culvert), *(known[name] for name in wanted)]


@contextlib.contextmanager
def _bench(options: argparse.Namespace, peers: Sequence[Peer]) -> Iterator[Bench]:
    """Set up what all measures share, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="culvert-bench-") as name:
        folder = Path(name)
        program = compile_generator(folder)
        responder = free_port()
        certificates = make_certificates(folder, responder)
        answering = Child("responder", responder_command(folder, responder), folder, None)
        with answering, running_backends(folder, program) as backends:
            answering.wait_until_said("waiting for OCSP client connections")
            yield Bench(folder, program, backends, certificates, peers, options.rounds, options.share)


def _measure(options: argparse.Namespace, peers: Sequence[Peer]) -> int:
    machine = facts(peers)
    _check_docs(options)
    started = time.monotonic()
    with _bench(options, peers) as bench:
        rows = [_take_aloud(bench, measure) for measure in _chosen(options.measure)]
    seconds = time.monotonic() - started
    print(text_report(rows, machine, options.rounds))
    if options.json:
        options.json.write_text(json_report(rows, machine))
    if options.write_docs:
        print(f"\nwrote {write_document(rows, machine, options.rounds, seconds)}")
    return _status(rows, options.strict)


def _check_docs(options: argparse.Namespace) -> None:
    """Refuse a page that would show less than it says."""
    whole = not options.measure and options.share >= 1.0 and options.rounds >= 5
    standard = options.culvert == DEFAULT_CULVERT and options.peers.count(",") == len(RIVALS) - 1
    if options.write_docs and not (whole and standard):
        raise BenchError("--write-docs needs all measures, all peers, 5 rounds or more, and Culvert itself")


def _chosen(keys: Sequence[str] | None) -> list[Measure]:
    return [measure for measure in MEASURES if not keys or measure.key in keys]


def _take_aloud(bench: Bench, measure: Measure) -> Row:
    started = time.monotonic()
    row = summarize(take(bench, measure), [peer.name for peer in bench.peers])
    print(f"{measure.key}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return row


def _status(rows: Sequence[Row], strict: bool) -> int:
    if any(row.result.failures for row in rows):
        return NOT_MEASURED
    over = any(verdict.word == "over" for row in rows for verdict in row.verdicts)
    return OVER if strict and over else DONE


def _profile(options: argparse.Namespace, peers: Sequence[Peer]) -> int:
    if not options.profiled:
        raise BenchError(f"profile what? One of {', '.join(KEYS)}")
    culvert = [peer for peer in peers if peer.name == CULVERT]
    with _bench(options, culvert) as bench:
        print_profile(bench, measure_named(options.profiled))
    return DONE
