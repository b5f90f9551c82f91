"""Reaching the far end of a service: several addresses in turn, names looked up late where asked."""

from __future__ import annotations

import asyncio
import errno
import itertools
import secrets
import socket
import time
from collections.abc import Sequence
from typing import Final

from culvert.engine import Carrier, Cause, DialFailed, Side
from culvert.errors import SystemRefusal, TunnelError
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.observe.log import DEBUG, ERR, INFO, NOTICE
from culvert.tunnel.plan import Say, ServicePlan

# A Unix socket whose backlog is full answers EAGAIN at once, where TCP would wait (connect(2)).
_BACKLOG_PAUSE: Final = 0.05

_NO_MORE: Final = "No more addresses to connect"


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
        self._plan = plan
        self._service = plan.service
        self._known = plan.elsewhere if elsewhere else plan.destinations
        self._addresses = plan.service.redirect if elsewhere else plan.service.connect
        # Workers must not all begin with the same address.
        start = secrets.randbelow(len(self._known)) if self._known else 0
        self._turns = itertools.count(start)
        self._only = len(self._known) == 1

    async def dial(
        self, carrier: Carrier, logged: int, say: Say, instead: Sequence[Endpoint] | None = None
    ) -> Endpoint:
        """Connect the carrier's far side, and say whereto.  Raises Unreachable when every address failed.

        logged: the level up to which there is a log; say: takes its lines.  instead: where to connect to
        instead of the far end of the configuration.
        """
        found = await self._destinations(carrier, say) if instead is None else instead
        for endpoint in self._in_turn(found, say):
            if await self._try(carrier, endpoint, logged, say):
                return endpoint
        say(ERR, _NO_MORE)
        raise Unreachable(_NO_MORE)

    def say_failure(self, failure: DialFailed, say: Say) -> None:
        """The lines for the only address of this far end, when it failed without us."""
        say(ERR, _failure_line(self._known[0], failure))
        say(ERR, _NO_MORE)

    def session_key(self, endpoint: Endpoint) -> str:
        """Under what TLS sessions with this address are remembered: all together where it is the only one."""
        return "*" if self._only else endpoint.text

    async def _destinations(self, carrier: Carrier, say: Say) -> Sequence[Endpoint]:
        if self._known:
            return self._known
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

    async def _try(self, carrier: Carrier, endpoint: Endpoint, logged: int, say: Say) -> bool:
        source = self._source(endpoint)
        if source is None:
            say(DEBUG, f"s_connect: {endpoint.text} is of another address family than local")
            return False
        if logged >= INFO:
            say(INFO, f"s_connect: connecting {endpoint.text}")
        try:
            await self._dial(carrier, endpoint, source)
        except DialFailed as failure:
            say(ERR, _failure_line(endpoint, failure))
            return False
        if logged >= NOTICE:
            say(NOTICE, f"s_connect: connected {endpoint.text}")
            say(NOTICE, f"Service [{self._service.name}] connected remote server from {_own(carrier)}")
        return True

    async def _dial(self, carrier: Carrier, endpoint: Endpoint, source: bytes) -> None:
        timeout = self._service.timeout_connect
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return await carrier.dial(endpoint.packed, source, self._plan.dial_options, timeout)
            except DialFailed as failure:
                if failure.errno != errno.EAGAIN or endpoint.family != socket.AF_UNIX:
                    raise
                if until is not None and time.monotonic() >= until:
                    raise DialFailed(Cause.CONNECT_TIMEOUT) from failure
            await carrier.outside(asyncio.sleep(_BACKLOG_PAUSE))

    def _source(self, endpoint: Endpoint) -> bytes | None:
        """The packed own address to dial from, empty when the kernel chooses, None when the family does not
        fit.
        """
        sources = self._plan.sources
        if not sources or endpoint.family == socket.AF_UNIX:
            return b""
        found = sources.get(endpoint.family)
        return None if found is None else found.packed


def _failure_line(endpoint: Endpoint, failure: DialFailed) -> str:
    if failure.cause is Cause.CONNECT_TIMEOUT:
        return f"s_connect: s_poll_wait {endpoint.text}: TIMEOUTconnect exceeded"
    return f"s_connect: connect {endpoint.text}: {failure.reason}"


def _own(carrier: Carrier) -> str:
    """The own address of the dialled connection."""
    with socket.socket(fileno=carrier.descriptor(Side.DIALLED)) as sock:
        try:
            return addresses.of_socket(sock).text
        except OSError:
            return "unnamed socket"
        finally:
            sock.detach()
