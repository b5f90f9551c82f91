"""The Python face of the C engine: an event loop, carriers of tunnels, listeners."""

from __future__ import annotations

from culvert.engine.carrier import Carrier
from culvert.engine.endings import Cause, DialFailed, Ending, HandshakeFailed, Side, TunnelStopped
from culvert.engine.engine import Engine, Listener, SocketOptions
from culvert.engine.loop import EngineLoop

__all__ = [
    "Carrier",
    "Cause",
    "DialFailed",
    "Ending",
    "Engine",
    "EngineLoop",
    "HandshakeFailed",
    "Listener",
    "Side",
    "SocketOptions",
    "TunnelStopped",
]
