"""The queue of signals."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator

import pytest

from culvert.daemon.signals import HEARD, SignalQueue, held_back


@pytest.fixture
def queue() -> Iterator[SignalQueue]:
    before = {number: signal.getsignal(number) for number in (*HEARD, signal.SIGPIPE)}
    made = SignalQueue()
    yield made
    made.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_signals_are_taken_in_the_order_of_arrival(queue: SignalQueue) -> None:
    send(signal.SIGUSR2, signal.SIGHUP)
    assert select.select([queue], [], [], 5)[0] == [queue]
    assert queue.take() == [signal.SIGUSR2, signal.SIGHUP]
    assert queue.take() == []


def test_a_request_that_is_repeated_is_one_request(queue: SignalQueue) -> None:
    send(signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP, signal.SIGHUP)
    assert queue.take() == [signal.SIGHUP, signal.SIGUSR1]


def test_an_end_that_is_asked_for_twice_is_more_urgent(queue: SignalQueue) -> None:
    send(signal.SIGTERM, signal.SIGTERM)
    assert queue.take() == [signal.SIGTERM, signal.SIGTERM]


def test_a_flood_of_signals_does_not_block(queue: SignalQueue) -> None:
    for _ in range(100_000):
        signal.raise_signal(signal.SIGUSR1)
    assert queue.take() == [signal.SIGUSR1]


def test_nothing_is_delivered_where_signals_are_held_back(queue: SignalQueue) -> None:
    with held_back():
        # To this thread: another one of the test runner might take what is sent to the process.
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
        assert queue.take() == []
    assert queue.take() == [signal.SIGHUP]
