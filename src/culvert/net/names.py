"""Names of far ends, and for how long what they mean is good.

The addresses always come from the system's resolver, so /etc/hosts and nsswitch.conf count as everywhere.
getaddrinfo(3) does not tell a time to live; for that DNS is asked once more (dnspython), and where DNS knows
nothing of a name there is none.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from culvert.config.values import Address
from culvert.errors import SystemRefusal
from culvert.net import addresses
from culvert.net.addresses import Endpoint

SHORTEST: Final = 1.0
LONGEST: Final = 3600.0
"""Seconds; between them lies what is waited until a name is looked up again, whatever DNS says."""

_PATIENCE: Final = 5.0
_HOSTS: Final = Path("/etc/hosts")
_RESOLVER: Final = "dns.resolver"


class Found(NamedTuple):
    """What names mean now, nothing when one of them is not known; and for how many seconds, if DNS says."""

    endpoints: tuple[Endpoint, ...]
    seconds: float | None


def of(targets: Iterable[Address]) -> tuple[Address, ...]:
    """Those that have to be looked up: neither a path nor a number."""
    return tuple(each for each in targets if each.host is not None and not addresses.is_numeric(each.host))


def load(targets: Iterable[Address]) -> None:
    """Import what asks DNS if a name may need it: now, since a jail has no modules, nor a loop the time."""
    if need_dns(targets):
        importlib.import_module(_RESOLVER)


def need_dns(targets: Iterable[Address]) -> bool:
    """Whether one of the names is not in /etc/hosts."""
    wanted = of(targets)
    if not wanted:
        return False
    local = _local_names()
    return any(each.host not in local for each in wanted)


def look_up(targets: Sequence[Address]) -> Found:
    """Look names up; blocks, for threads."""
    try:
        found = [each for target in targets for each in addresses.resolve(target, passive=False)]
    except SystemRefusal:
        return Found((), None)
    times = [_seconds(str(each.host)) for each in of(targets)]
    known = [each for each in times if each is not None]
    return Found(tuple(dict.fromkeys(found)), min(known) if known else None)


def _seconds(name: str) -> float | None:
    """The time to live that DNS gives to a name, within bounds; None when it gives none."""
    resolver = sys.modules.get(_RESOLVER)
    if resolver is None or name in _local_names():
        return None
    times = []
    for kind in ("A", "AAAA"):
        with contextlib.suppress(Exception):  # whatever DNS says: the addresses come from elsewhere
            answer = resolver.resolve(name, kind, lifetime=_PATIENCE, search=True)
            times += [each.ttl for each in answer.response.answer]
    return min(max(min(times), SHORTEST), LONGEST) if times else None


def _local_names() -> frozenset[str]:
    """The names of /etc/hosts, which DNS is not asked for.

    It is read again when it has changed only: a loop that takes up a service asks, and where advertisements
    are blocked by it the file is long.
    """
    try:
        facts = _HOSTS.stat()
        return _names_in(_HOSTS, (facts.st_ino, facts.st_size, facts.st_mtime_ns))
    except OSError:
        return frozenset()


@functools.lru_cache(maxsize=1)
def _names_in(hosts: Path, _identity: tuple[int, ...]) -> frozenset[str]:
    lines = hosts.read_text(errors="replace").splitlines()
    return frozenset(word for line in lines for word in line.partition("#")[0].split()[1:])
