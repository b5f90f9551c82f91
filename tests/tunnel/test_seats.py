"""Counting connections over several processes."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from culvert.tunnel.seats import SETS, WAYS, Full, Seats

HOME = b"\x7f\0\0\1"
AWAY = b"\xc0\0\2\1"


@pytest.fixture
def seats() -> Seats:
    made = Seats()
    made.occupy()
    return made


@contextmanager
def worker(work: Callable[[], object]) -> Iterator[int]:
    """Another process that does `work`, and then waits; killed at the end unless it was before."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(tell, b"x")
            signal.pause()
        finally:
            os._exit(0)
    os.close(tell)
    try:
        assert os.read(told, 1) == b"x"
        yield pid
    finally:
        os.close(told)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_there_are_as_many_seats_as_the_service_has(seats: Seats) -> None:
    assert [seats.take(HOME, 2, None) for _ in range(3)] == [None, None, Full.SERVICE]
    seats.leave(HOME, None)
    assert seats.take(AWAY, 2, None) is None


def test_an_address_has_its_share_and_others_theirs(seats: Seats) -> None:
    assert [seats.take(HOME, None, 2) for _ in range(3)] == [None, None, Full.ADDRESS]
    assert seats.take(AWAY, None, 2) is None
    seats.leave(HOME, 2)
    assert seats.take(HOME, None, 2) is None
    assert seats.taken == 3


def test_who_was_refused_is_not_counted(seats: Seats) -> None:
    seats.take(HOME, 9, 1)
    for _ in range(20):
        assert seats.take(HOME, 9, 1) is Full.ADDRESS
    assert seats.taken == 1


def test_a_network_of_64_bits_is_one_host_of_ipv6(seats: Seats) -> None:
    prefix = bytes.fromhex("20010db800000001")
    assert seats.take(prefix + bytes(7) + b"\1", None, 1) is None
    assert seats.take(prefix + bytes(7) + b"\2", None, 1) is Full.ADDRESS
    assert seats.take(bytes.fromhex("20010db800000002") + bytes(8), None, 1) is None


def test_a_client_without_an_address_only_counts_for_the_service(seats: Seats) -> None:
    assert [seats.take(b"", 3, 1) for _ in range(4)] == [None, None, None, Full.SERVICE]
    seats.leave(b"", 1)
    assert seats.taken == 2


def test_the_counts_of_all_processes_are_added() -> None:
    seats = Seats()

    def two() -> None:
        seats.occupy()
        seats.take(HOME, 9, 9)
        seats.take(HOME, 9, 9)

    with worker(two), worker(two):
        seats.occupy()
        assert seats.taken == 4
        assert seats.take(HOME, 4, None) is Full.SERVICE
        assert seats.take(HOME, 9, 4) is Full.ADDRESS
        assert seats.take(HOME, 5, 5) is None


def test_a_killed_process_gives_its_seats_back() -> None:
    seats = Seats()

    def three() -> None:
        seats.occupy()
        for _ in range(3):
            assert seats.take(HOME, 3, 3) is None

    with worker(three):
        seats.occupy()
        assert seats.take(HOME, 3, None) is Full.SERVICE
        assert seats.take(HOME, None, 3) is Full.ADDRESS
    assert [seats.take(HOME, 3, 3) for _ in range(4)] == [None, None, None, Full.SERVICE]


def test_a_new_process_does_not_inherit_the_count_of_a_dead_one() -> None:
    seats = Seats()

    def three() -> None:
        seats.occupy()
        for _ in range(3):
            seats.take(HOME, 3, 3)

    with worker(three):
        pass
    seats.occupy()
    assert seats.taken == 0
    assert seats.take(HOME, None, 1) is None


def test_addresses_are_counted_until_their_set_is_full(seats: Seats) -> None:
    refused = 0
    hosts = [number.to_bytes(4, "big") for number in range(SETS * WAYS)]
    for host in hosts[: SETS * WAYS // 2]:  # half full: no set of 64 is likely to be
        refused += seats.take(host, None, 1) is not None
    assert refused == 0
    outcomes = [seats.take(host, None, 1) for host in hosts[SETS * WAYS // 2 :]]
    assert set(outcomes) == {None, Full.TABLE}
    assert seats.take(hosts[0], None, 1) is Full.ADDRESS


def test_two_that_come_at_once_never_take_the_last_seat_both(tmp_path: Path) -> None:
    """Who has the only seat takes a lock that nobody else can have then."""
    seats = Seats()
    (tmp_path / "seat").touch()

    def compete() -> bool:
        seats.occupy()
        with (tmp_path / "seat").open() as witness:
            for _ in range(5000):
                if seats.take(HOME, 1, 1) is None:
                    fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    fcntl.flock(witness, fcntl.LOCK_UN)
                    seats.leave(HOME, 1)
        return True

    pids = [_competitor(compete) for _ in range(3)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0, 0]
    seats.occupy()
    assert seats.taken == 0
    assert seats.take(HOME, 1, 1) is None


def _competitor(work: Callable[[], bool]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return pid
