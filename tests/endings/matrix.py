"""Run the cases: every case is a cell per variant, every cell is a number of runs through one proxy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product, starmap
from pathlib import Path

from tests.endings.cases import CASES, Case
from tests.endings.judging import Expected, Run, Script
from tests.proxies import CLIENT_CAPABLE, Crossing, Deadline, Kind, PeerTrouble, Seen, Variant
from tests.proxies.configuration import Mode
from tests.proxies.crossing import Sockets
from tests.proxies.tls import VERSIONS

RUN_SECONDS = 15.0
AT_ONCE = 10
PATIENT_AT_ONCE = 20
"""Runs at the same time, of cases that mostly wait."""
ENOUGH_WRONG = 3
"""With that many wrong runs that all waited for their deadline, the rest of the cell is not run."""

MODES: tuple[Mode, ...] = ("server", "client")
SOCKETS: tuple[Sockets, ...] = ("tcp", "unix")
VARIANTS = tuple(starmap(Variant, product(MODES, VERSIONS, SOCKETS)))


@dataclass
class Cell:
    """What came of the runs of one case in one variant."""

    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def runs(self) -> int:
        return self.right + self.wrong.total()

    def add(self, verdict: str | None) -> None:
        if verdict is None:
            self.right += 1
        else:
            self.wrong[verdict] += 1

    def __str__(self) -> str:
        seen = "; ".join(f"{count} x {what}" for what, count in self.wrong.most_common(5))
        return f"{self.right} of {self.runs} right" + (f": {seen}" if seen else "")


def variants_of(kind: Kind) -> tuple[Variant, ...]:
    """The variants that this proxy can be."""
    return tuple(v for v in VARIANTS if v.mode == "server" or kind in CLIENT_CAPABLE)


def cases_of(variant: Variant) -> tuple[Case, ...]:
    """The cases that can be played in this variant."""
    return tuple(case for case in CASES if case.unix or variant.sockets == "tcp")


def run_variant(
    kind: Kind, variant: Variant, certificate: Path, runs: int, cases: Iterable[Case] | None = None
) -> dict[str, Cell]:
    """Start the proxy once and run the cases through it.  Returns the cells by the name of the case."""
    with Crossing(kind, variant, certificate) as crossing:
        chosen = cases_of(variant) if cases is None else cases
        return {case.name: run_cell(crossing, case, runs) for case in chosen}


def run_cell(crossing: Crossing, case: Case, runs: int) -> Cell:
    """Run one case that many times, some at once.  A cell that is hopeless and slow is cut short."""
    cell = Cell()
    at_once = PATIENT_AT_ONCE if case.patient else AT_ONCE
    with ThreadPoolExecutor(at_once) as pool:
        left = runs
        while left and not _hopeless(cell):
            batch = min(left, at_once)
            left -= batch
            for verdict in pool.map(lambda _: judge(crossing, case), range(batch)):
                cell.add(verdict)
    return cell


def _hopeless(cell: Cell) -> bool:
    return sum(count for what, count in cell.wrong.items() if "deadline" in what) >= ENOUGH_WRONG


def judge(crossing: Crossing, case: Case, seconds: float = RUN_SECONDS) -> str | None:
    """Run a case once.  None when both peers saw what they must, else what was seen instead."""
    try:
        with crossing.pair(tls_buffer=case.tls_buffer, plain_buffer=case.plain_buffer) as (tls, plain):
            run = Run(crossing, tls, plain, Deadline(seconds))
            with ThreadPoolExecutor(1) as other:
                future = other.submit(attempt, case.plain, run)
                tls_saw = attempt(case.tls, run)
                plain_saw = future.result()
    except (PeerTrouble, OSError) as error:
        return f"no connection: {error}"
    return "; ".join(_wrongs(case, tls_saw, plain_saw)) or None


def attempt(script: Script, run: Run) -> Seen | str | None:
    """Run one peer's script; trouble on the way is its result."""
    try:
        return script(run)
    except (PeerTrouble, OSError) as error:
        run.give_up()
        return str(error)


def _wrongs(case: Case, tls_saw: Seen | str | None, plain_saw: Seen | str | None) -> Iterator[str]:
    sides: tuple[tuple[str, Expected | None, Seen | str | None], ...] = (
        ("T", case.tls_sees, tls_saw),
        ("P", case.plain_sees, plain_saw),
    )
    for side, expected, saw in sides:
        if isinstance(saw, str):
            yield f"{side}: {saw}"
        elif expected and saw and (what := expected.wrong(saw)):
            yield f"{side}: {what}"
