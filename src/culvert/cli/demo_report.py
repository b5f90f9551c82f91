"""What the demonstration prints: facts out of a tunnel's log lines, side by side for its two connections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

END_OF_TUNNEL = r"Connection (closed|reset)"

# Where each fact stands in the log of a client-mode tunnel.
FACTS: Mapping[str, str] = {
    "protocol": r"(\S+) ciphersuite: ",
    "cipher": r" ciphersuite: (\S+)",
    "group": r"Negotiated TLSv1\.3 group: (\S+)|Peer temporary key: (?:ECDH, )?([^,]+)",
    "session": r"TLS connected: (new session negotiated|previous session reused)",
    "certificate": r"Certificate accepted at depth=0: (.+)",
    "bytes sent": r"Connection closed: (\d+) byte",
    "bytes received": r"sent to TLS, (\d+) byte",
}


class Passage(NamedTuple):
    """One request that went through both tunnels."""

    facts: Mapping[str, str]
    milliseconds: float
    """From the connection to the client-mode tunnel until the end of the reply."""


def facts(log: Iterable[str]) -> dict[str, str]:
    """Pick the facts out of one connection's log lines; a fact that is not there is left out."""
    found: dict[str, str] = {}
    for line in log:
        for name, pattern in FACTS.items():
            if match := re.search(pattern, line):
                found.setdefault(name, next(filter(None, match.groups())))
    return found


def table(passages: Sequence[Passage]) -> str:
    """Return the facts as lines, one column for each passage."""
    rows = [("", *(f"connection {number}" for number, _ in enumerate(passages, 1)))]
    rows += [(name, *(passage.facts.get(name, "-") for passage in passages)) for name in FACTS]
    rows += [("milliseconds", *(f"{passage.milliseconds:.1f}" for passage in passages))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
