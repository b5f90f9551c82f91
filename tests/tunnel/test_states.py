"""The table of a tunnel's states."""

from __future__ import annotations

from culvert.tunnel.states import SUCCESSORS, State


def reachable(start: State) -> set[State]:
    found = {start}
    while True:
        more = {after for state in found for after in SUCCESSORS[state]} - found
        if not more:
            return found
        found |= more


def test_every_state_has_its_successors() -> None:
    assert set(SUCCESSORS) == set(State)


def test_every_state_can_be_closed_at_once() -> None:
    assert all(State.CLOSED in SUCCESSORS[state] for state in State if state is not State.CLOSED)


def test_every_state_is_reached_and_nothing_follows_the_last() -> None:
    assert reachable(State.ADMITTING) == set(State)
    assert SUCCESSORS[State.CLOSED] == frozenset()
