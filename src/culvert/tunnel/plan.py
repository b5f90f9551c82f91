"""From a configuration to what a service needs to run: made once, before workers are forked, and never
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from culvert import tls
from culvert.config.model import Configuration, GlobalOptions, Service
from culvert.config.values import Address
from culvert.engine import SocketOptions
from culvert.errors import ConfigError, ConfigErrors, SystemRefusal
from culvert.net import addresses, names, responders, sockets
from culvert.net.addresses import Endpoint
from culvert.observe.log import DEBUG, INFO, WARNING
from culvert.tunnel import admission, credentials, persistence, sharing
from culvert.tunnel.program import Program
from culvert.tunnel.seats import Seats

if TYPE_CHECKING:
    from culvert.negotiate.registry import Begin, Hooks
    from culvert.tunnel.passing import Passing
    from culvert.tunnel.proxied import Proxies

Say = Callable[[int, str], None]
Instead = Callable[[Service, ConfigError | ConfigErrors], "Iterable[ServicePlan]"]


@dataclass(frozen=True, slots=True, eq=False)
class ServicePlan:
    """One service, ready to run in any process that is forked from this one.

    destinations: where `connect` leads, in order; empty when the names are looked up for each connection.
    elsewhere: the same of `redirect`, for peers whose certificate fails the checks.
    sources: the own addresses for dialling, by address family; empty when the kernel chooses.
    dial_options: set on every dialled socket; accept_options: on every accepted one that did not inherit
    them.
    hooks: the scripts of its protocol, None when it speaks none.
    admission: who is let in; None when everybody is.
    passing: which addresses are passed through, None when none are.
    persistence: leads a client back to the backend that it had.
    proxies: the peers that tell of their clients; introduce: what is told of ours to the far end.
    sessiond: where its sessions are shared with other machines.
    program: what `exec` names, None when it names nothing.
    balance: where connections to far ends are counted, None where nobody asks.
    names: the plans of the services that it hands connections to; None when there are none.
    """

    service: Service
    policy: tls.TlsPolicy
    destinations: tuple[Endpoint, ...]
    elsewhere: tuple[Endpoint, ...]
    sources: dict[int, Endpoint]
    dial_options: SocketOptions
    accept_options: sockets.Compiled
    hooks: Hooks | None = None
    admission: admission.Admission | None = None
    sessiond: sharing.Place | None = None
    program: Program | None = None
    passing: Passing | None = None
    persistence: persistence.Persistence | None = None
    proxies: Proxies | None = None
    introduce: Begin | None = None
    balance: Seats | None = None
    names: tls.NameTable[ServicePlan] | None = None

    @property
    def hosted(self) -> tuple[ServicePlan, ...]:
        """The plans of the services that it hands connections to, each once."""
        return tuple(dict.fromkeys(self.names.targets())) if self.names is not None else ()

    @property
    def far_program(self) -> Program | None:
        """The program that is the far end; with `connect` beside it, it is the near one."""
        return None if self.service.connect else self.program

    @property
    def near_program(self) -> Program | None:
        """The program that takes the place of the accepted side."""
        return self.program if self.service.connect else None


def plan_services(
    configuration: Configuration,
    say: Say = lambda _level, _text: None,
    earlier: Sequence[ServicePlan] = (),
    instead: Instead | None = None,
) -> tuple[ServicePlan, ...]:
    """Resolve names and make the TLS contexts of every service; blocks, and may ask for pass phrases.

    say: takes the lines that come up, with their level.  earlier: the plans that are in force until now; what
    a service counts goes on under its name.  instead: is asked about each service that cannot be planned, and
    gives the plans to go on with.  Raises ConfigErrors with everything that is wrong.
    """
    planner = _Planner(configuration.services, say, earlier, configuration.options)
    plans: list[ServicePlan] = []
    errors: list[ConfigError] = []
    for service in configuration.services:
        say(INFO, f"Initializing service [{service.name}]")
        try:
            plans.append(planner.plan(service))
        except (ConfigErrors, ConfigError) as error:
            if instead is not None:
                plans.extend(planner.adopt(service, instead(service, error)))
            else:
                errors.extend(error.errors if isinstance(error, ConfigErrors) else (error,))
    if errors:
        raise ConfigErrors(errors)
    for warning in dict.fromkeys(each for plan in plans for each in plan.policy.warnings):
        say(WARNING, str(warning))
    return tuple(plan for plan in plans if not is_hosted(plan.service))


class _Planner:
    """Plans the services of one configuration in their order, and makes only once what they share."""

    def __init__(
        self,
        services: Sequence[Service],
        say: Say,
        earlier: Sequence[ServicePlan],
        options: GlobalOptions | None,
    ) -> None:
        self._builder = tls.Builder(services)
        self._say = say
        self._earlier = {each.service.name: each for each in with_hosted(earlier)}
        self._log_on_stderr = options is not None and options.foreground == "yes"
        self._plans: dict[int, ServicePlan] = {}
        self._sockets: dict[tuple[object, ...], tuple[SocketOptions, sockets.Compiled]] = {}
        self._endpoints: dict[tuple[tuple[Address, ...], str], tuple[Endpoint, ...]] = {}

    def plan(self, service: Service) -> ServicePlan:
        """Raises ConfigError or ConfigErrors."""
        policy = self._builder.build(service)
        for level, text in policy.start_lines():
            self._say(level, text)
        if policy.stapled or (policy.ocsp is not None and policy.ocsp.rules.asks):
            responders.load()  # before the fork, so that no worker's loop waits for it
        dial_options, accept_options = self._socket_options(service)
        destinations = self._destinations(service, service.connect, "connect")
        plan = self._plans[id(service)] = ServicePlan(
            service,
            policy,
            destinations,
            self._destinations(service, service.redirect, "redirect"),
            _sources(service),
            dial_options,
            accept_options,
            _hooks(service),
            _admission(service, self._say, self._earlier.get(service.name)),
            sharing.place_of(service),
            self._program(service),
            _passing(service),
            persistence.persistence_of(service, policy, destinations),
            *_proxying(service),
            balance=_balance(service, self._earlier.get(service.name)),
            names=tls.NameTable() if self._builder.hosted_by(service) else None,
        )
        for home, pattern in self._builder.homes_of(service):
            self._host(home, pattern, plan)
        return plan

    def adopt(self, service: Service, plans: Iterable[ServicePlan]) -> Iterator[ServicePlan]:
        """Plans of an earlier configuration, in the place of one that cannot be made."""
        for plan in plans:
            for home, pattern in self._builder.homes_of(service):
                self._host(home, pattern, plan)
            yield plan

    def _host(self, service: Service, pattern: str, plan: ServicePlan) -> None:
        home = self._plans.get(id(service))
        if home is None or home.names is None:  # it could not be planned, which has been told
            return
        _check_protocols(home, plan)
        home.names.add(pattern, plan)
        if plan.persistence is not None:
            home.policy.name_sessions()  # its tickets are sealed by the home

    def _program(self, service: Service) -> Program | None:
        try:
            return Program.of(service, log_on_stderr=self._log_on_stderr)
        except SystemRefusal as refusal:
            raise ConfigError(service.where("socket"), "socket", str(refusal)) from refusal

    def _socket_options(self, service: Service) -> tuple[SocketOptions, sockets.Compiled]:
        found = self._sockets.get(service.socket)
        if found is None:
            try:
                accept_options = sockets.per_accepted(sockets.compile(service.socket, "l"))
                dial_options = sockets.compile(service.socket, "r")
            except SystemRefusal as refusal:
                raise ConfigError(service.where("socket"), "socket", str(refusal)) from refusal
            found = self._sockets[service.socket] = SocketOptions(dial_options), accept_options
        return found

    def _destinations(
        self, service: Service, targets: tuple[Address, ...], option: str
    ) -> tuple[Endpoint, ...]:
        if service.delay:
            return ()
        found = self._endpoints.get((targets, option))
        if found is None:
            found = self._endpoints[targets, option] = _resolved(targets, option, self._say)
        return found


def with_hosted(plans: Iterable[ServicePlan]) -> Iterator[ServicePlan]:
    """These plans, each followed by those of the services that it hands connections to."""
    for plan in plans:
        yield plan
        yield from plan.hosted


def is_hosted(service: Service) -> bool:
    """Whether it gets its connections from another service, by their server names."""
    return bool(service.sni) and not service.client


def plan_service(
    service: Service, say: Say = lambda _level, _text: None, options: GlobalOptions | None = None
) -> ServicePlan:
    """The same for one service by itself.  Raises ConfigError or ConfigErrors."""
    return _Planner((service,), say, (), options).plan(service)


def _check_protocols(home: ServicePlan, plan: ServicePlan) -> None:
    """What is said before the handshake, and whether the far end comes first, is decided before the name is
    known.
    """
    service, hooks = plan.service, plan.hooks
    if hooks is not None and service.protocol != home.service.protocol and (hooks.early or hooks.dials_first):
        reason = f"{service.protocol} begins before the handshake: it belongs into [{home.service.name}]"
        raise ConfigError(service.where("protocol"), "protocol", reason)
    if service.redirect and home.hooks is not None and home.hooks.dials_first:
        reason = f'"redirect" is incompatible with the protocol negotiation of [{home.service.name}]'
        raise ConfigError(service.where("redirect"), "redirect", reason)


def _proxying(service: Service) -> tuple[Proxies | None, Begin | None]:
    if not service.proxy_from and service.proxy_protocol is None:
        return None, None
    from culvert.tunnel.proxied import introduction_of, proxies_of  # only such services pay for the import

    return proxies_of(service), introduction_of(service)


def _admission(service: Service, say: Say, earlier: ServicePlan | None) -> admission.Admission | None:
    before = earlier.admission if earlier else None
    return admission.prepare(service, say, before.seats if before else None)


def _balance(service: Service, earlier: ServicePlan | None) -> Seats | None:
    if service.failover != "leastconn":
        return None
    return (earlier.balance if earlier else None) or admission.new_seats(service, "failover")


def _passing(service: Service) -> Passing | None:
    if service.transparent == "none":
        return None
    from culvert.tunnel.passing import passing  # only services that use it pay for the import

    return passing(service)


def _hooks(service: Service) -> Hooks | None:
    if service.protocol is None:
        return None
    from culvert.negotiate.registry import hooks  # only services with a protocol pay for the import

    found = hooks(service.protocol, client=service.client)
    if found.dials_first and service.redirect:  # the far end is chosen before the peer is known
        reason = '"redirect" is incompatible with the specified protocol negotiation'
        raise ConfigError(service.where("redirect"), "redirect", reason)
    if service.protocol == "capwinctrl":
        credentials.prepare()
    if service.protocol_authentication == "ntlm":
        import_module("culvert.negotiate.ntlm")  # now, since a worker's loop must not wait for it
    return found


def _resolved(targets: Sequence[Address], option: str, say: Say) -> tuple[Endpoint, ...]:
    """Resolve `connect` or `redirect`.  A name that is not known now is looked up for each connection
    instead.
    """
    names.load(targets)
    try:
        found = tuple(each for address in targets for each in addresses.resolve(address, passive=False))
    except SystemRefusal as refusal:
        say(DEBUG, str(refusal))
        say(INFO, f"Cannot resolve {option} target - delaying DNS lookup")
        return ()
    return tuple(dict.fromkeys(found))


def _sources(service: Service) -> dict[int, Endpoint]:
    if service.local is None:
        return {}
    try:
        found = addresses.resolve(Address(host=service.local, port="0", path=None), passive=False)
    except SystemRefusal as refusal:
        reason = f"Failed to resolve local address: {refusal}"
        raise ConfigError(service.where("local"), "local", reason) from refusal
    return {each.family: each for each in reversed(found)}
