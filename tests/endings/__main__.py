"""Print the table of endings for several proxies, and write it into a file.

python -m tests.endings [--runs 20] [--proxies culvert,stunnel,hitch,haproxy] [--write docs/endings.md]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.endings.matrix import run_variant, variants_of
from tests.endings.table import Results, document, version_of
from tests.pki import Pki
from tests.proxies import Kind


def main() -> int:
    """Run every case that each proxy can take.  Status 1 when a cell of Culvert is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.endings", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs per cell (default: 20)")
    parser.add_argument("--proxies", default=",".join(kind.value for kind in Kind), help="default: all four")
    parser.add_argument("--write", type=Path, help="file for the table, beside standard output")
    arguments = parser.parse_args()
    kinds = [Kind(name) for name in arguments.proxies.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        results = measure(kinds, Pki(Path(folder)).server.both, arguments.runs)
    text = document(results, {kind: version_of(kind) for kind in kinds}, arguments.runs)
    print(text)
    if arguments.write:
        arguments.write.write_text(text)
    wrong = [
        cell for cells in results.get(Kind.CULVERT, {}).values() for cell in cells.values() if cell.wrong
    ]
    return 1 if wrong else 0


def measure(kinds: list[Kind], certificate: Path, runs: int) -> Results:
    """Run everything; a line on standard error for each variant shows how far it is."""
    results: Results = {}
    for kind in kinds:
        results[kind] = {}
        for variant in variants_of(kind):
            print(f"{kind.value} {variant} ...", file=sys.stderr, flush=True)
            results[kind][variant] = run_variant(kind, variant, certificate, runs)
    return results


if __name__ == "__main__":
    sys.exit(main())
