"""PROXY headers and destinations of clients: what can be meant at all."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.config.rules.case import Case, Complaint, Rule
from culvert.config.table.proxying import UNIX

_CHOOSING = ("socks", "connect")


def _heard(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not service.proxy_from:
        return
    if not service.accept:
        if not _said_there(case):
            yield "proxy_from", "is of the section that accepts: a header comes before any server name"
        return
    local = UNIX in service.proxy_from
    if local and all(each.path is None for each in service.accept):
        yield "proxy_from", '"unix" is for an accept that is a Unix socket'
    if not local and all(each.path is not None for each in service.accept):
        yield "proxy_from", 'clients of a Unix socket have no address: write "unix"'
    if service.transport == "udp":
        yield "proxy_from", "is for TCP and Unix sockets"
    if service.ident is not None:
        yield "proxy_from", "ident would ask the host of the proxy, which does not know its clients' users"


def _said_there(case: Case) -> bool:
    """Whether the sections from which connections come here by their server name have the same."""
    service = case.service
    names = service.sni if not service.client else ()
    homes = [case.earlier.get(each.partition(":")[0]) for each in names]
    return bool(homes) and all(home is None or home.proxy_from == service.proxy_from for home in homes)


def _told(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.proxy_protocol is None:
        return
    if service.protocol == "proxy":
        yield "proxy_protocol", "protocol = proxy sends a header of version 1 already"
    if service.protocol == "capwinctrl":
        yield "proxy_protocol", "protocol = capwinctrl connects to nobody"
    if service.exec is not None:
        yield "proxy_protocol", "a program has no address, and is told by its environment"
    if service.transport == "udp":
        yield "proxy_protocol", "is for TCP and Unix sockets"


def _chosen(case: Case) -> Iterator[Complaint]:
    """Whoever writes a filter believes that there is one."""
    service = case.service
    if not service.client and service.protocol not in _CHOOSING:
        for attribute in ("socks_allow", "socks_deny"):
            if getattr(service, attribute):
                yield attribute, "is for protocol = socks and protocol = connect"


RULES: tuple[Rule, ...] = (
    (("accept", "client", "ident", "proxy_from", "sni", "transport"), _heard),
    (("proxy_protocol", "protocol", "exec", "connect", "transport"), _told),
    (("client", "protocol", "socks_allow", "socks_deny"), _chosen),
)
