"""The application protocols: their names, in which mode each can be spoken, and which options it reads.

What they say stands in culvert.negotiate, one module for each; a test compares the names and modes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Side(NamedTuple):
    """A protocol in one mode.

    reads: the attributes of the options for it.  made: whether this version of Culvert speaks it.
    """

    reads: frozenset[str] = frozenset()
    made: bool = True


class Protocol(NamedTuple):
    """A protocol; a mode that it does not have is None."""

    client: Side | None = None
    server: Side | None = None

    def side(self, *, client: bool) -> Side | None:
        """The protocol in a mode."""
        return self.client if client else self.server


def _reads(*attributes: str, made: bool = True) -> Side:
    return Side(frozenset(attributes), made)


_PLAIN = Side()
_LOGIN = ("protocol_username", "protocol_password", "protocol_authentication")

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "capwin": Protocol(_PLAIN, _reads("protocol_host")),
        "capwinctrl": Protocol(_PLAIN),
        "cifs": Protocol(_PLAIN, _PLAIN),
        "connect": Protocol(_reads("protocol_host", "protocol_header", "protocol_domain", *_LOGIN), _PLAIN),
        "ftp": Protocol(_PLAIN, _PLAIN),
        "imap": Protocol(_PLAIN, _PLAIN),
        "irc": Protocol(_PLAIN, _PLAIN),
        "ldap": Protocol(_PLAIN, _PLAIN),
        "lmtp": Protocol(_reads("protocol_host"), _PLAIN),
        "mysql": Protocol(_PLAIN, _PLAIN),
        "nntp": Protocol(_PLAIN, _PLAIN),
        "pgsql": Protocol(_PLAIN, _PLAIN),
        "pop3": Protocol(_PLAIN, _PLAIN),
        "proxy": Protocol(None, _PLAIN),
        "sieve": Protocol(_PLAIN, _PLAIN),
        "smtp": Protocol(_reads("protocol_host", *_LOGIN), _PLAIN),
        "socks": Protocol(_reads("protocol_host"), _PLAIN),
        "xmpp": Protocol(_reads("protocol_host"), _PLAIN),
        "xmpp-server": Protocol(_reads("protocol_host"), _PLAIN),
    }
)
"""Protocol names as the manual spells them."""

OPTIONS = frozenset(("protocol_domain", "protocol_header", "protocol_host", *_LOGIN))
"""Attributes that only protocols read."""
