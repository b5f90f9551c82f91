"""One line for an event that happens again and again."""

from __future__ import annotations

from culvert.observe.log import NOTICE, Log
from culvert.observe.repeated import Repeated
from tests.observe.collecting import collecting


def test_a_repeated_event_is_logged_once_in_a_period_and_counted() -> None:
    now = 100.0
    with collecting() as kept:
        repeated = Repeated(Log("main"), NOTICE, period=60, clock=lambda: now)
        assert repeated.happened("Full")
        assert not repeated.happened("Full")
        assert not repeated.happened("Full")
        now += 60
        assert repeated.happened("Full")
        now += 60
        repeated.happened("Full")
    assert kept.bodies == [
        "LOG5[main]: Full",
        "LOG5[main]: Full (2 times more since the last such line)",
        "LOG5[main]: Full",
    ]
