"""From samples to figures: medians, ratios pair by pair within a round, and verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.measures import CROWDS, CULVERT, Kind
from bench.peers import RIVALS
from bench.rounds import Result, crowd_name

STUNNEL = "stunnel"
EVENT_DRIVEN = ("haproxy", "hitch")  # "the best of" these has a limit of its own


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """A ratio beside its limit; ``ratio`` is None where it could not be measured."""

    ratio: Spread | None
    limit: float | None
    against: str

    @property
    def word(self) -> str:
        """Say PASS, over, not measured, or nothing where there is no limit."""
        if self.limit is None:
            return ""
        if self.ratio is None:
            return "not measured"
        return "PASS" if self.ratio.median <= self.limit else "over"


@dataclass(frozen=True)
class Row:
    """One measure, ready for printing."""

    result: Result
    values: dict[str, Spread | None]  # by contender, in the measure's unit
    ratios: dict[str, Spread | None]  # Culvert to each rival
    verdicts: tuple[Verdict, ...]


def summarize(result: Result, names: Sequence[str]) -> Row:
    """Work out one row of the table; ``names`` are the peers that take part, Culvert included."""
    if result.measure.kind is Kind.CROWD:
        return _crowd_row(result)
    values = {name: spread(result.values(name)) for name in names}
    rivals = [peer.name for peer in RIVALS if peer.name in names]
    ratios = {name: paired_ratio(result, CULVERT, name) for name in rivals}
    return Row(result, values, ratios, _verdicts(result, ratios))


def spread(values: Sequence[float]) -> Spread | None:
    """Give median, minimum and maximum; None of nothing."""
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def paired_ratio(result: Result, name: str, other: str) -> Spread | None:
    """Divide two contenders round by round: what the machine did in a round hit both."""
    if name in result.failures or other in result.failures:
        return None
    return spread([row[name] / row[other] for row in result.rounds if name in row and row.get(other, 0) > 0])


def worst(ratios: Sequence[Spread | None]) -> Spread | None:
    """Choose the ratio against the best of several rivals, which is the highest one."""
    return max((ratio for ratio in ratios if ratio), key=lambda ratio: ratio.median, default=None)


def _verdicts(result: Result, ratios: dict[str, Spread | None]) -> tuple[Verdict, ...]:
    measure = result.measure
    rivals = [name for name in EVENT_DRIVEN if name in ratios]
    best = worst([ratios[name] for name in rivals])
    # A rival that failed might have been the best: its absence must not look like a success.
    if any(ratios[name] is None for name in rivals):
        best = None
    return (
        Verdict(ratios.get(STUNNEL), measure.limit_stunnel, STUNNEL),
        Verdict(best, measure.limit_best, "the best of " + " and ".join(rivals or EVENT_DRIVEN)),
    )


def _crowd_row(result: Result) -> Row:
    few, many = (crowd_name(crowd) for crowd in CROWDS)
    ratio = paired_ratio(result, many, few)
    values = {name: spread(result.values(name)) for name in (few, many)}
    return Row(result, values, {}, (Verdict(ratio, result.measure.limit_crowd, few),))
