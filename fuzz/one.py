"""One script under atheris, in a process of its own: python -m fuzz.one NAME FOLDER... [-OPTION...]"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["culvert.negotiate"]):
    from fuzz.contract import TARGETS, check


def main() -> None:
    """Does not return: libFuzzer ends the process."""
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: check(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
