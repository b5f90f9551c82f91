"""The table of sessions that workers share."""

from __future__ import annotations

import os
import random
import struct

import pytest

from culvert.tls import store as module
from culvert.tls.store import SLOT, WAYS, SharedStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def key(number: int) -> bytes:
    return random.Random(number).randbytes(32)


def test_what_is_kept_is_found() -> None:
    store = SharedStore(100, 300)
    for number in range(50):
        store.keep(key(number), b"session %d" % number)
    found = [store.find(key(number)) for number in range(50)]
    assert sum(each == b"session %d" % number for number, each in enumerate(found)) >= 45


def test_what_was_never_kept_is_a_miss() -> None:
    store = SharedStore(100, 300)
    assert store.find(key(1)) is None
    assert store.find(b"") is None
    assert store.find(b"x" * 32) is None


def test_a_later_session_replaces_the_one_of_its_id() -> None:
    store = SharedStore(8, 300)
    store.keep(key(1), b"first, and longer")
    store.keep(key(1), b"second")
    assert store.find(key(1)) == b"second"


def test_a_session_expires(clock: Clock) -> None:
    store = SharedStore(8, 300)
    store.keep(key(1), b"session")
    clock.now += 299
    assert store.find(key(1)) == b"session"
    clock.now += 2
    assert store.find(key(1)) is None


def test_a_forgotten_session_leaves_no_octet() -> None:
    store = SharedStore(8, 300)
    store.keep(key(1), b"a master secret")
    store.forget(key(1))
    store.forget(key(2))
    assert store.find(key(1)) is None
    assert not any(store._table[:])


def test_a_full_set_makes_room_by_the_oldest(clock: Clock) -> None:
    store = SharedStore(WAYS, 300)
    for number in range(WAYS + 1):
        store.keep(key(number), b"session")
        clock.now += 1
    assert store.find(key(0)) is None
    assert all(store.find(key(number)) for number in range(1, WAYS + 1))


def test_the_number_of_sessions_is_bounded() -> None:
    store = SharedStore(16, 300)
    for number in range(1000):
        store.keep(key(number), b"session")
    assert sum(store.find(key(number)) is not None for number in range(1000)) == 16


@pytest.mark.parametrize("size", [0, 1, SLOT - 59, SLOT - 58])
def test_sessions_up_to_the_slot_are_kept(size: int) -> None:
    store = SharedStore(8, 300)
    session = bytes(size)
    store.keep(key(1), session)
    assert store.find(key(1)) == (session if size <= SLOT - module._START else None)


def test_odd_ids_are_not_kept() -> None:
    store = SharedStore(8, 300)
    for odd in (b"", b"x" * 33):
        store.keep(odd, b"session")
        assert store.find(odd) is None
    store.keep(b"short", b"session")
    assert store.find(b"short") == b"session"
    assert store.find(b"short\0") is None


@pytest.mark.parametrize("at", [0, 15, 16, 24, 26, 30, 58, 59, 64])
def test_a_slot_that_is_half_written_is_a_miss(at: int) -> None:
    store = SharedStore(WAYS, 300)
    store.keep(key(1), b"a session of some length")
    place = next(p for p in store._places(key(1)) if store._key_at(p) == key(1))
    store._table[place + at] ^= 0x40
    assert store.find(key(1)) is None


def test_a_slot_that_claims_too_much_is_a_miss() -> None:
    store = SharedStore(WAYS, 300)
    store.keep(key(1), b"session")
    place = next(p for p in store._places(key(1)) if store._key_at(p) == key(1))
    store._table[place + 24 : place + 26] = struct.pack("<H", 65535)
    assert store.find(key(1)) is None


def test_two_stores_do_not_read_each_other() -> None:
    one, other = SharedStore(8, 300), SharedStore(8, 300)
    one.keep(key(1), b"session")
    other._table[:] = one._table[:]
    assert other.find(key(1)) is None


def test_a_session_kept_by_one_process_is_found_by_another() -> None:
    store = SharedStore(8, 300)
    pid = os.fork()
    if pid == 0:
        store.keep(key(1), b"from the child")
        os._exit(0)
    os.waitpid(pid, 0)
    assert store.find(key(1)) == b"from the child"


def test_writers_that_race_never_make_a_false_session() -> None:
    store = SharedStore(WAYS, 300)
    pids = []
    for writer in range(2):
        if (pid := os.fork()) == 0:
            for turn in range(3000):
                store.keep(key(1), bytes([writer]) * (200 + turn % 300))
            os._exit(0)
        pids.append(pid)
    for _ in range(3000):
        found = store.find(key(1))
        assert found is None or (len(set(found)) == 1 and 200 <= len(found) < 500)
    for pid in pids:
        os.waitpid(pid, 0)
