"""Copy the ratios of docs/benchmarks.md into the README, between its markers; run it after `make bench`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- numbers -->", "<!-- /numbers -->"
COLUMNS = ("/stunnel", "/haproxy", "/hitch")


def rows(page: str) -> list[list[str]]:
    """Return the cells of the page's first table that has all COLUMNS, its head first."""
    lines = page.splitlines()
    first = next(
        n for n, line in enumerate(lines) if line.startswith("|") and all(each in line for each in COLUMNS)
    )
    table = [lines[first], *lines[first + 2 :]]
    found = []
    for line in table:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def summary(page: str) -> str:
    """Return the README's table: a measure and the median ratio to each peer in every row."""
    head, *body = rows(page)
    places = [head.index(each) for each in COLUMNS]
    lines = ["| Culvert's cost / theirs | stunnel | haproxy | hitch |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {row[0]} | {' | '.join(row[at].split(' ')[0] for at in places)} |" for row in body]
    return "\n".join(lines)


def main() -> None:
    """Rewrite the README."""
    readme = ROOT / "README.md"
    table = summary((ROOT / "docs" / "benchmarks.md").read_text())
    fresh = f"{BEGIN}\n{table}\n{END}"
    readme.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: fresh, readme.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    main()
