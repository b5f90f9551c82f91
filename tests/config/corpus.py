"""The corpora of configurations: broken.txt, accepted.txt; their form is told at their top."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent


class Case(NamedTuple):
    """One configuration, what stunnel says to it, and what Culvert says."""

    name: str
    text: str
    original: str  # "refused" or "accepted", and after a colon why it differs from ours
    lines: tuple[str, ...]

    @property
    def accepted_by_the_original(self) -> bool:
        return self.original.startswith("accepted")


def read(name: str) -> list[Case]:
    """Return the cases of a corpus."""
    _head, *parts = re.split(r"^=== ", (HERE / name).read_text(), flags=re.MULTILINE)
    return [_case(part) for part in parts]


def _case(part: str) -> Case:
    name, body = part.split("\n", 1)
    text, rest = re.split(r"^--- ", body, maxsplit=1, flags=re.MULTILINE)
    original, *lines = rest.strip("\n").split("\n")
    return Case(name, text, original, tuple(lines))


BROKEN = read("broken.txt")
ACCEPTED = read("accepted.txt")
