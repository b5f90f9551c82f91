"""The worker processes as the supervisor sees them: forking, counting, replacing, ending."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from culvert.daemon import channel
from culvert.daemon.channel import Order
from culvert.daemon.signals import held_back
from culvert.errors import SystemRefusal

READY_SECONDS: Final = 30.0
"""How long a worker may take until it accepts connections."""

CLOSED_SECONDS: Final = 2.0
"""How long an old worker may take until it stops accepting, before the reload goes on without its word."""

SHORT_LIFE_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 10.0


@dataclass(eq=False)
class Member:
    """One worker process.

    deaths: how many workers of this slot died young in a row before it.
    """

    pid: int
    slot: int
    orders: socket.socket
    deaths: int = 0
    ready: bool = False  # it accepts connections
    silent: bool = False  # its channel has ended
    answered: bool = True  # since it was last asked for a sign of life
    idle: bool = True  # by its last answer
    retired: bool = False  # it was asked to end
    born: float = field(default_factory=time.monotonic)

    def pause_before_next(self) -> tuple[int, float]:
        """After its death: the number of young deaths in a row, and the seconds to wait for a new one."""
        if time.monotonic() - self.born >= SHORT_LIFE_SECONDS:
            return 0, 0.0
        return self.deaths + 1, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self.deaths)


@dataclass(frozen=True, order=True)
class Vacancy:
    """A slot whose worker died: when it is filled again (time.monotonic)."""

    due: float
    slot: int
    deaths: int


Life = Callable[[int, socket.socket], None]
"""What a new process does: gets its slot and its end of the channel, and does not return."""


class Crew:
    """All worker processes: `members` of the configuration in force, and `retired` ones that only finish."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self.retired: list[Member] = []
        self.vacancies: list[Vacancy] = []

    def everybody(self) -> list[Member]:
        return [*self.members, *self.retired]

    def fork(self, slot: int, life: Life, deaths: int = 0) -> Member:
        """Start a process that leads `life`; it belongs to nobody's list yet.  Raises SystemRefusal."""
        try:
            ours, theirs = channel.pair()
        except OSError as error:
            raise SystemRefusal.of("socketpair", error) from error
        with held_back():
            try:
                pid = os.fork()
            except OSError as error:
                ours.close()
                theirs.close()
                raise SystemRefusal.of("fork", error) from error
            if pid == 0:
                ours.close()
                life(slot, theirs)
        theirs.close()
        return Member(pid, slot, ours, deaths)

    def close_channels(self) -> None:
        """In a new worker: its siblings' channels must end with the supervisor, not with it."""
        for member in self.everybody():
            member.orders.close()

    def watch(self, poll: select.poll) -> None:
        """Let `poll` wait for what the workers say."""
        for member in self.everybody():
            if not member.silent:
                poll.register(member.orders, select.POLLIN)

    def hear(self, descriptor: int) -> None:
        """Take in what the worker with this channel has said, if it is a worker's."""
        for member in self.everybody():
            if not member.silent and member.orders.fileno() == descriptor:
                words = channel.received(member.orders)
                member.silent = words is None  # it is dead, of which SIGCHLD tells
                member.ready = True
                if words and words[-1:] in (channel.BUSY, channel.IDLE):
                    member.answered, member.idle = True, channel.BUSY not in words

    def ask(self) -> None:
        """Ask every worker for a sign of life."""
        for member in self.everybody():
            member.answered = False
        self.send(Order.ANSWER)

    def send(self, order: Order) -> None:
        """Give an order to every worker."""
        for member in self.everybody():
            channel.send(member.orders, order)

    def retire(self) -> None:
        """Let all members finish what they hold; the lists are free for their successors."""
        for member in self.members:
            member.retired = True
            channel.send(member.orders, Order.RETIRE)
        self.retired += self.members
        self.members, self.vacancies = [], []

    def buried(self) -> list[tuple[Member, int]]:
        """Take away the dead: each with its wait status (os.wait)."""
        dead = []
        for member in self.everybody():
            pid, status = os.waitpid(member.pid, os.WNOHANG)
            if pid:
                self._forget(member)
                dead.append((member, status))
        return dead

    def declare_vacant(self, member: Member) -> None:
        """Note that a member's slot has to be filled, now or after a pause."""
        deaths, pause = member.pause_before_next()
        vacancy = Vacancy(time.monotonic() + pause, member.slot, deaths)
        self.vacancies = sorted([*self.vacancies, vacancy])

    def postpone(self, vacancy: Vacancy) -> None:
        """Put off a vacancy that could not be filled."""
        later = Vacancy(time.monotonic() + LONGEST_PAUSE_SECONDS / 10, vacancy.slot, vacancy.deaths)
        self.vacancies = sorted([*self.vacancies, later])

    def due(self) -> list[Vacancy]:
        """Take out the vacancies whose time has come."""
        now = time.monotonic()
        ripe = [each for each in self.vacancies if each.due <= now]
        self.vacancies = [each for each in self.vacancies if each.due > now]
        return ripe

    def seconds_to_next(self) -> float | None:
        """How long until a vacancy is due; None when there is none."""
        return max(0.0, self.vacancies[0].due - time.monotonic()) if self.vacancies else None

    def _forget(self, member: Member) -> None:
        for group in (self.members, self.retired):
            if member in group:
                group.remove(member)
        member.orders.close()


def wait_until_ready(members: Iterable[Member], seconds: float = READY_SECONDS) -> None:
    """Wait until every one accepts connections.

    Raises SystemRefusal when one ends before or takes too long.
    """
    for member, said in _words(members, seconds):
        if said != channel.READY:
            raise SystemRefusal("Starting the workers", f"worker process {member.pid} ended at once")
        member.ready = True


def wait_until_closed(members: Iterable[Member], seconds: float = CLOSED_SECONDS) -> None:
    """Wait until none of the retired accepts connections any more.

    Raises SystemRefusal when one takes too long.
    """
    for _ in _words(members, seconds):
        pass  # the word or the end: both are good


def _words(members: Iterable[Member], seconds: float) -> Iterator[tuple[Member, bytes | None]]:
    """Yield each member when it says something, and what; None for its end.  Raises SystemRefusal."""
    waiting = {member.orders.fileno(): member for member in members}
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    end = time.monotonic() + seconds
    while waiting:
        ready = poll.poll(max(0.0, end - time.monotonic()) * 1000)
        if not ready:
            pids = ", ".join(str(member.pid) for member in waiting.values())
            raise SystemRefusal(f"Waiting for worker process {pids}", f"no answer within {seconds:g} seconds")
        for descriptor, _ in ready:
            member = waiting.pop(descriptor)
            poll.unregister(descriptor)
            yield member, channel.received(member.orders)


def kill(members: Iterable[Member]) -> None:
    """End these processes without further words, and wait for them."""
    for member in members:
        os.kill(member.pid, signal.SIGKILL)
        os.waitpid(member.pid, 0)
        member.orders.close()


def reap_orphans(members: Iterable[Member]) -> None:
    """As the first process of a container: take away the dead that nobody else waits for."""
    ours = {member.pid for member in members}
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in ours:  # a worker's end has a signal of its own, still to come
            return
        os.waitpid(found.si_pid, 0)
