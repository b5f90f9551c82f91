"""The two ends of a service."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from culvert.config.model import Service
from culvert.config.rules.case import Case, Complaint, Rule


def endpoints(service: Service) -> int:
    """How many of its two ends a service has, or more."""
    protocol = ("capwinctrl" if service.client else "socks") == service.protocol
    return sum(
        (
            bool(service.accept),
            bool(service.connect),
            service.exec is not None,
            bool(service.sni) and not service.client,
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


def _program(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.exec is None:
        for attribute in ("exec_args", "pty", "retry"):
            if getattr(service, attribute) and attribute in service.positions:
                yield attribute, "there is no program: exec is needed"
        return
    if service.retry is not None and not service.connect:
        yield "retry", "only a section with exec and connect is started again"
    if service.pty and service.protocol is not None:
        yield "pty", "a terminal cannot speak the protocol of the section"
    if service.transparent in ("source", "both") and not service.connect:
        yield (
            "transparent",
            "a program cannot be given the address of the client on this platform",
        )


def _can_start(service: Service) -> bool:
    if service.accept or (service.exec and service.connect):
        return True
    return bool(service.sni) and not service.client


def _transparent(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.transparent == "none":
        return
    if not sys.platform.startswith("linux"):
        yield "transparent", "Selected transparent proxy mode is not available"
    if service.accept and all(each.path is not None for each in service.accept):
        yield "transparent", "clients of a Unix socket have no address to pass through"
    if service.transparent == "destination":
        return
    if service.exec is not None and service.connect:
        yield "transparent", "the program of the section has no address to connect from"
    if case.options.setuid is not None and service.local is None:
        yield "transparent", "foreign addresses need root: this does not go together with setuid"


RULES: tuple[Rule, ...] = (
    (("accept", "connect", "exec", "sni", "transparent", "protocol", "client"), _two_ends),
    (("exec", "exec_args", "pty", "retry", "connect", "protocol", "transparent"), _program),
    (("accept", "exec", "local", "transparent"), _transparent),
)
