"""Far ends in trouble are tried last, for a while."""

from __future__ import annotations

import socket

from culvert.net.addresses import Endpoint, endpoint
from culvert.tunnel.health import LONGEST_SECONDS, MOST, Health


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def place(port: int) -> Endpoint:
    return endpoint(socket.AF_INET, ("127.0.0.1", port))


A, B, C = place(1), place(2), place(3)


def test_who_failed_stands_behind_the_others_and_comes_back() -> None:
    clock = Clock()
    health = Health(clock)
    assert health.order([A, B, C]) == [A, B, C]
    assert health.failed(A) == 1.0
    assert health.order([A, B, C]) == [B, C, A]
    clock.now = 1.1
    assert health.order([A, B, C]) == [A, B, C]


def test_the_time_grows_while_it_goes_on_failing_and_ends_when_it_works() -> None:
    health = Health(Clock())
    assert [health.failed(A) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert health.failed(A) == LONGEST_SECONDS
    assert health.worked(A)
    assert not health.worked(A)
    assert health.order([A, B]) == [A, B]
    assert health.failed(A) == 1.0


def test_nobody_is_left_out() -> None:
    health = Health(Clock())
    for each in (A, B, C):
        health.failed(each)
    assert health.order([A, B, C]) == [A, B, C]
    assert health.order([A]) == [A]


def test_what_is_remembered_is_bounded() -> None:
    health = Health(Clock())
    for port in range(1, MOST + 10):
        health.failed(place(port))
    assert health.order([place(1), place(MOST)]) == [place(1), place(MOST)]
    assert len(health._troubles) == MOST
