"""Culvert: TLS around any TCP service, on either side, from the stunnel.conf that is there already.

A program that embeds tunnels needs these names; each is imported when it is first asked for, so that the
daemon and its commands load only what they use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from culvert.config.model import Service as Service
    from culvert.config.values import Address as Address
    from culvert.engine import EngineLoop as EngineLoop
    from culvert.tunnel.embedding import OpenTunnel as OpenTunnel
    from culvert.tunnel.embedding import open_tunnel as open_tunnel

__version__ = "0.1.0"

_ROOMS = {
    "Address": "culvert.config.values",
    "EngineLoop": "culvert.engine",
    "OpenTunnel": "culvert.tunnel.embedding",
    "Service": "culvert.config.model",
    "open_tunnel": "culvert.tunnel.embedding",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'culvert' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)
