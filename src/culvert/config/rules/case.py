"""What a rule is given, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from culvert.config.model import GlobalOptions, Service

Complaint = tuple[str, str] | tuple[str, str, int]
"""The attribute at whose line it is told, or "" for the line of the section; the reason; and of which value
it is told, counted from 0, where the option is repeatable.
"""


class Case(NamedTuple):
    """A service to be judged, and what it may lean on."""

    service: Service
    options: GlobalOptions
    inetd: bool
    earlier: Mapping[str, Service]  # the sections before this one, by name; the first of a name

    @property
    def homes(self) -> tuple[Service, ...]:
        """The sections that hand connections to this one by their server names, as far as there are such."""
        if self.service.client:
            return ()
        found = (self.earlier.get(line.partition(":")[0]) for line in self.service.sni)
        return tuple(home for home in found if home is not None)


Rule = tuple[tuple[str, ...], Callable[[Case], Iterator[Complaint]]]
"""What a rule reads, and the rule; it is left out when a line of one of those attributes was wrong."""

VERIFY = ("verify", "verify_chain", "verify_peer", "pin")
