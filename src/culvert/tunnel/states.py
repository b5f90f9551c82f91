"""The states of a tunnel and which may follow which; a client-mode tunnel dials before it shakes hands."""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """What a tunnel is doing; the value is the word for it in lists and logs."""

    ADMITTING = "admitting"
    HANDSHAKING = "handshaking"
    DIALLING = "dialling"
    RELAYING = "relaying"
    CLOSED = "closed"


SUCCESSORS: Final[dict[State, frozenset[State]]] = {
    State.ADMITTING: frozenset({State.HANDSHAKING, State.DIALLING, State.CLOSED}),
    State.HANDSHAKING: frozenset({State.DIALLING, State.RELAYING, State.CLOSED}),
    State.DIALLING: frozenset({State.HANDSHAKING, State.RELAYING, State.CLOSED}),
    State.RELAYING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}
