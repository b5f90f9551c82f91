"""The supervisor: synchronous, without loop or threads, so that it may fork at any time.

It owns what must outlive a worker: the listening sockets, the contexts of OpenSSL (made before the fork, so
that ticket keys agree), the log's sinks, the pid file.  Its whole life is a poll over the signal queue and
the workers' channels; a signal does nothing but stand in the queue until its method is called here.

A reload makes a second Generation beside the first and starts workers for it on the same sockets.  Only when
they all accept does the first one retire, so there is no moment without an acceptor, and until that point
everything can still be undone.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import time
import traceback
from typing import Final

from culvert.daemon import crew, generation, worker
from culvert.daemon.channel import Order
from culvert.daemon.crew import Crew, Member, Vacancy
from culvert.daemon.detach import Caller
from culvert.daemon.generation import Generation
from culvert.daemon.pidfile import PidFile
from culvert.daemon.quarantine import Held
from culvert.daemon.readyfile import ReadyFile
from culvert.daemon.signals import ENDING, HEARD, SignalQueue
from culvert.daemon.source import Source
from culvert.daemon.systemd import Notifier
from culvert.daemon.vigil import Vigil
from culvert.daemon.watching import Watch
from culvert.errors import ConfigErrors, SystemRefusal
from culvert.net.listeners import Pool
from culvert.observe.fate import fate
from culvert.observe.ids import Ids, SharedCounter
from culvert.observe.log import CRIT, DEBUG, EMERG, ERR, INFO, NOTICE, WARNING
from culvert.observe.outlet import Outlet, discard
from culvert.tls import tickets

DAY_SECONDS: Final = 24 * 3600.0
"""How often the log file is opened anew without being asked."""

KILL_SECONDS: Final = worker.STOP_SECONDS + worker.CUT_SECONDS + 2.0
"""How long after the request to stop a worker that has not ended is killed."""


class Supervisor:
    """One daemon.  Make it, `start` it, `serve`; it is used once."""

    def __init__(
        self,
        source: Source,
        outlet: Outlet,
        pool: Pool,
        first: Generation,
        caller: Caller,
        counter: SharedCounter,
        notifier: Notifier,
    ) -> None:
        self._source, self._outlet, self._pool, self._caller = source, outlet, pool, caller
        self._log = outlet.log
        self._generation = first
        self._crew = Crew()
        self._ids = Ids(counter)
        self._signals = SignalQueue()
        self._notifier = notifier
        self._vigil = Vigil(
            self._crew,
            notifier.sign_of_life,
            notifier.watchdog_seconds,
            first.configuration.options.exit_when_idle,
        )
        self._ready_file = ReadyFile()
        self._watch: Watch | None = None
        self._pid_file: PidFile | None = None
        self._kill_at: float | None = None  # set when the daemon is ending
        self._next_day = time.monotonic() + DAY_SECONDS

    # Start and end
    # ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the log where it belongs, make the pid file, fork the workers and wait until they accept.

        Raises SystemRefusal; `close` must be called all the same.
        """
        self._outlet.use(self._generation.configuration.options, self._generation.sinks)
        self._outlet.begin_file()
        self._make_pid_file()
        self._crew.members = self._fork_workers(self._generation)
        self._pool.settle(self._log.write)
        self._watch_files()
        self._say_ready()

    def _say_ready(self) -> None:
        self._ready_file.show(self._generation.configuration.options.ready_file, self._log)
        self._log.write(INFO, "Accepting new connections")
        self._notifier.ready()
        if self._held():
            self._notifier.status("; ".join(map(str, self._held())))

    def _held(self) -> list[Held]:
        quarantine = self._generation.quarantine
        return [] if quarantine is None else quarantine.held

    def _watch_files(self) -> None:
        """Watch the files of the configuration in force, if it wants that."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._generation.look is None:
            return
        try:
            self._watch = Watch(self._generation.configuration, self._generation.look)
        except SystemRefusal as refusal:
            self._log.write(WARNING, f"Files cannot be watched for changes: {refusal}")

    def serve(self) -> int:
        """Act on signals and children until an end was asked for and all workers are gone; returns 0."""
        while self._kill_at is None or self._crew.everybody():
            self._wait()
            for number in self._signals.take():
                self._handle(number)
            self._fill_vacancies()
            self._begin_day()
            self._look_after_files()
            if self._vigil.step() and self._kill_at is None:
                self._log.write(NOTICE, f"No connection for {self._vigil.idle:g} seconds: terminating")
                self._begin_end()
            self._enforce_end()
        self._log.write(INFO, "Worker processes terminated")
        return 0

    def close(self) -> None:
        """Leave nothing behind: no process, no Unix socket, no pid file."""
        crew.kill(self._crew.everybody())
        self._pool.close(self._log.write)
        self._ready_file.hide()
        if self._watch is not None:
            self._watch.close()
        if self._pid_file is None:
            self._log.write(DEBUG, "No pid file to remove")
        elif self._pid_file.remove():
            self._log.write(DEBUG, f"Removed pid file {self._pid_file.path}")
        if self._pid_file is not None:
            self._pid_file.close()
        self._signals.close()

    def _make_pid_file(self) -> None:
        path = self._generation.configuration.options.pid
        if path is None:
            self._log.write(DEBUG, "No pid file being created")
            return
        self._pid_file = PidFile(path)
        self._log.write(DEBUG, f"Created pid file {path}")

    def _wait(self) -> None:
        """Sleep until a signal is in the queue, a worker speaks, or a time has come."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        self._crew.watch(poll)
        if self._watch is not None:
            poll.register(self._watch, select.POLLIN)
        for descriptor, _ in poll.poll(self._patience()):
            self._crew.hear(descriptor)
            if self._watch is not None and descriptor == self._watch.fileno():
                self._watch.hear()

    def _patience(self) -> float:
        """Milliseconds until something is due; ticket keys that were due before are forgotten."""
        now = time.monotonic()
        times = [
            self._next_day - now,
            self._crew.seconds_to_next(),
            self._vigil.seconds_to_next(),
            None if self._watch is None else self._watch.seconds_to_next(),
            None if self._generation.quarantine is None else self._generation.quarantine.seconds_to_next(),
            tickets.KEPT.turn(),
            self._kill_at and self._kill_at - now,
        ]
        return max(0.0, min(each for each in times if each is not None)) * 1000 + 1

    # Signals
    # ---------------------------------------------------------------------------------------------------

    def _handle(self, number: signal.Signals) -> None:
        if number in ENDING:
            self._end(number)
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            self._reopen_log()
        elif number == signal.SIGUSR2:
            for held in self._held():
                self._log.write(EMERG, str(held))
            self._crew.send(Order.LIST)
        elif number == signal.SIGCHLD:
            self._bury()

    def _end(self, number: signal.Signals) -> None:
        """Stop accepting and give tunnels at work a moment; the second time, cut them."""
        if self._kill_at is not None:
            self._crew.send(Order.CUT)
            return
        if number == signal.SIGTERM:
            self._log.write(NOTICE, "Terminated")
        else:
            self._log.write(ERR, f"Received {number.name}; terminating")
        self._begin_end()

    def _begin_end(self) -> None:
        self._notifier.stopping()
        self._ready_file.hide()
        self._log.write(INFO, f"Terminating {len(self._crew.everybody())} worker process(es)")
        self._kill_at = time.monotonic() + KILL_SECONDS
        self._crew.vacancies.clear()
        self._crew.send(Order.STOP)
        self._pool.close(self._log.write)

    def _enforce_end(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            left = self._crew.everybody()
            self._log.write(ERR, f"Killing {len(left)} worker process(es) that did not end")
            crew.kill(left)
            self._crew.members, self._crew.retired = [], []

    def _begin_day(self) -> None:
        """Reopen the log once a day, as stunnel does; `log = overwrite` then begins it anew."""
        if time.monotonic() >= self._next_day:
            self._next_day += DAY_SECONDS
            self._log.write(INFO, "Reopening log file")
            self._reopen_log()

    def _reopen_log(self) -> None:
        if self._outlet.reopen(may_truncate=True):
            self._log.write(NOTICE, "Log file reopened")
        self._crew.send(Order.REOPEN)

    # Workers
    # ---------------------------------------------------------------------------------------------------

    def _fork_workers(self, target: Generation) -> list[Member]:
        """A worker for each slot, all of them accepting.  Raises SystemRefusal, and then none is left."""
        members: list[Member] = []
        gc.collect()
        gc.freeze()  # a collection writes to all that it looks at, and what is written to is not shared
        try:
            for slot in range(target.workers):
                members.append(self._fork_worker(target, slot, members))
            crew.wait_until_ready(members)
        except BaseException:
            crew.kill(members)
            raise
        return members

    def _fork_worker(
        self, target: Generation, slot: int, siblings: list[Member] | None = None, deaths: int = 0
    ) -> Member:
        def life(_slot: int, orders: socket.socket) -> None:
            for sibling in siblings or ():
                sibling.orders.close()
            self._be_worker(target, slot, orders)

        return self._crew.fork(slot, life, deaths)

    def _be_worker(self, target: Generation, slot: int, orders: socket.socket) -> None:
        """In the new process: let go of all that is the supervisor's, and work until the end."""
        code = 1
        try:
            self._signals.leave_to_worker()
            self._caller.close()
            self._notifier.close()
            if self._watch is not None:
                self._watch.close()
            if self._pid_file is not None:
                self._pid_file.close()
            self._crew.close_channels()
            if target is not self._generation:
                discard(self._generation.sinks)
            doors = generation.take_sockets(target, self._pool, slot)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
            code = worker.run(target.plans, doors, orders, self._outlet, self._ids, first=slot == 0)
        except BaseException:  # noqa: BLE001 (the last frame of the process: whatever it is, it is logged)
            self._log.write(CRIT, "Worker process failed: " + traceback.format_exc().replace("\n", " | "))
        finally:
            os._exit(code)

    def _bury(self) -> None:
        for member, status in self._crew.buried():
            wanted = self._kill_at is not None or member.retired
            level = INFO if wanted and status == 0 else ERR
            self._log.write(level, f"Child process {member.pid} {fate(status)}")
            if not wanted:
                self._crew.declare_vacant(member)
        if os.getpid() == 1:
            crew.reap_orphans(self._crew.everybody())

    def _fill_vacancies(self) -> None:
        for vacancy in self._crew.due():
            self._fill(vacancy)

    def _fill(self, vacancy: Vacancy) -> None:
        try:
            member = self._fork_worker(self._generation, vacancy.slot, deaths=vacancy.deaths)
        except SystemRefusal as refusal:
            self._log.write(ERR, f"Cannot replace a worker process: {refusal}")
            self._crew.postpone(vacancy)
            return
        self._crew.members.append(member)
        self._log.write(NOTICE, f"Worker process {member.pid} replaces it")

    # Reload
    # ----------------------------------------------------------------------------------------------------

    def _look_after_files(self) -> None:
        """Load files again that have changed, and take in services that work again."""
        if self._kill_at is not None:
            return
        if self._watch is not None and self._watch.changed():
            self._log.write(NOTICE, "Files of the configuration have changed: loading them")
            self._reload(again=True)
            return
        generation, quarantine = self._generation, self._generation.quarantine
        if quarantine is not None and quarantine.works_again(generation.configuration, self._pool):
            self._log.write(NOTICE, "A service in quarantine works again: taking it in")
            self._reload(again=True)

    def _reload(self, *, again: bool = False) -> None:
        """Take over the configuration as it is now, or nothing of it.

        again: the file is not read, but all that it named.
        """
        if self._kill_at is not None:
            self._log.write(NOTICE, "Not reloading: the daemon is terminating")
            return
        self._log.write(DEBUG, "Processing SIGNAL_RELOAD_CONFIG")
        self._notifier.reloading()
        try:
            before = self._generation
            fresh = generation.prepare(self._source, self._pool, self._outlet, before=before, again=again)
            self._take_over(fresh)
        except ConfigErrors as errors:
            for error in errors.errors:
                self._log.write(ERR, str(error))
            self._log.write(ERR, "Configuration failed")
            self._say_not_reloaded()
        except SystemRefusal as refusal:
            self._log.write(ERR, str(refusal))
            self._say_not_reloaded()
        except Exception:  # noqa: BLE001 - a fault of ours ends this reload, and not all that is served
            self._log.write(CRIT, "INTERNAL ERROR: " + traceback.format_exc().replace("\n", " | "))
            self._say_not_reloaded()
        gc.unfreeze()
        gc.collect()  # contexts of OpenSSL hang on cycles
        gc.freeze()

    def _say_not_reloaded(self) -> None:
        self._log.write(ERR, "Failed to reload the configuration file")
        self._notifier.ready()
        self._notifier.status("The last reload failed; the configuration before it is in force")

    def _take_over(self, fresh: Generation) -> None:
        """Start the new generation and retire the old one; raises SystemRefusal with nothing changed."""
        old = self._generation
        self._outlet.use(fresh.configuration.options, fresh.sinks)
        try:
            members = self._fork_workers(fresh)
        except Exception:
            self._outlet.use(old.configuration.options, old.sinks)
            generation.give_up(fresh, self._pool)
            raise
        self._outlet.begin_file()
        self._retire_old()
        self._crew.members, self._generation = members, fresh
        discard(old.sinks)
        self._pool.settle(self._log.write)
        self._vigil.idle = fresh.configuration.options.exit_when_idle
        self._watch_files()
        self._say_ready()

    def _retire_old(self) -> None:
        """From the log line of the reload on, no connection meets the old configuration."""
        old = self._crew.members
        self._crew.retire()
        try:
            crew.wait_until_closed(old)
        except SystemRefusal as refusal:
            self._log.write(WARNING, str(refusal))


def raise_descriptor_limit() -> None:
    """Let this process and its workers open as many descriptors as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
