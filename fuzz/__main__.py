"""Fuzz scripts with atheris, one after the other: python -m fuzz [-n INPUTS] [-s SECONDS] [NAME...]"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from fuzz.contract import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path(__file__).parents[1] / "build" / "fuzz"
LONGEST = 100_000  # octets: more than the budget of a tunnel


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("-n", "--inputs", type=int, default=0, help="for each script; 0: as many as fit")
    parser.add_argument("-s", "--seconds", type=int, default=10, help="for each script; 0: no limit")
    parser.add_argument("names", nargs="*", help="protocol-mode-hook, or the beginning of it; all by default")
    return parser.parse_args()


def _fuzz(name: str, inputs: int, seconds: int) -> bool:
    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "fuzz.one", name, str(folder), str(CORPUS / name),
        f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={folder}/",
        "-print_final_stats=1", f"-max_total_time={seconds}", f"-runs={inputs or -1}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    executed = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{name}: {executed[0] if executed else '?'} inputs, {'ok' if not done.returncode else 'FAILED'}")
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-8000:], sep="\n")
    return not done.returncode


def main() -> int:
    """Status 1 when an input breaks the contract; it lies in build/fuzz/NAME then."""
    options = _options()
    wanted = [each for each in TARGETS if not options.names or each.startswith(tuple(options.names))]
    held = [_fuzz(each, options.inputs, options.seconds) for each in wanted]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
