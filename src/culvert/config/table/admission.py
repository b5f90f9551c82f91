"""Who may use a service, before a word is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from culvert.config.options import Merge, option
from culvert.config.values import SOME_TEXT, YES_NO, BadValue, Kind, number, unique

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    Network = IPv4Network | IPv6Network

_MAPPED_PREFIX = 0xFFFF  # the upper 96 bits of ::ffff:0.0.0.0 (RFC 4291, 2.5.5.2)

PER_ADDRESS_MAX = 60_000
"""What the shared table counts for one address (culvert.tunnel.seats)."""


def _network(text: str) -> Network:
    """A network, or one address; IPv4 in IPv6's clothes is IPv4."""
    import ipaddress  # only files that use it pay for the import

    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise BadValue(f'"{text}" is no network', _without_host_bits(text)) from None
    number = int(network.network_address)
    if network.version == 6 and network.prefixlen >= 96 and number >> 32 == _MAPPED_PREFIX:
        return ipaddress.IPv4Network((number & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


def _without_host_bits(text: str) -> str | None:
    import ipaddress

    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return None


def _several(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Values between blanks or commas, at least one."""

    def parse_all(text: str) -> tuple[Any, ...]:
        words = text.replace(",", " ").split()
        if not words:
            raise BadValue("a value is needed")
        return tuple(map(parse, words))

    return parse_all


def flat(lines: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    return unique(each for line in lines for each in line)


def _uid(text: str) -> int:
    import pwd  # not on every platform, and the option is rare

    return _id(text, lambda: pwd.getpwnam(text).pw_uid, "user")


def _gid(text: str) -> int:
    import grp

    return _id(text, lambda: grp.getgrnam(text).gr_gid, "group")


def _id(text: str, look_up: Callable[[], int], what: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:11]) < 2**32 - 1:
        return int(text)
    try:
        return look_up()
    except (KeyError, ValueError):
        raise BadValue(f'there is no {what} "{text}" here') from None


def _owner(text: str) -> tuple[int, int]:
    user, colon, group = text.partition(":")
    if not user and not group:
        raise BadValue("a user, a user:group or a :group is needed")
    if colon and not group:
        raise BadValue("a group is needed behind the colon")
    return (_uid(user) if user else -1, _gid(group) if group else -1)


def _mode(text: str) -> int:
    if not re.fullmatch("0?[0-7]{3}", text):
        raise BadValue("Illegal mode: three octal digits are needed")
    return int(text, 8)


NETWORKS = Kind("address[/length] ...", _several(_network))
UIDS = Kind("user ...", _several(_uid))
GIDS = Kind("group ...", _several(_gid))
OWNER = Kind("user[:group]", _owner)
MODE = Kind("octal digits", _mode, lambda value: "" if value is None else f"{value:04o}")


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Admission:
    """Who is let in, and how many at once."""

    allow: tuple[Network, ...] = option(
        "allow",
        NETWORKS,
        (),
        "Only clients of these networks are let in, by whatever address family they come.",
        merge=Merge.LIST,
        join=flat,
        since="Culvert",
    )
    deny: tuple[Network, ...] = option(
        "deny",
        NETWORKS,
        (),
        "Clients of these networks are not let in, even if `allow` has them.",
        merge=Merge.LIST,
        join=flat,
        since="Culvert",
    )
    max_connections: int | None = option(
        "maxConnections",
        number("Illegal number of connections", 1, 2**31 - 1),
        None,
        "How many connections this service carries at once, in all workers together.",
        shown="no limit",
        since="Culvert",
    )
    max_connections_per_address: int | None = option(
        "maxConnectionsPerAddress",
        number("Illegal number of connections", 1, PER_ADDRESS_MAX),
        None,
        "How many of them may come from one IPv4 address or one IPv6 network of 64 bits.",
        shown="no limit",
        since="Culvert",
    )
    allow_uid: tuple[int, ...] = option(
        "allowUid",
        UIDS,
        (),
        "Only local processes of these users are let in; on Linux.",
        merge=Merge.LIST,
        join=flat,
        since="Culvert",
    )
    allow_gid: tuple[int, ...] = option(
        "allowGid",
        GIDS,
        (),
        "Only local processes of members of these groups, or of `allowUid`, are let in; on Linux.",
        merge=Merge.LIST,
        join=flat,
        since="Culvert",
    )
    accept_mode: int | None = option(
        "acceptMode",
        MODE,
        None,
        "The mode of a Unix socket that is listened on; who may write to it may connect.",
        shown="what the umask leaves",
        since="Culvert",
    )
    accept_owner: tuple[int, int] | None = option(
        "acceptOwner",
        OWNER,
        None,
        "The owner, and perhaps the group, of a Unix socket that is listened on.",
        shown="the daemon's user, or `setuid` and `setgid`",
        since="Culvert",
    )
    ident: str | None = option(
        "ident",
        SOME_TEXT,
        None,
        "Ask the host of the client by RFC 1413 for this user name.",
    )
    libwrap: bool = option(
        "libwrap",
        YES_NO,
        False,
        "Obey /etc/hosts.allow and /etc/hosts.deny, where the name of the service is the daemon.",
    )
