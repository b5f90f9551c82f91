"""The table, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.measures import CULVERT, Kind
from bench.peers import RIVALS
from bench.rounds import Result
from bench.summary import Row, Spread, Verdict

FAILED = "failed"
EMPTY = "-"


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Lay the rows that compare peers out as text, header first; nothing when there is none."""
    names = [CULVERT, *(peer.name for peer in RIVALS)]
    header = [
        "measure",
        "unit",
        *names,
        *(f"/{name}" for name in names[1:]),
        "/stunnel, limit",
        "/best, limit",
    ]
    body = [_line(row, names) for row in rows if row.result.measure.kind is not Kind.CROWD]
    return [header, *body] if body else []


def _line(row: Row, names: Sequence[str]) -> list[str]:
    return [
        row.result.measure.title,
        row.result.measure.unit,
        *(figure(row, name) for name in names),
        *(ratio_text(row.ratios.get(name)) for name in names[1:]),
        *(verdict_text(verdict) for verdict in row.verdicts),
    ]


def figure(row: Row, name: str) -> str:
    """Print one contender's median, in three or more digits; a failure as such."""
    if name in row.result.failures:
        return FAILED
    value = row.values.get(name)
    return EMPTY if value is None else number(value.median)


def number(value: float) -> str:
    """Print a figure with a precision that suits its size."""
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"


def ratio_text(ratio: Spread | None) -> str:
    """Print the median of a ratio and, in brackets, the rounds' lowest and highest."""
    return EMPTY if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def verdict_text(verdict: Verdict) -> str:
    """Print the ratio that counts, its limit, and whether it was kept."""
    if verdict.limit is None:
        return EMPTY
    ratio = EMPTY if verdict.ratio is None else f"{verdict.ratio.median:.2f}"
    sign = ">" if verdict.word == "over" else "<="
    return f"{ratio} {sign} {verdict.limit:.2f} {verdict.word}"


def _with_unit(row: Row, name: str) -> str:
    text = figure(row, name)
    return text if text in (FAILED, EMPTY) else f"{text} {row.result.measure.unit}"


def text_table(table: Sequence[Sequence[str]]) -> str:
    """Align cells for a terminal: the first column to the left, figures to the right."""
    if not table:
        return ""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        first, *rest = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def markdown_table(table: Sequence[Sequence[str]]) -> str:
    """Write cells as a Markdown table."""
    if not table:
        return ""
    header, *body = table
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *body))


def crowd_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Say what many open connections cost, one line."""
    for row in rows:
        if row.result.measure.kind is Kind.CROWD:
            parts = [f"{name}: {_with_unit(row, name)}" for name in row.values]
            verdict = row.verdicts[0]
            yield (
                f"{CULVERT} alone, {row.result.measure.title}: {', '.join(parts)}; "
                f"ratio {ratio_text(verdict.ratio)}, limit <= {verdict.limit}: {verdict.word}"
            )


def facts_lines(results: Sequence[Result]) -> Iterator[str]:
    """Say what was negotiated in each measure, once where all peers agree."""
    for result in results:
        by_facts: dict[str, list[str]] = {}
        for name, facts in result.facts.items():
            by_facts.setdefault(str(facts), []).append(name)
        for facts_text, names in by_facts.items():
            yield f"{result.measure.key}: {facts_text} ({', '.join(names)})"


def failure_lines(results: Sequence[Result]) -> Iterator[str]:
    """Say who failed where, and why."""
    for result in results:
        for name, reason in result.failures.items():
            yield f"{result.measure.key}: {name}: {reason}"
