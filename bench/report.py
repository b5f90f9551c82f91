"""What is printed at the end, as text, as JSON, and as the page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.peers import ROOT
from bench.rounds import Result
from bench.summary import Row, Spread
from bench.table import cells, crowd_lines, facts_lines, failure_lines, markdown_table, text_table

DOCUMENT = ROOT / "docs" / "benchmarks.md"

_PAGE = """\
# Benchmarks

This page is written by `python -m bench --write-docs`; no figure in it was put there by hand.

## Measure again

`make bench` installs stunnel4, haproxy, hitch and nginx from Debian, and measures; it takes
{minutes} minutes or so. `python -m bench --help` shows how to run one measure, fewer rounds, or
another build of Culvert. [How it works](../bench/README.md).

## Figures

CPU time is user and system time of all of a proxy's processes, per unit of work. Every round takes
one sample of each program, in turn; figures are medians of {rounds} rounds. A ratio is Culvert's
figure divided by the other program's of the same round: the median, and in brackets the lowest and
highest round. Below 1.00 Culvert needs less. "The best" is whichever of haproxy and hitch needs
less in that row. A limit that was not kept says "over".

{table}

{crowd}

{failures}
## Machine

{machine}

Negotiated, the same for all programs of a measure:

{facts}
"""


def text_report(rows: Sequence[Row], machine: Mapping[str, str], rounds: int) -> str:
    """Compose the report for a terminal."""
    results = [row.result for row in rows]
    parts = [
        "  ".join(f"{name} {value}" for name, value in machine.items()),
        "\n".join(facts_lines(results)),
        f"medians of {rounds} rounds; ratio: culvert / peer within a round, median (lowest-highest)",
        text_table(cells(rows)),
        "\n".join(crowd_lines(rows)),
        "\n".join(f"failed: {line}" for line in failure_lines(results)),
    ]
    return "\n\n".join(part for part in parts if part)


def json_report(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """Compose the same with every sample."""
    return json.dumps({"machine": dict(machine), "measures": [_measure(row) for row in rows]}, indent=1)


def write_document(rows: Sequence[Row], machine: Mapping[str, str], rounds: int, seconds: float) -> Path:
    """Write the page of the documentation and give its path."""
    results: list[Result] = [row.result for row in rows]
    failures = list(failure_lines(results))
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(
        _PAGE.format(
            minutes=max(1, round(seconds / 60)),
            rounds=rounds,
            table=markdown_table(cells(rows)),
            crowd="\n\n".join(crowd_lines(rows)),
            failures="Not measured:\n\n" + _listed(failures) + "\n" if failures else "",
            machine=_listed([f"{name}: {value}" for name, value in machine.items()]),
            facts=_listed(list(facts_lines(results))),
        )
    )
    return DOCUMENT


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _measure(row: Row) -> dict[str, object]:
    result = row.result
    return {
        "key": result.measure.key,
        "title": result.measure.title,
        "unit": result.measure.unit,
        "rounds": result.rounds,
        "values": {name: _spread(value) for name, value in row.values.items()},
        "ratios": {name: _spread(value) for name, value in row.ratios.items()},
        "verdicts": [
            {"against": v.against, "ratio": _spread(v.ratio), "limit": v.limit, "verdict": v.word}
            for v in row.verdicts
        ],
        "facts": {name: asdict(facts) for name, facts in result.facts.items()},
        "failures": result.failures,
    }


def _spread(value: Spread | None) -> dict[str, float] | None:
    return None if value is None else asdict(value)
