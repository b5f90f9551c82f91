"""The results as a page of markdown."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping

from tests.endings.cases import CASES, Case
from tests.endings.matrix import Cell, variants_of
from tests.proxies import CLIENT_CAPABLE, Kind, Variant
from tests.proxies.configuration import Mode

Results = dict[Kind, dict[Variant, dict[str, Cell]]]

HEAD = """# How connections end

Written by `python -m tests.endings --write docs/endings.md`; do not edit. {runs} runs a cell, on loopback.
T is the peer that speaks TLS, P the peer that does not. In server mode T connects to the proxy and P is the
backend; in client mode P connects and T is the server behind. The proxies: {versions}.

A run is right when both peers saw exactly what the column *must be* says: all octets with the right SHA-256,
then that ending. A cell of the two tables sums up TLS 1.2 and 1.3, and TCP and Unix sockets on the plain
side; the tables below them have every variant. Rows in bold stand for the failures that the project started
from.
"""

RULES = """## What is right

| what happens | what the other side must see |
| --- | --- |
| P ends with FIN | all that P sent, `close_notify`, then FIN; T may go on sending |
| T ends with `close_notify` | all that T sent, then FIN; P may go on sending |
| P resets | what P had sent, then RST, and no `close_notify` |
| T resets | what T had sent, then RST |
| T ends with FIN and no `close_notify` | what T had sent, then RST: it may be a truncation |
| the same after T was sent our `close_notify` | FIN: a normal end |
| T sends a broken record | what came before, then RST |

`closeNotify = optional` makes a bare FIN of T a FIN at P. `reset = no` makes every RST of ours a FIN; there
is no `close_notify` with it, so T can still tell.

### Unix sockets

A Unix socket has no RST, and ignores `SO_LINGER`. Linux shows `ECONNRESET` to a peer only when the side that
closes has octets of that very peer unread. Culvert leaves the last octet that it has passed on in the
kernel's queue, and takes it out before a clean end; so a P that has sent anything meets `ECONNRESET` after
an abort. To a P that never sent an octet nothing more can be shown than both directions closed at once:

| | after a clean end was passed on | after an abort |
| --- | --- | --- |
| `read` | end of file | `ECONNRESET`, or end of file when P never sent anything |
| `poll` | `POLLIN`, `POLLRDHUP` | the same and `POLLHUP` |
| `write` | goes on | `EPIPE` |

So an abort is counted as right on a Unix socket when P meets `ECONNRESET`, or that hang-up before it has
ended its own direction. A silent P that only reads until the end of file cannot tell a hang-up from a clean
end: put TCP on the plain side where that matters. The other way round, a P that closes its Unix socket with
octets unread (E4, E5) is seen as a reset and passed on as one; E2 and E3 cannot be played.
"""


def document(results: Results, versions: Mapping[Kind, str], runs: int) -> str:
    """The whole page."""
    parts = [HEAD.format(runs=runs, versions=", ".join(versions.values()))]
    parts += [_summary("server", results), _summary("client", results), RULES]
    parts += [_details(kind, cells) for kind, cells in results.items()]
    return "\n".join(parts)


def _summary(mode: Mode, results: Results) -> str:
    kinds = [kind for kind in results if mode == "server" or kind in CLIENT_CAPABLE]
    rows = [["case", "what happens", "must be", *(kind.value for kind in kinds)]]
    for case in CASES:
        cells = [_sum_up(_cells(results[kind], mode, case)) for kind in kinds]
        rows.append([_name(case), case.story, _must(case), *cells])
    return f"## {mode.capitalize()} mode\n\n{_markdown(rows)}"


def _cells(results: Mapping[Variant, Mapping[str, Cell]], mode: Mode, case: Case) -> list[Cell]:
    return [cells[case.name] for v, cells in results.items() if v.mode == mode and case.name in cells]


def _name(case: Case) -> str:
    return f"**{case.name}**" if case.measured else case.name


def _must(case: Case) -> str:
    sides = (("T", case.tls_sees), ("P", case.plain_sees))
    return "; ".join(f"{side}: {expected.words}" for side, expected in sides if expected)


def _sum_up(cells: Iterable[Cell]) -> str:
    right, wrong = 0, Counter[str]()
    for cell in cells:
        right += cell.right
        wrong.update(cell.wrong)
    runs = right + wrong.total()
    if not wrong:
        return f"{right}/{runs}"
    kinds = Counter[str]()
    for what, count in wrong.items():
        kinds[re.sub(r"\d[\d,]* of", "part of", what)] += count
    return f"**{right}/{runs}** " + "<br>".join(what for what, _ in kinds.most_common(2))


def _details(kind: Kind, results: Mapping[Variant, Mapping[str, Cell]]) -> str:
    variants = variants_of(kind)
    rows = [["case", *(f"{v.mode} {v.version.removeprefix('TLSv')} {v.sockets}" for v in variants)]]
    rows += [[_name(case), *(_count(results[v].get(case.name)) for v in variants)] for case in CASES]
    return f"## {kind.value}, every variant\n\nRight runs of all runs.\n\n{_markdown(rows)}"


def _count(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    text = f"{cell.right}/{cell.runs}"
    return f"**{text}**" if cell.wrong else text


def _markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines) + "\n"


def version_of(kind: Kind) -> str:
    """Name and version of a proxy, as it says itself."""
    command = {
        Kind.CULVERT: [
            str(Kind.CULVERT.program),
            "-c",
            "import culvert; print('culvert', culvert.__version__)",
        ],
        Kind.STUNNEL: [str(Kind.STUNNEL.program), "-version"],
        Kind.HITCH: [str(Kind.HITCH.program), "--version"],
        Kind.HAPROXY: [str(Kind.HAPROXY.program), "-v"],
    }[kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    number = re.search(r"\d+\.\d+(?:\.\d+)*", done.stdout + done.stderr)
    return f"{kind.value} {number.group() if number else '?'}"
