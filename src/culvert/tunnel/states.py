"""The states of a tunnel and which may follow which; a client-mode tunnel dials before it shakes hands.

A protocol negotiates before, between or behind the handshake and the dial.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """What a tunnel is doing; the value is the word for it in lists and logs."""

    ADMITTING = "admitting"
    HANDSHAKING = "handshaking"
    JUDGING = "judging"
    DIALLING = "dialling"
    NEGOTIATING = "negotiating"
    RELAYING = "relaying"
    CLOSED = "closed"


SUCCESSORS: Final[dict[State, frozenset[State]]] = {
    State.ADMITTING: frozenset({State.NEGOTIATING, State.HANDSHAKING, State.DIALLING, State.CLOSED}),
    State.HANDSHAKING: frozenset(
        {State.JUDGING, State.NEGOTIATING, State.DIALLING, State.RELAYING, State.CLOSED}
    ),
    State.DIALLING: frozenset({State.NEGOTIATING, State.HANDSHAKING, State.RELAYING, State.CLOSED}),
    State.NEGOTIATING: frozenset(
        {State.NEGOTIATING, State.DIALLING, State.HANDSHAKING, State.RELAYING, State.CLOSED}
    ),
    State.JUDGING: frozenset({State.NEGOTIATING, State.DIALLING, State.RELAYING, State.CLOSED}),
    State.RELAYING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}
