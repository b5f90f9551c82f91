"""The Python face of the C engine: an event loop, carriers of tunnels, listeners."""

from __future__ import annotations

from culvert.engine.carrier import Carrier
from culvert.engine.endings import (
    Cause,
    DialFailed,
    Ending,
    HandshakeFailed,
    Operation,
    Side,
    TalkFailed,
    TunnelStopped,
)
from culvert.engine.engine import Engine
from culvert.engine.loop import EngineLoop
from culvert.engine.route import Listener, Route, SocketOptions

__all__ = [
    "Carrier",
    "Cause",
    "DialFailed",
    "Ending",
    "Engine",
    "EngineLoop",
    "HandshakeFailed",
    "Listener",
    "Operation",
    "Route",
    "Side",
    "SocketOptions",
    "TalkFailed",
    "TunnelStopped",
]
