"""Reaching the far end of a service: several addresses in turn, names looked up late where asked."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from culvert.engine import Carrier, DialFailed
from culvert.errors import SystemRefusal, TunnelError
from culvert.net import addresses, names
from culvert.net.addresses import Endpoint
from culvert.observe.log import ERR, INFO
from culvert.tunnel.balance import Balance
from culvert.tunnel.dialling import Dialler, failure_line
from culvert.tunnel.health import Health
from culvert.tunnel.lookups import Lookups
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
        self.known = plan.elsewhere if elsewhere else plan.destinations
        self._addresses = plan.service.redirect if elsewhere else plan.service.connect
        # Workers must not all begin with the same address.
        self._turns = itertools.count(secrets.randbelow(len(self.known)) if self.known else 0)
        self._health = Health()
        self._balance = Balance(plan.balance) if plan.balance is not None else None
        self._lookups: Lookups | None = None

    def start(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        """Keep the names of the configuration fresh from now on.

        changed: is called when `known` has become something else.
        """
        if self._service.delay or not names.of(self._addresses):
            return

        def replace(endpoints: tuple[Endpoint, ...]) -> None:
            self.known = endpoints
            changed()

        self._lookups = Lookups(self._addresses, loop, replace)
        self._lookups.start(self.known)

    def stop(self) -> None:
        """Look up no more."""
        if self._lookups is not None:
            self._lookups.stop()

    async def dial(
        self,
        carrier: Carrier,
        logged: int,
        say: Say,
        client: bytes,
        instead: Sequence[Endpoint] | None = None,
        prefer: Prefer | None = None,
        tried: Sequence[Endpoint] = (),
    ) -> Endpoint:
        """Connect the carrier's far side, and say whereto.  Raises Unreachable when every address failed.

        logged: the level up to which there is a log; say: takes its lines.  client: its packed address.
        instead: where to connect to instead of the far end of the configuration.  prefer: finds the address
        to begin with, if any.  tried: what has failed already for this tunnel.
        """
        found = await self._destinations(carrier, say) if instead is None else instead
        if not tried:
            order = self._order(found, say, prefer)
            reached = await self._first_of(carrier, order, client, logged, say)
            if reached is not None:
                return reached
            tried = found
        if instead is None and self._lookups is not None:
            await carrier.outside(self._lookups.now())
            fresh = [each for each in self.known if each not in tried]
            reached = await self._first_of(carrier, fresh, client, logged, say)
            if reached is not None:
                return reached
        say(ERR, _NO_MORE)
        raise Unreachable(_NO_MORE)

    def left(self, carrier: Carrier) -> None:
        """A tunnel is over that may have been dialled here."""
        if self._balance is not None:
            self._balance.left(carrier.handle)

    def say_failure(self, failure: DialFailed, say: Say) -> Sequence[Endpoint]:
        """The line for the only address of this far end, when it failed without us; returns the address."""
        say(ERR, failure_line(self.known[0], failure))
        return self.known[:1]

    def session_key(self, endpoint: Endpoint) -> str:
        """Under what TLS sessions with this address are remembered: all together where it is the only one."""
        return "*" if len(self.known) == 1 else endpoint.text

    async def _first_of(
        self, carrier: Carrier, endpoints: Sequence[Endpoint], client: bytes, logged: int, say: Say
    ) -> Endpoint | None:
        """The first that takes the connection."""
        for endpoint in endpoints:
            if self._balance is not None:
                self._balance.chosen(carrier.handle, endpoint)
            try:
                failure = await self._dialler.connect(carrier, endpoint, client, logged, say)
            except LookupError:
                continue
            if failure is None:
                if self._health.worked(endpoint) and len(endpoints) > 1:
                    say(INFO, f"failover: {endpoint.text} works again")
                return endpoint
            seconds = self._health.failed(endpoint)
            if len(endpoints) > 1:
                say(INFO, f"failover: {endpoint.text} is tried last for {seconds:g} second(s)")
        return None

    async def _destinations(self, carrier: Carrier, say: Say) -> Sequence[Endpoint]:
        if self.known:
            return self.known
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

    def _order(self, endpoints: Sequence[Endpoint], say: Say, prefer: Prefer | None) -> Sequence[Endpoint]:
        first = None if prefer is None else prefer(endpoints)
        if first is not None:
            return self._health.order(_beginning_with(first, endpoints))
        return self._health.order(self._in_turn(endpoints, say))

    def _in_turn(self, endpoints: Sequence[Endpoint], say: Say) -> Sequence[Endpoint]:
        if len(endpoints) == 1:
            return endpoints
        if self._balance is not None:
            order = self._balance.order(endpoints)
            say(INFO, f"failover: least connections, starting at entry #{endpoints.index(order[0])}")
            return order
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
