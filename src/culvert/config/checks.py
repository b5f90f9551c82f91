"""What must hold between the options of a section, and what this version of Culvert cannot do.

The rules stand in culvert.config.rules.  A rule is left out when a line of an attribute that it reads was
wrong: that error comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from culvert.config.draft import Draft
from culvert.config.model import GLOBAL, SERVICE, GlobalOptions, Service
from culvert.config.options import Option
from culvert.config.rules import RULES, Case, Complaint
from culvert.errors import ConfigError

SPELLING: Mapping[str, str] = {each.attribute: each.name for each in (*GLOBAL, *SERVICE)}
_LIMITED_GLOBAL = tuple((each, each.attribute) for each in GLOBAL if each.missing)
_LIMITED_SERVICE = tuple((each, each.attribute) for each in SERVICE if each.missing)
_Limited = tuple[tuple[Option, str], ...]


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
            for attribute, reason, *number in rule(case):
                at = service.where_value(attribute, number[0]) if number else service.where(attribute)
                yield ConfigError(at, _subject(case, attribute), reason)
    for option, reason in _refusals(service, _LIMITED_SERVICE):
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


def _refusals(model: GlobalOptions | Service, limited: _Limited) -> Iterator[tuple[Option, str]]:
    """What is asked for and does not exist."""
    for option, attribute in limited:
        value = getattr(model, attribute)
        if value == option.default:
            continue
        for each in value if option.repeatable else (value,):
            reason = option.refusal(each)
            if reason:
                yield option, reason
                break


# Global part


def _check_global(options: GlobalOptions, *, inetd: bool) -> Iterator[ConfigError]:
    for attribute, reason, *_ in _full_paths(options, inetd=inetd):
        yield ConfigError(options.where(attribute), SPELLING[attribute], reason)
    yield from _engines(options)
    for option, reason in _refusals(options, _LIMITED_GLOBAL):
        yield ConfigError(options.where(option.attribute), option.name, reason)


def _full_paths(options: GlobalOptions, *, inetd: bool) -> Iterator[Complaint]:
    """A daemon changes to the root directory: a relative path would mean another file later."""
    if options.foreground != "no":
        return
    if options.output and not options.output.startswith("/"):
        yield "output", "Log file must include full path name"
    if options.pid and not options.pid.startswith("/") and not inetd:
        yield "pid", "Pid file must include full path name"


def _engines(options: GlobalOptions) -> Iterator[ConfigError]:
    """Commands are for the last engine before them."""
    defined = False
    for act in options.acts:
        if act.attribute == "engine":
            defined = True
        elif act.attribute in ("engine_ctrl", "engine_default") and not defined:
            yield ConfigError(act.at, SPELLING[act.attribute], "No engine was defined")
