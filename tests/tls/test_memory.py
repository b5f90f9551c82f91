"""What a client remembers of its sessions."""

from __future__ import annotations

import time
from typing import Any, cast

from culvert.openssl.session import SavedSession
from culvert.tls.memory import PER_DESTINATION, ClientMemory


class Saved:
    """Stands for a saved session."""

    def __init__(self, *, single_use: bool = True, usable: bool = True, lasts: float = 100) -> None:
        self.single_use = single_use
        self.usable = usable
        self.ends_at = time.time() + lasts


def saved(**facts: Any) -> SavedSession:
    return cast("SavedSession", Saved(**facts))


def test_a_ticket_of_tls_1_3_is_given_once_and_the_newest_first() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    older, newer = saved(), saved()
    memory.keep(number, older)
    memory.keep(number, newer)
    assert [memory.take(number) for _ in range(3)] == [newer, older, None]


def test_a_session_of_tls_1_2_is_given_again() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    session = saved(single_use=False)
    memory.keep(number, session)
    assert [memory.take(number) for _ in range(3)] == [session] * 3


def test_destinations_are_kept_apart() -> None:
    memory = ClientMemory()
    here, there = memory.number("here:443"), memory.number("there:443")
    memory.keep(here, saved())
    assert here != there
    assert memory.take(there) is None
    assert memory.number("here:443") == here


def test_what_is_over_is_not_given() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    memory.keep(number, saved(lasts=-1))
    memory.keep(number, saved(usable=False))
    assert memory.take(number) is None


def test_only_the_newest_are_kept() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    sessions = [saved() for _ in range(PER_DESTINATION + 2)]
    for session in sessions:
        memory.keep(number, session)
    taken = [memory.take(number) for _ in range(PER_DESTINATION + 1)]
    assert taken == [*reversed(sessions[2:]), None]


def test_the_destination_that_was_used_longest_ago_is_forgotten() -> None:
    memory = ClientMemory(2)
    first, second = memory.number("first"), memory.number("second")
    memory.number("first")
    memory.number("third")
    assert memory.number("first") == first
    assert memory.number("second") != second


def test_a_ticket_for_a_forgotten_destination_is_dropped() -> None:
    memory = ClientMemory(1)
    first = memory.number("first")
    second = memory.number("second")
    memory.keep(first, saved())
    memory.keep(0, saved())
    assert memory.take(second) is None


def test_no_limit_in_the_file_is_still_a_limit() -> None:
    memory = ClientMemory(0)
    for number in range(2000):
        memory.number(f"host{number}")
    assert len(memory._numbers) == 1024
