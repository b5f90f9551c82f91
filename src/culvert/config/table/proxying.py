"""Clients behind proxies, and destinations that clients choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from culvert.config.options import Merge, option
from culvert.config.table.admission import NETWORKS, flat
from culvert.config.values import Kind, choice

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    Network = IPv4Network | IPv6Network

UNIX = "unix"
"""Instead of a network: whoever comes by a Unix socket."""


def _proxies(text: str) -> tuple[Any, ...]:
    words = text.replace(",", " ").split()
    local = tuple(UNIX for each in words if each.lower() == UNIX)
    others = " ".join(each for each in words if each.lower() != UNIX)
    return local + (NETWORKS.parse(others) if others or not local else ())


PROXIES = Kind("address[/length] ... | unix", _proxies)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Proxying:
    """Who tells whom where a connection comes from, and where clients may go."""

    proxy_from: tuple[Network | str, ...] = option(
        "proxyFrom",
        PROXIES,
        (),
        "Expect a PROXY header, of version 1 or 2 and before TLS, from peers of these networks; all that "
        "judges, counts or logs clients takes the address in it.",
        merge=Merge.LIST,
        join=flat,
        since="Culvert",
    )
    proxy_protocol: str | None = option(
        "proxyProtocol",
        choice("v1", "v2"),
        None,
        "Begin each connection to `connect` with a PROXY header of this version, before TLS.",
        since="Culvert",
    )
    socks_allow: tuple[Network, ...] = option(
        "socksAllow",
        NETWORKS,
        (),
        "Clients of `protocol = socks` or `connect` may be led to these networks; the most specific of all "
        "networks decides.",
        merge=Merge.LIST,
        join=flat,
        mode="server",
        since="Culvert",
    )
    socks_deny: tuple[Network, ...] = option(
        "socksDeny",
        NETWORKS,
        (),
        "They may not be led to these networks.  Without a word so: loopback, link-local and own addresses.",
        merge=Merge.LIST,
        join=flat,
        mode="server",
        since="Culvert",
    )
