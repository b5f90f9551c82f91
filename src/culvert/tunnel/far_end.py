"""Reaching the far end of a service: several addresses in turn, names looked up late where asked."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from culvert.engine import Carrier, DialFailed
from culvert.errors import SystemRefusal, TunnelError
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.observe.log import ERR, INFO
from culvert.tunnel.dialling import Dialler, failure_line
from culvert.tunnel.plan import Say, ServicePlan

_NO_MORE: Final = "No more addresses to connect"


Prefer = Callable[[Sequence[Endpoint]], Endpoint | None]
"""Takes the addresses of a far end, gives one of them or None."""


class Unreachable(TunnelError):
    """No address of the far end took the connection."""

    def __init__(self, reason: str) -> None:
        super().__init__("connect", reason)
        self.args = (reason,)


class FarEnd:
    """Where the tunnels of one service lead; remembers whose turn it is.

    elsewhere: where those lead whose peer did not pass the checks.
    """

    def __init__(self, plan: ServicePlan, *, elsewhere: bool = False) -> None:
        self._service = plan.service
        self._dialler = Dialler(plan)
        passing = None if elsewhere else plan.passing
        self._passing = passing if passing is not None and passing.to_meant else None
        self._known = plan.elsewhere if elsewhere else plan.destinations
        self._addresses = plan.service.redirect if elsewhere else plan.service.connect
        # Workers must not all begin with the same address.
        start = secrets.randbelow(len(self._known)) if self._known else 0
        self._turns = itertools.count(start)
        self._only = len(self._known) == 1

    async def dial(
        self,
        carrier: Carrier,
        logged: int,
        say: Say,
        client: bytes,
        instead: Sequence[Endpoint] | None = None,
        prefer: Prefer | None = None,
    ) -> Endpoint:
        """Connect the carrier's far side, and say whereto.  Raises Unreachable when every address failed.

        logged: the level up to which there is a log; say: takes its lines.  client: its packed address.
        instead: where to connect to instead of the far end of the configuration.  prefer: finds the address
        to begin with, if any.
        """
        found = await self._destinations(carrier, say) if instead is None else instead
        first = None if prefer is None else prefer(found)
        for endpoint in self._in_turn(found, say) if first is None else _beginning_with(first, found):
            try:
                failure = await self._dialler.connect(carrier, endpoint, client, logged, say)
            except LookupError:
                continue
            if failure is None:
                return endpoint
        say(ERR, _NO_MORE)
        raise Unreachable(_NO_MORE)

    def say_failure(self, failure: DialFailed, say: Say) -> None:
        """The lines for the only address of this far end, when it failed without us."""
        say(ERR, failure_line(self._known[0], failure))
        say(ERR, _NO_MORE)

    def session_key(self, endpoint: Endpoint) -> str:
        """Under what TLS sessions with this address are remembered: all together where it is the only one."""
        return "*" if self._only else endpoint.text

    async def _destinations(self, carrier: Carrier, say: Say) -> Sequence[Endpoint]:
        if self._known:
            return self._known
        if self._passing is not None:
            return (self._passing.meant(carrier),)
        found: list[Endpoint] = []
        for address in self._addresses:
            try:
                found += await carrier.outside(addresses.resolve_in_thread(address))
            except SystemRefusal as refusal:
                say(ERR, str(refusal))
        if not found:
            say(ERR, "No remote host resolved")
            raise Unreachable("no remote host resolved")
        return found

    def _in_turn(self, endpoints: Sequence[Endpoint], say: Say) -> Sequence[Endpoint]:
        if len(endpoints) == 1:
            return endpoints
        if self._service.failover == "prio":
            say(INFO, "failover: priority, starting at entry #0")
            return endpoints
        first = next(self._turns) % len(endpoints)
        say(INFO, f"failover: round-robin, starting at entry #{first}")
        return (*endpoints[first:], *endpoints[:first])


def _beginning_with(first: Endpoint, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
    """These in the order of a ring."""
    at = endpoints.index(first)
    return (*endpoints[at:], *endpoints[:at])
