"""Runs one script: octets and answers in, steps out.  The caller owns sockets and deadlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from culvert.errors import printable
from culvert.negotiate.failures import (
    LineTooLong,
    NegotiationFailed,
    PeerLeft,
    PlaintextAfterUpgrade,
    TalkedTooMuch,
    shown,
)
from culvert.negotiate.steps import (
    NOTHING,
    Ask,
    Judge,
    Learn,
    Look,
    Note,
    Outcome,
    Receive,
    Resolve,
    Script,
    Send,
    Silent,
    Speaks,
    Store,
)

Say = Callable[[int, str], None]
Question = Send | Receive | Look | Speaks | Silent | Resolve | Judge | Learn | Ask | Store
"""What a caller has to do; a Note is written by the negotiation itself."""

DEBUG: Final = 7
_UNIT_COST: Final = 64
_LINE_SHOWN: Final = 900  # a log line has 1024


class Budget:
    """How much a tunnel's peers may say before it opens, all hooks together.

    Each unit costs its octets and some more, for an answer to it may be longer than itself.
    """

    __slots__ = ("left", "most")

    def __init__(self, most: int = 65_536) -> None:
        self.most = self.left = most

    def spend(self, octets: int) -> None:
        """Raises TalkedTooMuch."""
        self.left -= octets
        if self.left < 0:
            raise TalkedTooMuch(self.most)


class Negotiation:
    """One script at work.

    question: what it waits for, None when it is over.  A Receive is answered with feed() or ended(),
    everything else with answer().  outcome: what it came to, once it is over.

    Whatever feed(), answer() and ended() raise is a NegotiationFailed, and final.
    """

    def __init__(self, script: Script, say: Say | None = None, budget: Budget | None = None) -> None:
        """say: takes (level, text) for the log; None when nobody listens."""
        self.question: Question | None = None
        self.outcome: Outcome = NOTHING
        self._script = script
        self._say = say
        self._budget = budget or Budget()
        self._partial = bytearray()
        self._go_on(None)

    @property
    def wanted(self) -> int:
        """How many octets more the Receive that is waited for can use at most."""
        step = self.question
        assert isinstance(step, Receive)
        return max(1, step.most - len(self._partial))

    def feed(self, octets: bytes) -> int:
        """Give octets that the peer of the Receive has sent; tells how many of them were used.

        The others are no part of that step.  At least one is used, unless ``octets`` is empty.
        """
        step = self.question
        assert isinstance(step, Receive)
        used, complete = self._measure(step, octets)
        self._budget.spend(used)
        self._partial += octets[:used]
        if complete:
            self._budget.spend(_UNIT_COST)
            unit = bytes(self._partial)
            self._partial.clear()
            if step.end:
                self._show(" <- ", unit)
            self._go_on(unit)
        elif step.end and len(self._partial) >= step.most:
            self._fail(LineTooLong(step.most))
        return used

    def ended(self) -> None:
        """The peer of the Receive has ended its stream.  Always raises."""
        self._fail(PeerLeft(len(self._partial)))

    def answer(self, value: Any = None) -> None:
        """Answer any other step.

        Send: None.  Speaks: a bool.  Silent: the octets that the peer has sent all the same, perhaps none.
        Resolve: a tuple of Hosts.  Learn: the fact.
        """
        if isinstance(self.question, Silent) and value:
            self._fail(PlaintextAfterUpgrade(bytes(value)))
        if isinstance(self.question, Look) and not value:
            self._fail(PeerLeft(0))
        self._go_on(value)

    def close(self) -> None:
        """Give the script up."""
        self._script.close()

    def _measure(self, step: Receive, octets: bytes) -> tuple[int, bool]:
        """How many octets belong to the step, and whether it has all then."""
        room = step.most - len(self._partial)
        if not step.end:
            return min(room, len(octets)), len(octets) >= room
        place = octets.find(step.end, 0, room) + 1
        return (place, True) if place else (min(room, len(octets)), False)

    def _go_on(self, value: Any) -> None:
        try:
            step = self._script.send(value)
            while isinstance(step, Note):
                if self._say is not None:
                    self._say(step.level, printable(step.text[:_LINE_SHOWN]))
                step = self._script.send(None)
        except StopIteration as stop:
            self.question = None
            self.outcome = stop.value
            return
        self.question = step
        if isinstance(step, Send):
            self._show(" -> ", step.octets if step.shown is None else step.shown.encode())

    def _show(self, arrow: str, octets: bytes) -> None:
        if self._say is None:
            return
        for each in octets.rstrip(b"\r\n").split(b"\r\n") if octets else ():
            self._say(DEBUG, arrow + shown(each, _LINE_SHOWN))

    def _fail(self, failure: NegotiationFailed) -> None:
        self._script.close()
        self.question = None
        raise failure
