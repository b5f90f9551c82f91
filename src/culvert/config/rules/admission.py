"""Who is let in: what can be known of a client at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from culvert.config.rules.case import Case, Complaint, Rule

_BY_ADDRESS = ("allow", "deny", "max_connections_per_address")
_BY_OWNER = ("allow_uid", "allow_gid")
_BY_PATH = ("accept_mode", "accept_owner")


def _addresses(case: Case) -> Iterator[Complaint]:
    """Clients of a Unix socket have no address: a rule about addresses would let all of them pass."""
    service = case.service
    accept = [each for section in (service, *case.homes) for each in section.accept]
    if not accept or any(each.path is None for each in accept):
        return
    for attribute in _BY_ADDRESS:
        if getattr(service, attribute):
            yield attribute, "clients of a Unix socket have no address; allowUid and allowGid tell them apart"


def _owners(case: Case) -> Iterator[Complaint]:
    if sys.platform.startswith("linux"):
        return
    for attribute in _BY_OWNER:
        if getattr(case.service, attribute):
            yield attribute, "is available on Linux only"


def _paths(case: Case) -> Iterator[Complaint]:
    """An abstract socket has no path, and whoever knows its name may connect."""
    service = case.service
    if any(each.path and not each.is_abstract for each in service.accept):
        return
    for attribute in _BY_PATH:
        if getattr(service, attribute) is not None:
            yield attribute, "there is no Unix socket with a path among what the service accepts on"


def _asked_before(case: Case) -> Iterator[Complaint]:
    """The host of a client is asked when it comes, and its server name is not known yet."""
    service = case.service
    for home in case.homes:
        if service.ident is not None and home.ident != service.ident:
            reason = f"clients are asked before their server name is known: [{home.name}] has to have it"
            yield "ident", reason
            return


RULES: tuple[Rule, ...] = (
    (("accept", "client", "sni", *_BY_ADDRESS), _addresses),
    (_BY_OWNER, _owners),
    (("accept", *_BY_PATH), _paths),
    (("client", "ident", "sni"), _asked_before),
)
