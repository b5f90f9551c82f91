"""Drives the negotiations of one tunnel: its sockets, deadlines and look-ups for culvert.negotiate.

Each step has TIMEOUTbusy in all, however the octets of it arrive, and all steps of a hook together four times
that, as a handshake has.  Both hooks of a tunnel spend from one budget of octets.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from culvert.config.model import Service
from culvert.config.values import Address
from culvert.engine import Cause, Side, TalkFailed
from culvert.errors import SystemRefusal
from culvert.negotiate.negotiation import Budget, Negotiation
from culvert.negotiate.registry import Begin, Terms
from culvert.negotiate.steps import (
    Ask,
    Fact,
    Host,
    Judge,
    Learn,
    Look,
    Peer,
    Receive,
    Resolve,
    Send,
    Silent,
    Speaks,
    Store,
)
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.observe.log import DEBUG, INFO
from culvert.tunnel import credentials, facts

if TYPE_CHECKING:
    from culvert.tunnel.life import Tunnel

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

    __slots__ = (
        "_budget",
        "_busy",
        "_carrier",
        "_memory",
        "_say",
        "_step_until",
        "_tunnel",
        "_until",
        "target",
    )

    def __init__(self, tunnel: Tunnel) -> None:
        self.target: tuple[Endpoint, ...] | None = None
        self._tunnel = tunnel
        self._carrier = tunnel.carrier
        self._say = tunnel.say
        self._budget = Budget()
        self._memory: object = None
        self._busy: float | None = None
        self._until: float | None = None
        self._step_until: float | None = None

    async def hold(self, begin: Begin, service: Service) -> object:
        """Run one script to its end, on the terms of a service; gives the memory of its outcome.

        Raises NegotiationFailed or TalkFailed.
        """
        say = self._say if service.debug >= DEBUG else self._say_important
        negotiation = Negotiation(begin(terms_of(service)), say, self._budget)
        self._busy = service.timeout_busy
        self._until = None if self._busy is None else time.monotonic() + _WHOLE * self._busy
        try:
            while negotiation.question is not None:
                await self._step(negotiation)
        finally:
            negotiation.close()
        if negotiation.outcome.memory is not None:
            self._memory = negotiation.outcome.memory
        if negotiation.outcome.target is not None:
            self.target = tuple(map(facts.numeric, negotiation.outcome.target))
        return negotiation.outcome.memory

    async def _step(self, negotiation: Negotiation) -> None:
        self._step_until = self._deadline(self._busy)
        step = negotiation.question
        match step:
            case Receive():
                await self._receive(negotiation, step)
            case Send(peer, octets):
                await self._carrier.send(_SIDES[peer], octets, self._left())
                negotiation.answer()
            case _:
                negotiation.answer(await self._answer(step))

    async def _answer(self, step: object) -> Any:
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
                return self._memory if fact is Fact.MEMORY else facts.learn(self._tunnel, fact)
            case Judge(place):
                return facts.judge(self._tunnel, place)
            case Ask(address, octets):
                return await facts.ask(self._tunnel, address, octets)
            case Store(octets):
                return credentials.keep(octets)
        raise LookupError(step)

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
