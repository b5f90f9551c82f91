"""One run of a case: what its peers share while it goes on, and how what they saw is judged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.proxies import Crossing, Deadline, PeerTrouble, PlainPeer, Seen, TlsPeer, Wire, digest_of

REQUEST = 100
SOME = 1000
MIB = 1 << 20


@dataclass
class Run:
    """One connection of a case: both peers, the time they have, and what they tell each other."""

    crossing: Crossing
    tls: TlsPeer
    plain: PlainPeer
    deadline: Deadline
    _reached: set[str] = field(default_factory=set)
    _change: threading.Condition = field(default_factory=threading.Condition)
    _given_up: bool = False

    def reach(self, point: str) -> None:
        """Tell the other peer that this point of the script is reached."""
        with self._change:
            self._reached.add(point)
            self._change.notify_all()

    def give_up(self) -> None:
        """Tell the other peer that this one's script failed: nothing needs to be waited for any more."""
        with self._change:
            self._given_up = True
            self._change.notify_all()

    def wait(self, point: str) -> None:
        """Wait until the other peer has reached the point.  PeerTrouble when it never does."""
        with self._change:
            self._change.wait_for(lambda: point in self._reached or self._given_up, self.deadline.left())
            if point not in self._reached:
                raise PeerTrouble(f"waited in vain: {point}")


Script = Callable[[Run], Seen | None]
Judgement = Callable[[Seen], bool]


@dataclass(frozen=True)
class Expected:
    """What one peer must see."""

    octets: int | None
    """``payload(octets)``; None when the amount does not matter."""
    judge: Judgement
    words: str

    def wrong(self, seen: Seen) -> str | None:
        """None when it is right, else what was seen instead."""
        whole = self.octets is None or (seen.octets == self.octets and seen.digest == digest_of(self.octets))
        if whole and self.judge(seen):
            return None
        if self.octets is None or whole:
            return seen.ending + (f" ({seen.trouble})" if seen.trouble else "")
        damaged = ", damaged" if seen.octets == self.octets else ""
        return f"{seen.octets:,} of {self.octets:,} B{damaged}, {seen.ending}"


def clean_tls(octets: int) -> Expected:
    """T: all of it, then close_notify and FIN."""
    return Expected(
        octets, lambda s: s.close_notify and s.wire is Wire.FIN, f"{octets:,} B, close_notify + FIN"
    )


def clean_plain(octets: int) -> Expected:
    """P: all of it, then FIN."""
    return Expected(octets, lambda s: s.wire is Wire.FIN, f"{octets:,} B, FIN")


def reset_tls(octets: int) -> Expected:
    """T: all of it, then RST without close_notify."""
    return Expected(octets, lambda s: s.wire is Wire.RESET and not s.close_notify, f"{octets:,} B, RST")


def reset_plain(octets: int) -> Expected:
    """P: all of it, then RST; on a Unix socket the hang-up is as good (see above)."""
    return Expected(octets, lambda s: s.wire in (Wire.RESET, Wire.HANGUP), f"{octets:,} B, RST")


ENDED_UNCLEAN = Expected(
    None, lambda s: s.wire is not Wire.NOTHING and not s.close_notify, "an end, no close_notify"
)
ENDED_PLAIN = Expected(SOME, lambda s: s.wire is not Wire.NOTHING, f"{SOME:,} B, an end of any kind")
