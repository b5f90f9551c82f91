"""Worker processes as the supervisor sees them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import pytest

from culvert.daemon import channel, crew
from culvert.daemon.channel import Order
from culvert.daemon.crew import Crew, Member
from culvert.errors import SystemRefusal

Act = Callable[[socket.socket], object]


def fork(staff: Crew, act: Act, slot: int = 0) -> Member:
    """A member that does `act` with its channel and ends."""

    def life(_slot: int, orders: socket.socket) -> None:
        try:
            orders.setblocking(True)
            act(orders)
        finally:
            os._exit(0)

    return staff.fork(slot, life)


def until_end(orders: socket.socket) -> None:
    orders.send(channel.READY)
    orders.recv(1)


def test_workers_are_ready_when_each_has_said_so() -> None:
    staff = Crew()
    members = [fork(staff, until_end, slot) for slot in range(3)]
    crew.wait_until_ready(members, 10)
    assert all(member.ready for member in members)
    crew.kill(members)


def test_a_worker_that_ends_instead_is_noticed() -> None:
    staff = Crew()
    members = [fork(staff, until_end), fork(staff, lambda _orders: None)]
    with pytest.raises(SystemRefusal, match=f"worker process {members[1].pid} ended at once"):
        crew.wait_until_ready(members, 10)
    crew.kill(members)


def test_a_worker_that_takes_too_long_is_not_waited_for() -> None:
    staff = Crew()
    member = fork(staff, lambda orders: orders.recv(1))
    with pytest.raises(SystemRefusal, match=rf"worker process {member.pid}: no answer within 0\.05 seconds"):
        crew.wait_until_ready([member], 0.05)
    crew.kill([member])


def test_retired_workers_are_kept_until_they_end() -> None:
    def retire(orders: socket.socket) -> None:
        assert channel.orders(orders.recv(1)) == [Order.RETIRE]

    staff = Crew()
    member = fork(staff, retire)
    staff.members = [member]
    staff.retire()
    assert (staff.members, staff.retired, member.retired) == ([], [member], True)
    os.waitid(os.P_PID, member.pid, os.WEXITED | os.WNOWAIT)
    assert staff.buried() == [(member, 0)]
    assert staff.everybody() == []


def test_the_pause_before_a_new_worker_grows_while_they_die_young() -> None:
    ours, theirs = channel.pair()
    pauses = []
    deaths = 0
    for _ in range(9):
        deaths, pause = Member(1, 0, ours, deaths).pause_before_next()
        pauses.append(pause)
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == crew.LONGEST_PAUSE_SECONDS
    old = Member(1, 0, ours, deaths, born=time.monotonic() - crew.SHORT_LIFE_SECONDS)
    assert old.pause_before_next() == (0, 0.0)
    ours.close()
    theirs.close()


def test_a_vacancy_is_due_when_its_pause_is_over() -> None:
    ours, theirs = channel.pair()
    staff = Crew()
    staff.declare_vacant(Member(1, 5, ours, born=time.monotonic() - 100))
    staff.declare_vacant(Member(1, 6, ours, deaths=3))
    assert [each.slot for each in staff.due()] == [5]
    assert staff.due() == []
    seconds = staff.seconds_to_next()
    assert seconds is not None
    assert 0 < seconds <= 0.8
    ours.close()
    theirs.close()


def test_an_order_to_a_dead_worker_is_no_error() -> None:
    ours, theirs = channel.pair()
    theirs.close()
    channel.send(ours, Order.STOP)
    assert channel.received(ours) is None
    ours.close()


def test_orders_arrive_in_order_and_silence_is_not_an_end() -> None:
    ours, theirs = channel.pair()
    assert channel.received(theirs) == b""
    channel.send(ours, Order.REOPEN)
    channel.send(ours, Order.LIST)
    data = channel.received(theirs)
    assert data is not None
    assert channel.orders(data) == [Order.REOPEN, Order.LIST]
    ours.close()
    theirs.close()


def test_old_workers_are_waited_for_until_they_accept_no_more_or_have_ended() -> None:
    def close(orders: socket.socket) -> None:
        orders.send(channel.CLOSED)
        orders.recv(1)

    staff = Crew()
    members = [fork(staff, close), fork(staff, lambda _orders: None)]
    crew.wait_until_closed(members, 10)
    crew.kill(members)
