"""One tunnel's life, from accept to close; the coroutine ``live`` reads top to bottom as it happens.

It awaits only the engine (see culvert.engine.carrier): handshake, dial and relay are one awaited call each.
Lines that nobody wants are not composed, and the identifier that marks them is not drawn either: at a quiet
log level a tunnel costs its five steps and nothing else.
"""

from __future__ import annotations

import traceback
from collections.abc import Coroutine, Iterable
from errno import EAGAIN
from functools import partial
from typing import TYPE_CHECKING, Any

from culvert.engine import (
    Carrier,
    Cause,
    DialFailed,
    Ending,
    HandshakeFailed,
    Operation,
    Side,
    TalkFailed,
    TunnelStopped,
)
from culvert.errors import SystemRefusal, TlsError
from culvert.negotiate.failures import NegotiationFailed
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.observe.log import CRIT, DEBUG, ERR, INFO, NOTICE, WARNING, Log
from culvert.tunnel import closing
from culvert.tunnel.environment import environment
from culvert.tunnel.far_end import Unreachable
from culvert.tunnel.gate import TurnedAway
from culvert.tunnel.judgement import PeerRejected
from culvert.tunnel.states import SUCCESSORS, State

if TYPE_CHECKING:
    from culvert.negotiate.registry import Begin
    from culvert.openssl.session import Session
    from culvert.openssl.switching import Switch
    from culvert.tunnel.judgement import Judge
    from culvert.tunnel.plan import ServicePlan
    from culvert.tunnel.proxied import Proxies, Told
    from culvert.tunnel.service import RunningService
    from culvert.tunnel.talking import Talking


class Tunnel:
    """A connection that a service has accepted, and what becomes of it."""

    __slots__ = ("_log", "_service", "_talking", "carrier", "redirected", "session", "state", "told")

    def __init__(self, service: RunningService, carrier: Carrier) -> None:
        self._service = service
        self._log: Log | None = None
        self._talking: Talking | None = None
        self.carrier = carrier
        self.session: Session | None = None
        self.redirected = False
        self.told: Told | None = None  # by the PROXY header of a peer that is trusted
        self.state = State.ADMITTING

    def say(self, level: int, text: str) -> None:
        """Write a line of this connection's log, which has an identifier from its first line on."""
        if level > self._service.level:
            return
        if self._log is None:
            self._log = self._service.new_log()
        self._log.write(level, text)

    def _enter(self, state: State) -> None:
        if state not in SUCCESSORS[self.state]:
            raise RuntimeError(f"a tunnel cannot be {state.value} after {self.state.value}")
        self.state = state

    @property
    def plan(self) -> ServicePlan:
        """The plan of its service."""
        return self._service.plan

    @property
    def client(self) -> bytes:
        """The packed struct sockaddr of the client; whatever judges, counts or tells clients asks this."""
        return self.carrier.peer if self.told is None else self.told.client

    async def live(self) -> None:
        """The whole life of a tunnel that Python leads."""
        if self._service.level >= DEBUG:
            self._say_started()
        await self._to_the_end(self._steps())

    async def conclude(self, operation: Operation, cause: Cause, errno: int) -> None:
        """The end of a tunnel that went by the standing orders until ``operation`` failed."""
        await self._to_the_end(self._failed(operation, cause, errno))

    async def _steps(self) -> Ending:
        """Admit; handshake and dial in the order of the mode, with what a protocol says between; relay."""
        service = self._service
        if service.plan.proxies is not None:
            await self._hear_proxy(service.plan.proxies)
        if service.gate is not None:
            await service.gate.admit(self)
        if service.level >= NOTICE:
            self._say_accepted()
        hooks = service.plan.hooks
        if hooks is not None:
            await self._negotiate(hooks.early)
        if service.client or (hooks is not None and hooks.dials_first):
            key = await self._reach()
            if hooks is not None:
                await self._negotiate(hooks.middle)
            await self._handshake(
                Side.DIALLED if service.client else Side.ACCEPTED, key if service.client else None
            )
            hooks = self._service.plan.hooks
        else:
            await self._handshake(Side.ACCEPTED, None)
            service, hooks = self._service, self._service.plan.hooks  # a server name may have switched it
            if service.plan.policy.redirects:
                self._judge_peer()
            if hooks is not None and not self.redirected:
                await self._negotiate(hooks.middle)
            await self._reach()
        if hooks is not None and not self.redirected:
            await self._negotiate(hooks.late)
        return await self._relay()

    async def _failed(self, operation: Operation, cause: Cause, errno: int) -> Ending:
        if operation is Operation.HANDSHAKE:
            raise self.carrier.handshake_failure(cause, errno)
        if operation is Operation.DIAL and errno == EAGAIN:  # a Unix socket's full backlog: wait for room
            await self._dial()
            return await self._relay()
        if operation is Operation.DIAL:
            return await self._look_elsewhere(DialFailed(cause, errno))
        return self.carrier.ending(cause, errno)

    async def _look_elsewhere(self, failure: DialFailed) -> Ending:
        """The one address did not take the connection: perhaps its name means another one by now."""
        self._enter(State.DIALLING)
        service, say = self._service, self.say
        tried = service.far_end.say_failure(failure, say)
        await service.far_end.dial(self.carrier, service.level, say, self.client, tried=tried)
        return await self._relay()

    async def _to_the_end(self, steps: Coroutine[Any, Any, Ending]) -> None:
        end = closing.BROKEN
        try:
            end = self._ended(await steps)
        except HandshakeFailed as failure:
            end = self._handshake_failed(failure)
        except TurnedAway as refusal:
            end = closing.BROKEN if refusal.counted else closing.TURNED_AWAY
        except (TunnelStopped, Unreachable, PeerRejected):
            pass  # who raised them has written the line
        except (NegotiationFailed, TalkFailed) as failure:
            end = self._negotiation_failed(failure)
        except (TlsError, SystemRefusal) as error:
            self.say(ERR, str(error))
        except Exception:  # noqa: BLE001 - a fault of ours ends this tunnel, and no other
            self.say(CRIT, "INTERNAL ERROR: " + traceback.format_exc().replace("\n", " | "))
        finally:
            self._close(end)

    def _choose(self, name: bytes | None) -> Switch | None:
        """In the midst of the handshake: go on in the service that the client names."""
        service = self._service
        assert service.hosting is not None
        chosen = service.hosting.choose(name, service.level, self.say)
        if chosen is None:
            return None
        self._service = chosen
        if self._log is not None:
            self._log = self._log.child(self._log.mark, chosen.level)
        return chosen.plan.policy.switch

    def _judge_peer(self) -> None:
        """Lead a peer elsewhere that has not passed the checks, now or in the handshake that it resumes."""
        if self.session is None or not self.session.vouched:
            self.redirect()

    def redirect(self) -> None:
        """Lead this tunnel to `redirect` from here on; only where the service has one."""
        self.redirected = True
        self.say(NOTICE, "Redirecting connection")

    async def _reach(self) -> str:
        """Have a far end; returns under what the TLS sessions with it are remembered."""
        program = self._service.plan.far_program
        if program is None or self.redirected:
            try:
                endpoint = await self._dial()
            except Unreachable:
                if self._service.plan.hooks is not None and not self.redirected:
                    await self._negotiate(self._service.plan.hooks.unreachable)
                raise
            if self._service.plan.introduce is not None and not self.redirected:
                await self._negotiate(self._service.plan.introduce)
            return self._service.far_end.session_key(endpoint)
        self._enter(State.DIALLING)
        started = program.start(environment(addresses.numeric(self.client), self.session), self.say)
        carrier = self.carrier
        carrier.adopt(started.descriptor, started.family, terminal=started.terminal)
        self._service.children.add(started, self.say, lambda: carrier.expect_end(Side.DIALLED))
        return program.path

    async def _dial(self) -> Endpoint:
        self._enter(State.DIALLING)
        service = self._service
        far_end = service.elsewhere if self.redirected else service.far_end
        target = self._talking.target if self._talking is not None and not self.redirected else None
        kept, session = service.plan.persistence, self.session
        if kept is None or session is None or self.redirected or target is not None:
            return await far_end.dial(self.carrier, service.level, self.say, self.client, target)
        prefer = partial(kept.preferred, session, say=self.say)
        endpoint = await far_end.dial(self.carrier, service.level, self.say, self.client, prefer=prefer)
        kept.remember(session, endpoint, self.say)
        return endpoint

    async def _negotiate(self, begin: Begin | None) -> object:
        """Hold one script of the service's protocol, if it has one here; gives what it leaves behind."""
        if begin is None:
            return None
        self._enter(State.NEGOTIATING)
        if self._talking is None:
            from culvert.tunnel.talking import Talking  # only services with a protocol pay for the import

            self._talking = Talking(self)
        return await self._talking.hold(begin, self._service.plan.service)

    async def _hear_proxy(self, proxies: Proxies) -> None:
        """Let a proxy that is trusted say who its client is."""
        peer = self.carrier.peer
        if not proxies.trust(peer):
            return
        try:
            self.told = proxies.told(await self._negotiate(proxies.hear))
        except (NegotiationFailed, TalkFailed):
            name = self._service.name
            self.say(WARNING, f"Service [{name}] REFUSED by proxyFrom from {addresses.unpack(peer)}")
            raise

    async def _handshake(self, side: Side, destination: str | None) -> None:
        self._enter(State.HANDSHAKING)
        service = self._service
        policy = service.plan.policy
        session = policy.session(destination, self.say, self._choose if service.hosting is not None else None)
        self.session = session
        if service.level >= INFO:
            self._say_all(policy.before_lines(session))
        await self.carrier.handshake(side, session, service.plan.service.timeout_busy)
        if service.hosting is not None and self._service is not service:
            service = self._service  # the client has named it, and it decides once more who is let in
            if service.gate is not None:
                await service.gate.admit_switched(self)
        if service.level >= INFO:
            self._say_all(service.plan.policy.handshake_lines(session))
        if service.judge is not None:
            await self._judge(service.judge, session)

    async def _judge(self, judge: Judge, session: Session) -> None:
        """Ask whether the peer's certificates were revoked; no byte has been relayed so far."""
        redirects = self._service.plan.policy.redirects
        if redirects and not session.vouched:
            return  # nobody stands behind the responders that its certificates name
        self._enter(State.JUDGING)
        rejected = await judge.judge(self.carrier, session, self.say)
        if rejected is None:
            return
        self.say(WARNING, rejected.line)
        if not redirects:
            raise PeerRejected(rejected.line, "")
        self.redirect()

    async def _relay(self) -> Ending:
        self._enter(State.RELAYING)
        options = self._service.plan.service
        return await self.carrier.relay(
            options.timeout_idle, options.timeout_close, tolerant=options.close_notify == "optional"
        )

    def _ended(self, ending: Ending) -> closing.Closing:
        closing.say_relay_end(self._service.level, self.say, ending)
        if ending.orderly:
            return closing.CLEAN
        return closing.ALERTED if closing.alert_was_sent(ending.cause, ending.tls_errors) else closing.BROKEN

    def _handshake_failed(self, failure: HandshakeFailed) -> closing.Closing:
        server = not self._service.client
        peer = addresses.unpack(self.client) if server else None
        closing.say_handshake_failure(self.say, failure, server=server, peer=peer)
        if failure.cause is Cause.EOF or closing.alert_was_sent(failure.cause, failure.tls_errors):
            return closing.ALERTED
        return closing.BROKEN

    def _negotiation_failed(self, failure: NegotiationFailed | TalkFailed) -> closing.Closing:
        closing.say_negotiation_failure(self.say, failure)
        if isinstance(failure, TalkFailed) or not failure.orderly:
            return closing.BROKEN
        self.carrier.part()
        return closing.CLEAN

    def _close(self, end: closing.Closing) -> None:
        self._enter(State.CLOSED)
        service = self._service
        told = end is not closing.TURNED_AWAY
        if not service.plan.service.reset:
            end = closing.CLEAN
        if told and service.level >= NOTICE:
            self.say(NOTICE, end.statistics(self.carrier, client=service.client))
        if self.session is not None:
            self.session.close()
        end.close(self.carrier, client=service.client)
        service.finished(self)

    def _say_started(self) -> None:
        service, peer = self._service, addresses.unpack(self.carrier.peer)
        number = self.carrier.descriptor(Side.ACCEPTED)
        self.say(DEBUG, f"Service [{service.name}] accepted (FD={number}) from {peer}")
        self.say(DEBUG, f"Service [{service.name}] started")

    def _say_accepted(self) -> None:
        line = f"Service [{self._service.name}] accepted connection"
        if self._service.plan.service.accept:
            line += f" from {addresses.unpack(self.client)}"
        elif (place := addresses.numeric(self.client)) is not None:
            line += f" from {place[0]}:{place[1]}"
        self.say(NOTICE, line)

    def _say_all(self, lines: Iterable[tuple[int, str]]) -> None:
        for level, text in lines:
            self.say(level, text)
