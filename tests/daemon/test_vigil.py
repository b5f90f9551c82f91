"""Asking workers for signs of life."""

from __future__ import annotations

import pytest

from culvert.daemon.channel import BUSY, IDLE, pair
from culvert.daemon.crew import Crew, Member
from culvert.daemon.vigil import Vigil


class Scene:
    """Two workers that answer as they are told, and a clock."""

    def __init__(self, watchdog: float | None = None, idle: float | None = None) -> None:
        self.now, self.signs = 100.0, 0
        self.crew, self.ends = Crew(), []
        for slot in range(2):
            ours, theirs = pair()
            self.crew.members.append(Member(0, slot, ours))
            self.ends.append(theirs)
        self.vigil = Vigil(self.crew, self._well, watchdog, idle, lambda: self.now)

    def _well(self) -> None:
        self.signs += 1

    def answer(self, *words: bytes) -> None:
        for member, end, word in zip(self.crew.members, self.ends, words, strict=True):
            if word:
                end.send(word)
                self.crew.hear(member.orders.fileno())

    def after(self, seconds: float, *words: bytes) -> bool:
        self.answer(*words)
        self.now += seconds
        return self.vigil.step()

    def close(self) -> None:
        for member, end in zip(self.crew.members, self.ends, strict=True):
            member.orders.close()
            end.close()


def test_nobody_is_asked_where_nobody_wants_to_know() -> None:
    scene = Scene()
    assert scene.vigil.seconds_to_next() is None
    assert not scene.after(1e6, IDLE, IDLE)
    assert scene.signs == 0
    scene.close()


def test_the_watchdog_hears_of_us_only_when_everybody_has_answered() -> None:
    scene = Scene(watchdog=3.0)
    scene.after(0.0, b"", b"")  # asks for the first time
    before = scene.signs
    scene.after(1.0, BUSY, b"")
    assert scene.signs == before
    scene.after(1.0, BUSY, IDLE)
    assert scene.signs == before + 1
    scene.close()


def test_it_is_idle_when_no_worker_has_had_a_tunnel_for_so_long() -> None:
    scene = Scene(idle=10.0)
    assert not scene.after(5.0, IDLE, IDLE)
    assert not scene.after(4.0, IDLE, BUSY)
    assert not scene.after(9.0, IDLE, IDLE)
    assert scene.after(3.0, IDLE, IDLE)
    scene.close()


def test_a_worker_that_does_not_answer_is_not_idle() -> None:
    scene = Scene(idle=10.0)
    scene.after(3.0, IDLE, IDLE)
    assert not scene.after(20.0, b"", IDLE)
    assert not scene.after(5.0, IDLE, IDLE)
    scene.close()


def test_a_short_time_is_looked_at_more_often() -> None:
    scene = Scene(idle=0.4)
    scene.after(0.0, b"", b"")
    assert scene.vigil.seconds_to_next() == pytest.approx(0.1)
    scene.close()
