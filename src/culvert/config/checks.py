"""What must hold between the options of a section, and what this version of Culvert cannot do.

Each rule is a function that yields complaints; a complaint names the attribute at whose line it is told, or
nothing for the line of the section.  A rule is left out when a line of an attribute that it reads was wrong:
that error comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from culvert.config.draft import Draft
from culvert.config.model import GLOBAL, SERVICE, GlobalOptions, Service
from culvert.config.options import Option, not_yet
from culvert.config.table.endpoints import CLIENT_PROTOCOLS, SERVER_PROTOCOLS
from culvert.config.tlsnames import VERSIONS
from culvert.errors import ConfigError

SPELLING: Mapping[str, str] = {each.attribute: each.name for each in (*GLOBAL, *SERVICE)}
_LIMITED = {table: tuple(each for each in table if each.missing) for table in (GLOBAL, SERVICE)}

Complaint = tuple[str, str]  # attribute or "", reason


class Case(NamedTuple):
    """A service to be judged, and what it may lean on."""

    service: Service
    options: GlobalOptions
    inetd: bool
    earlier: Mapping[str, Service]  # the sections before this one, by name; the first of a name


def check_file(
    options: GlobalOptions, services: Sequence[Service], drafts: Sequence[Draft], *, inetd: bool
) -> Iterator[ConfigError]:
    """Judge what came out of a file; drafts[i] tells which lines of services[i] were wrong."""
    yield from _check_global(options, inetd=inetd)
    earlier: dict[str, Service] = {}
    for service, draft in zip(services, drafts, strict=True):
        case = Case(service, options, inetd, earlier)
        yield from _check_case(case, draft.broken)
        earlier.setdefault(service.name, service)


def check_services(
    services: Iterable[Service], options: GlobalOptions | None = None
) -> tuple[ConfigError, ...]:
    """Judge services that a program made."""
    earlier: dict[str, Service] = {}
    errors: list[ConfigError] = []
    for service in services:
        errors += _check_case(Case(service, options or GlobalOptions(), False, earlier), frozenset())
        earlier.setdefault(service.name, service)
    return tuple(errors)


def _check_case(case: Case, broken: Iterable[str]) -> Iterator[ConfigError]:
    service, broken = case.service, frozenset(broken)
    for reads, rule in RULES:
        if broken.isdisjoint(reads):
            for attribute, reason in rule(case):
                yield ConfigError(service.where(attribute), _subject(case, attribute), reason)
    for option, reason in _refusals(service, SERVICE):
        if not _told_globally(case, option.attribute):
            yield ConfigError(service.where(option.attribute), option.name, reason)


def _told_globally(case: Case, attribute: str) -> bool:
    """Whether the value is inherited from an option that the daemon has too, and is refused there."""
    at = case.service.positions.get(attribute)
    return at is not None and at == case.options.positions.get(attribute)


def _subject(case: Case, attribute: str) -> str:
    if attribute:
        return SPELLING[attribute]
    return "inetd mode" if case.inetd else f"[{case.service.name}]"


def _refusals(model: GlobalOptions | Service, table: tuple[Option, ...]) -> Iterator[tuple[Option, str]]:
    """What is asked for and does not exist."""
    for option in _LIMITED[table]:
        value = getattr(model, option.attribute)
        if value == option.default:
            continue
        for each in value if option.repeatable else (value,):
            reason = option.refusal(each)
            if reason:
                yield option, reason
                break


# Global part


def _check_global(options: GlobalOptions, *, inetd: bool) -> Iterator[ConfigError]:
    for attribute, reason in (*_full_paths(options, inetd=inetd), *_engines(options)):
        yield ConfigError(options.where(attribute), SPELLING[attribute], reason)
    for option, reason in _refusals(options, GLOBAL):
        yield ConfigError(options.where(option.attribute), option.name, reason)


def _full_paths(options: GlobalOptions, *, inetd: bool) -> Iterator[Complaint]:
    """A daemon changes to the root directory: a relative path would mean another file later."""
    if options.foreground != "no":
        return
    if options.output and not options.output.startswith("/"):
        yield "output", "Log file must include full path name"
    if options.pid and not options.pid.startswith("/") and not inetd:
        yield "pid", "Pid file must include full path name"


def _engines(options: GlobalOptions) -> Iterator[Complaint]:
    if not options.engine:
        for attribute in ("engine_ctrl", "engine_default"):
            if getattr(options, attribute):
                yield attribute, "No engine was defined"


# Sections, in the order in which the original judges them


def _certificate(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not (service.client or service.cert or service.psk_secrets or case.options.engine):
        yield "", "TLS server needs a certificate"


def _engine_of_key(case: Case) -> Iterator[Complaint]:
    if case.service.engine_num is not None and case.service.engine_num > len(case.options.engine):
        yield "engine_num", "Illegal engine number"
    if case.service.engine_id is not None and case.service.engine_id not in case.options.engine:
        yield "engine_id", "Engine ID not found"


def _subject_checks(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not (service.verify_chain or service.verify_peer):
        for attribute in ("check_email", "check_host", "check_ip"):
            if getattr(service, attribute):
                yield attribute, 'Either "verifyChain" or "verifyPeer" has to be enabled'


def _crl_chain(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not service.crl_check_chain:
        return
    if not service.verify_chain:
        yield "crl_check_chain", '"verifyChain" has to be enabled for "CRLcheckChain"'
    if not (service.crl_file or service.crl_path):
        yield "crl_check_chain", 'Either "CRLfile" or "CRLpath" has to be configured for "CRLcheckChain"'


def _ocsp(case: Case) -> Iterator[Complaint]:
    for attribute in ("ocsp", "ocsp_aia"):
        if getattr(case.service, attribute) and not case.service.verify_chain:
            yield attribute, '"verifyChain" has to be enabled for OCSP support'


def _protocol(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.protocol is None:
        return
    if service.transport == "udp":
        yield "protocol", "Protocol not supported"
    if service.client and service.protocol not in CLIENT_PROTOCOLS:
        yield "protocol", "The configured protocol is not supported in the client mode"
    if not service.client and service.protocol not in SERVER_PROTOCOLS:
        yield "protocol", "The configured protocol is not supported in the server mode"
    if service.client and service.protocol == "connect" and not service.protocol_host:
        yield "protocol", "protocolHost not specified"


def _redirect(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not service.redirect:
        return
    if service.client:
        yield "redirect", '"redirect" is unsupported in client sections'
    elif service.protocol in ("smtp", "pop3", "imap"):
        yield "redirect", '"redirect" is incompatible with the specified protocol negotiation'
    if not (service.verify_chain or service.verify_peer):
        yield "redirect", 'Either "verifyChain" or "verifyPeer" has to be enabled for "redirect" to work'


def _server_names(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.sni is None or service.client:
        return
    section, colon, pattern = service.sni.partition(":")
    if not colon or not pattern:
        yield "sni", "Invalid SNI parameter format: it is written SECTION:PATTERN"
    elif section not in case.earlier:
        yield "sni", f'SNI section name not found: no section before this one is called "{section}"'
    elif case.earlier[section].client:
        yield "sni", "SNI primary service is a TLS client"
    yield "sni", not_yet("a server section has one certificate for all names")


def _version_range(case: Case) -> Iterator[Complaint]:
    oldest, newest = case.service.ssl_version_min, case.service.ssl_version_max
    if oldest and newest and VERSIONS.index(newest) < VERSIONS.index(oldest):
        reason = f"Invalid protocol version range: {newest} is older than {oldest}"
        yield max(("ssl_version_min", "ssl_version_max"), key=lambda each: _line(case.service, each)), reason


def _line(service: Service, attribute: str) -> int:
    at = service.positions.get(attribute)
    return at.line if at else 0


def _ticket_secrets(case: Case) -> Iterator[Complaint]:
    given = [
        each for each in ("ticket_key_secret", "ticket_mac_secret") if getattr(case.service, each) is not None
    ]
    if len(given) == 1:
        yield given[0], '"ticketKeySecret" and "ticketMacSecret" must be set together'


def _trust(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not (service.verify_chain or service.verify_peer):
        return
    if not (service.ca_file or service.ca_path or service.ca_engine or service.ca_store):
        wanted = next(
            (each for each in ("verify_peer", "verify_chain", "verify") if each in service.positions), ""
        )
        yield wanted, 'Either "CAfile" or "CApath" has to be configured'


def endpoints(service: Service) -> int:
    """How many of its two ends a service has, or more."""
    protocol = ("capwinctrl" if service.client else "socks") == service.protocol
    return sum(
        (
            bool(service.accept),
            bool(service.connect),
            service.exec is not None,
            service.sni is not None and not service.client,
            service.transparent in ("destination", "both"),
            protocol,
        )
    )


def _two_ends(case: Case) -> Iterator[Complaint]:
    service = case.service
    if case.inetd and service.accept:
        yield "accept", "'accept' option is only allowed in a [section]"
    elif case.inetd and endpoints(service) != 1:
        yield "", "Inetd mode must define one endpoint"
    elif not case.inetd and endpoints(service) != 2:
        yield "", "Each service must define two endpoints"
    elif not (case.inetd or _can_start(service)):
        yield "", f"Invalid service [{service.name}]: without accept it needs exec and connect"


def _one_connection(case: Case) -> Iterator[Complaint]:
    if case.inetd:
        yield "", not_yet("connections are not taken over from inetd, so the file needs a [section]")


def _can_start(service: Service) -> bool:
    if service.accept or (service.exec and service.connect):
        return True
    return service.sni is not None and not service.client


_VERIFY = ("verify", "verify_chain", "verify_peer")
_CHECKS = ("check_host", "check_ip", "check_email")

# What a rule reads, and the rule.
RULES: tuple[tuple[tuple[str, ...], Callable[[Case], Iterator[Complaint]]], ...] = (
    (("client", "cert", "psk_secrets"), _certificate),
    (("engine_num", "engine_id"), _engine_of_key),
    ((*_VERIFY, *_CHECKS), _subject_checks),
    ((*_VERIFY, "crl_file", "crl_path"), _crl_chain),
    ((*_VERIFY, "ocsp"), _ocsp),
    (("client", "protocol", "protocol_host", "transport"), _protocol),
    ((*_VERIFY, "client", "redirect", "protocol"), _redirect),
    (("client", "sni"), _server_names),
    (("ssl_version", "ssl_version_min", "ssl_version_max"), _version_range),
    (("ticket_key_secret", "ticket_mac_secret"), _ticket_secrets),
    ((*_VERIFY, "ca_file", "ca_path", "ca_engine", "ca_store"), _trust),
    (("accept", "connect", "exec", "sni", "transparent", "protocol", "client"), _two_ends),
    ((), _one_connection),
)
