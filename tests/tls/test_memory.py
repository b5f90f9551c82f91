"""What a client remembers of its sessions, in one process and in several."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import pytest

from culvert.openssl.session import SavedSession
from culvert.tls import memory as module
from culvert.tls.memory import DESTINATIONS_MAX, SLOT, STALE, WAYS, ClientMemory
from tests.tls.pairs import forked

BUSY = 2
"""A word of a slot that somebody began to write right after the machine was started."""


class Saved:
    """Stands for a saved session; two with the same facts are equal."""

    def __init__(
        self, name: str = "", *, single_use: bool = True, usable: bool = True, ends_at: float = 0.0
    ) -> None:
        self.name = name
        self.id = name.encode()
        self.single_use = single_use
        self.usable = usable
        self.ends_at = ends_at or time.time() + 100

    @property
    def encoded(self) -> bytes:
        return json.dumps(vars(self), default=bytes.decode).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> Saved:
        facts = json.loads(encoded)
        del facts["id"]
        return cls(**facts)


@pytest.fixture(autouse=True)
def _fake_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "decode_session", Saved.decode)


def saved(name: str = "", **facts: Any) -> SavedSession:
    return cast("SavedSession", Saved(name, **facts))


def taken(memory: ClientMemory, number: int) -> str | None:
    """The name of the session that is taken."""
    session = cast("Saved | None", memory.take(number))
    return session.name if session else None


def keep_apart(memory: ClientMemory, number: int, *names: str) -> None:
    """Keep sessions in an order that shows: their words have milliseconds."""
    for name in names:
        memory.keep(number, saved(name))
        until = time.monotonic_ns() + 2_000_000
        while time.monotonic_ns() < until:
            pass


def test_a_ticket_of_tls_1_3_is_given_once_and_the_newest_first() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    keep_apart(memory, number, "older", "newer")
    assert [taken(memory, number) for _ in range(3)] == ["newer", "older", None]


def test_a_ticket_that_was_taken_leaves_no_secret_behind() -> None:
    memory = ClientMemory(1)
    number = memory.number("there:443")
    memory.keep(number, saved("secret"))
    assert b"secret" in memory._table[:]
    assert taken(memory, number) == "secret"
    assert not any(memory._table[:])


def test_a_session_of_tls_1_2_is_given_again() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    memory.keep(number, saved("old", single_use=False))
    assert [taken(memory, number) for _ in range(3)] == ["old"] * 3


def test_a_session_of_tls_1_2_is_given_until_it_is_forgotten() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    for name in ("good", "cut"):
        memory.keep(number, saved(name, single_use=False))
    memory.forget(number, b"cut")
    memory.forget(number, b"never known")
    memory.forget(number + 1, b"good")  # of a destination that nobody knows
    assert [taken(memory, number) for _ in range(2)] == ["good"] * 2


def test_destinations_are_kept_apart() -> None:
    memory = ClientMemory(1)  # one slot: both destinations look there
    here, there = memory.number("here:443"), memory.number("there:443")
    memory.keep(here, saved("here"))
    assert here != there
    assert taken(memory, there) is None
    assert memory.number("here:443") == here
    assert taken(memory, here) == "here"


def test_two_services_share_nothing() -> None:
    one, other = ClientMemory(1), ClientMemory(1)
    one.keep(one.number("there:443"), saved("one's"))
    other._table[:] = one._table[:]
    assert taken(other, other.number("there:443")) is None


def test_what_is_over_is_not_given() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    memory.keep(number, saved("old", ends_at=time.time() - 1))
    memory.keep(number, saved("older", single_use=False, ends_at=time.time() - 1))
    memory.keep(number, saved("unusable", usable=False))
    assert taken(memory, number) is None
    assert not any(memory._words(memory._marks[number])[at][1] for at in range(WAYS))


def test_only_the_newest_are_kept() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    names = [str(each) for each in range(WAYS + 2)]
    keep_apart(memory, number, *names)
    assert [taken(memory, number) for _ in range(WAYS + 1)] == [*reversed(names[2:]), None]


@pytest.mark.parametrize(
    ("entries", "kept"), [(1, 1), (3, 3), (16, 16), (1000, 992), (0, 1024), (10**6, 1024)]
)
def test_the_size_of_the_memory_is_bounded(entries: int, kept: int) -> None:
    assert len(ClientMemory(entries)._table) == kept * SLOT


def test_a_session_that_is_too_large_is_not_kept() -> None:
    memory = ClientMemory()
    number = memory.number("there:443")
    memory.keep(number, saved("x" * SLOT))
    assert taken(memory, number) is None
    fitting = "x" * (SLOT // 2 - 200)  # it is there twice, as the id too
    memory.keep(number, saved(fitting))
    assert taken(memory, number) == fitting


def test_the_destination_that_was_used_longest_ago_loses_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DESTINATIONS_MAX", 2)
    memory = ClientMemory()
    first, second = memory.number("first"), memory.number("second")
    memory.number("first")
    memory.number("third")
    assert memory.number("first") == first
    assert memory.number("second") != second
    memory.keep(second, saved())  # arrives late, for a number that nobody has
    memory.keep(0, saved())
    assert taken(memory, memory.number("second")) is None


def test_numbers_are_bounded() -> None:
    memory = ClientMemory()
    for number in range(2 * DESTINATIONS_MAX):
        memory.number(f"host{number}")
    assert len(memory._numbers) == len(memory._marks) == DESTINATIONS_MAX


@pytest.mark.parametrize("at", [8, 20, 30, 34, 40, 55, 80])
def test_a_torn_entry_is_no_session(at: int) -> None:
    memory = ClientMemory(1)
    number = memory.number("there:443")
    memory.keep(number, saved("torn"))
    memory._table[at : at + 1] = bytes((memory._table[at] ^ 1,))
    assert taken(memory, number) is None
    memory.keep(number, saved("next"))
    assert taken(memory, number) == "next"


def test_a_slot_is_only_written_when_it_is_not_busy_or_was_left_behind() -> None:
    memory = ClientMemory(1)
    number = memory.number("there:443")
    module._WORD.pack_into(memory._table, 0, module._new_word())
    memory.keep(number, saved("refused"))
    assert taken(memory, number) is None
    old = (module._now() - STALE - 1) << module._TIME_SHIFT | BUSY
    module._WORD.pack_into(memory._table, 0, old)
    memory.keep(number, saved("taken over"))
    assert taken(memory, number) == "taken over"


def test_who_was_stopped_while_taking_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes the slot over meanwhile, as it looks abandoned."""
    memory = ClientMemory(1)
    number = memory.number("there:443")
    memory.keep(number, saved("mine"))
    write = memory._write

    def stopped(place: int, content: bytes) -> None:
        write(place, content)
        module._WORD.pack_into(memory._table, 0, module._new_word() | 1)

    monkeypatch.setattr(memory, "_write", stopped)
    assert taken(memory, number) is None


def test_who_comes_second_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes the ticket after we have read it, and before we take it."""
    memory = ClientMemory(1)
    number = memory.number("there:443")
    memory.keep(number, saved("wanted by two"))
    read, first = memory._read, []

    def late(place: int) -> bytes | None:
        body = read(place)
        monkeypatch.setattr(memory, "_read", read)
        first.append(taken(memory, number))
        return body

    monkeypatch.setattr(memory, "_read", late)
    assert taken(memory, number) is None
    assert first == ["wanted by two"]


def test_what_one_process_keeps_another_takes() -> None:
    memory = ClientMemory()

    def keep(child: int) -> list[str]:
        memory.number("elsewhere:1")  # numbers are each process' own
        memory.keep(memory.number("there:443"), saved(f"from {child}"))
        return []

    forked(2, keep)
    number = memory.number("there:443")
    assert {taken(memory, number) for _ in range(3)} == {"from 0", "from 1", None}


def test_no_ticket_is_given_to_two_processes() -> None:
    memory = ClientMemory(4)
    number = memory.number("there:443")

    def both(child: int) -> list[str]:
        found = []
        for turn in range(1000):
            memory.keep(number, saved(f"{child}.{turn}"))
            found += [name for _ in range(2) if (name := taken(memory, number)) is not None]
        return found

    found = forked(4, both)
    assert len(found) > 1000
    assert len(found) == len(set(found))
