"""Drives the negotiations of one tunnel: its sockets, deadlines and look-ups for culvert.negotiate.

Each step has TIMEOUTbusy in all, however the octets of it arrive, and all steps of a hook together four times
that, as a handshake has.  Both hooks of a tunnel spend from one budget of octets.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, Final

from culvert.config.model import Service
from culvert.config.values import Address
from culvert.engine import Carrier, Cause, Side, TalkFailed
from culvert.errors import SystemRefusal
from culvert.negotiate.negotiation import Budget, Negotiation
from culvert.negotiate.registry import Begin, Terms
from culvert.negotiate.steps import Fact, Host, Learn, Look, Peer, Receive, Resolve, Send, Silent, Speaks
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.observe.log import DEBUG, INFO
from culvert.tunnel.plan import Say

_SIDES: Final = {Peer.NEAR: Side.ACCEPTED, Peer.FAR: Side.DIALLED}
_GLANCE: Final = 4096  # octets that are looked at in one go
_WHOLE: Final = 4  # times TIMEOUTbusy for a hook


def terms_of(service: Service) -> Terms:
    """The options that protocols read."""
    return Terms(
        host=service.protocol_host,
        username=service.protocol_username,
        password=service.protocol_password,
        authentication=service.protocol_authentication,
        domain=service.protocol_domain,
        headers=service.protocol_header,
    )


class Talking:
    """What one tunnel says and hears before its relay.

    target: where its protocol leads it, None: where the configuration does.
    """

    __slots__ = ("_budget", "_busy", "_carrier", "_memory", "_say", "_step_until", "_until", "target")

    def __init__(self, carrier: Carrier, say: Say) -> None:
        """say: takes the lines of the tunnel's log."""
        self.target: tuple[Endpoint, ...] | None = None
        self._carrier = carrier
        self._say = say
        self._budget = Budget()
        self._memory: object = None
        self._busy: float | None = None
        self._until: float | None = None
        self._step_until: float | None = None

    async def hold(self, begin: Begin, service: Service) -> None:
        """Run one script to its end, on the terms of a service.  Raises NegotiationFailed or TalkFailed."""
        say = self._say if service.debug >= DEBUG else self._say_important
        negotiation = Negotiation(begin(terms_of(service)), say, self._budget)
        self._busy = service.timeout_busy
        self._until = None if self._busy is None else time.monotonic() + _WHOLE * self._busy
        try:
            while negotiation.question is not None:
                await self._step(negotiation)
        finally:
            negotiation.close()
        self._memory = negotiation.outcome.memory
        if negotiation.outcome.target is not None:
            self.target = _endpoints(negotiation.outcome.target)

    async def _step(self, negotiation: Negotiation) -> None:
        self._step_until = self._deadline(self._busy)
        step = negotiation.question
        match step:
            case Receive():
                await self._receive(negotiation, step)
            case Send(peer, octets):
                await self._carrier.send(_SIDES[peer], octets, self._left())
                negotiation.answer()
            case Silent() | Look() | Speaks() | Resolve() | Learn():
                negotiation.answer(await self._answer(step))

    async def _answer(self, step: Silent | Look | Speaks | Resolve | Learn) -> Any:
        match step:
            case Silent(peer):
                return self._carrier.peek(_SIDES[peer], _GLANCE) or b""
            case Look(peer):
                return await self._look(_SIDES[peer])
            case Speaks(peer, seconds):
                return await self._speaks(_SIDES[peer], seconds)
            case Resolve(host, port):
                return await self._resolve(host, port)
            case Learn(fact):
                return self._learn(fact)

    async def _receive(self, negotiation: Negotiation, step: Receive) -> None:
        side, carrier = _SIDES[step.peer], self._carrier
        while negotiation.question is step:
            octets = carrier.peek(side, min(negotiation.wanted, _GLANCE))
            if octets is None:
                await carrier.listen(side, self._left())
            elif octets:
                carrier.take(side, negotiation.feed(octets))
            else:
                negotiation.ended()

    async def _look(self, side: Side) -> bytes:
        while (octet := self._carrier.peek(side, 1)) is None:
            await self._carrier.listen(side, self._left())
        return octet

    async def _speaks(self, side: Side, seconds: float) -> bool:
        if self._carrier.peek(side, 1) is not None:
            return True
        try:
            await self._carrier.listen(side, seconds)
        except TalkFailed as failure:
            if failure.cause is Cause.BUSY:
                return False
            raise
        return True

    async def _resolve(self, host: str, port: str) -> tuple[Host, ...]:
        question = addresses.resolve_in_thread(Address(host=host, port=port, path=None))
        try:
            found = await self._carrier.outside(asyncio.wait_for(question, self._left()))
        except SystemRefusal as refusal:
            self._say(INFO, str(refusal))
            return ()
        except TimeoutError:
            raise TalkFailed(Cause.BUSY) from None
        return tuple((str(each.sockaddr[0]), int(each.sockaddr[1])) for each in found)

    def _learn(self, fact: Fact) -> Any:
        if fact is Fact.MEMORY:
            return self._memory
        if fact is Fact.PEER_ADDRESS:
            return _host(addresses.unpack(self._carrier.peer))
        return _host(_own_address(self._carrier))

    def _say_important(self, level: int, text: str) -> None:
        if level < DEBUG:
            self._say(level, text)

    def _deadline(self, seconds: float | None) -> float | None:
        if seconds is None:
            return self._until
        ends = time.monotonic() + seconds
        return ends if self._until is None else min(ends, self._until)

    def _left(self) -> float | None:
        """Seconds until the step must be over.  Raises TalkFailed when they are gone."""
        if self._step_until is None:
            return None
        left = self._step_until - time.monotonic()
        if left <= 0:
            raise TalkFailed(Cause.BUSY)
        return left


def _endpoints(hosts: tuple[Host, ...]) -> tuple[Endpoint, ...]:
    """Numeric hosts as addresses to dial; nobody is asked for them."""
    return tuple(
        each
        for host, port in hosts
        for each in addresses.resolve(Address(host=host, port=str(port), path=None), passive=False)
    )


def _own_address(carrier: Carrier) -> str:
    with socket.socket(fileno=carrier.descriptor(Side.ACCEPTED)) as sock:
        try:
            return addresses.of_socket(sock).text
        finally:
            sock.detach()


def _host(text: str) -> Host | None:
    """The text of an address as host and port; None for a Unix socket."""
    host, _, port = text.rpartition(":")
    return (host, int(port)) if port.isdecimal() else None
