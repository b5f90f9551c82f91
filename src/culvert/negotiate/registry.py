"""Which scripts a protocol has.

Each protocol is a module of this package, called like the protocol with `_` for `-`, that has ``CLIENT`` or
``SERVER`` or both.  A module is imported when a service speaks its protocol.  The names and modes that a
configuration may use stand in culvert.config.table.protocols; a test compares both.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from culvert.negotiate.steps import Script


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the options of a service ask of its protocol (protocolHost, protocolUsername ...)."""

    host: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    authentication: str = "basic"
    domain: str | None = None
    headers: tuple[str, ...] = ()


Begin = Callable[[Terms], Script]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The scripts of one protocol in one mode, and when they are held.

    early: in clear with the accepted side, before anything else.
    middle: in client mode, and in server mode with ``dials_first``, in clear with both sides, before the
        handshake; else inside TLS with the accepted side, before the far end is dialled.
    late: with both sides, when the handshake is done and the far end is connected.
    unreachable: instead of late, with the accepted side, when no far end took the connection.
    """

    early: Begin | None = None
    middle: Begin | None = None
    late: Begin | None = None
    unreachable: Begin | None = None
    dials_first: bool = False


def hooks(protocol: str, *, client: bool) -> Hooks:
    """The scripts of a protocol, which must have the mode (LookupError)."""
    name = f"culvert.negotiate.{protocol.replace('-', '_')}"
    known = importlib.util.find_spec(name) is not None
    found = getattr(importlib.import_module(name), "CLIENT" if client else "SERVER", None) if known else None
    if found is None:
        raise LookupError(f"{protocol} has no {'client' if client else 'server'} side")
    return cast("Hooks", found)
