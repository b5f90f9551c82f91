"""One configuration in force: what was planned and bound for it, before any worker was forked."""

from __future__ import annotations

import gc
import logging
import os
from dataclasses import dataclass, field, replace

from culvert.config.model import Configuration, GlobalOptions, Message
from culvert.daemon import privileges
from culvert.daemon.privileges import Rights
from culvert.daemon.quarantine import Quarantine
from culvert.daemon.restart import as_started, say_what_waits
from culvert.daemon.seeding import seed
from culvert.daemon.source import Source
from culvert.daemon.watching import Look, look
from culvert.net.listeners import Listening, Pool
from culvert.observe.log import NOTICE, WARNING, Log
from culvert.observe.outlet import Outlet, discard
from culvert.tls import library
from culvert.tunnel.plan import ServicePlan, plan_services


@dataclass(eq=False)
class Generation:
    """A configuration, ready for its workers.

    listenings: for each plan, the addresses it accepts on.
    take_back: restores the environment and the switches of OpenSSL that were in force before.
    workers: how many processes it wants; `auto` is one for each processor that this process may use.
    sinks: where its log lines go; the supervisor closes them when it is over.
    look: how its files looked before they were loaded, when they are to be watched.
    quarantine: the services that it goes without, None when all must work.
    started: the global part that the daemon was started with, from which it has what no reload changes.
    """

    configuration: Configuration
    plans: tuple[ServicePlan, ...]
    listenings: tuple[tuple[Listening, ...], ...]
    take_back: library.Undo
    sinks: list[logging.Handler] = field(default_factory=list)
    look: Look | None = None
    quarantine: Quarantine | None = None
    started: GlobalOptions | None = None

    workers: int = field(init=False)

    def __post_init__(self) -> None:
        # Counted once: every worker divides the sockets by the same number.
        self.workers = self.configuration.options.workers or len(os.sched_getaffinity(0))


def prepare(
    source: Source,
    pool: Pool,
    outlet: Outlet,
    *,
    before: Generation | None = None,
    again: bool = False,
) -> Generation:
    """Read, check, plan, bind and open everything that a configuration asks for, in this order.

    before: what is in force, when the daemon runs already and the file is read a second time.
    again: do not read the file, but load once more what the configuration in force names.
    Raises ConfigErrors or SystemRefusal, and then nothing of it is left open.
    """
    gc.disable()  # ten thousand services would be looked through again and again while they are made
    try:
        return _prepare(source, pool, outlet, before, again)
    finally:
        gc.enable()


def _prepare(
    source: Source, pool: Pool, outlet: Outlet, before: Generation | None, again: bool
) -> Generation:
    log = outlet.log
    if again and before is not None:
        configuration = before.configuration
    else:
        log.write(NOTICE, f"Reading configuration from {source}")
        configuration = _in_place(source.load_again() if before else source.load())
        _say_what_was_read(configuration, log)
    started = before.started if before and before.started else configuration.options
    if before is not None:
        say_what_waits(started, before.configuration.options, configuration.options, log.write)
    seen = look(configuration) if configuration.options.watch else None
    plans_before = before.plans if before else ()
    quarantine = Quarantine(log, plans_before) if configuration.options.quarantine else None
    take_back = library.take_over(configuration.options, log.write, again=before is not None)
    try:
        seed(configuration.options, log.write)
        instead = quarantine.instead if quarantine else None
        plans = plan_services(configuration, log.write, plans_before, instead)
    except BaseException:
        take_back()
        raise
    log.write(NOTICE, "Configuration successful")
    generation = Generation(
        configuration, plans, (), take_back, look=seen, quarantine=quarantine, started=started
    )
    try:
        _open(generation, pool, log)
        pool.check_activated()
        if before is None:
            _give_up_rights(configuration.options, outlet)
        generation.sinks = outlet.prepare(as_started(started, configuration.options))
    except BaseException:
        pool.undo()
        take_back()
        raise
    return generation


def _open(generation: Generation, pool: Pool, log: Log) -> None:
    """Bind the addresses of every plan."""
    plans, workers = generation.plans, generation.workers
    if generation.quarantine is not None:
        generation.plans, generation.listenings = generation.quarantine.open(plans, pool, workers)
    else:
        generation.listenings = tuple(pool.open(plan.service, workers, log.write) for plan in plans)


def _give_up_rights(options: GlobalOptions, outlet: Outlet) -> None:
    """Go where `chroot`, `setgid` and `setuid` say, for good."""
    if options.syslog and options.chroot is not None:
        outlet.keep_syslog()
    for line in privileges.give_up(Rights.of(options)):
        outlet.log.write(NOTICE, line)


def give_up(generation: Generation, pool: Pool) -> None:
    """Close what prepare() opened, and take back what it changed in this process."""
    generation.take_back()
    pool.undo()
    discard(generation.sinks)


def _in_place(configuration: Configuration) -> Configuration:
    """As the first process of a container there is no background: the container would end with it."""
    options = configuration.options
    if os.getpid() != 1 or options.foreground != "no":
        return configuration
    said = Message(NOTICE, "The first process of a container stays in the foreground")
    return replace(
        configuration,
        options=replace(options, foreground="yes"),
        messages=(*configuration.messages, said),
    )


def take_sockets(generation: Generation, pool: Pool, slot: int) -> list[list[int]]:
    """In worker `slot`: its listening descriptors for each plan; all others are closed."""
    workers = generation.workers
    mine = [
        [sock.detach() for each in listenings for sock in each.for_worker(slot, workers)]
        for listenings in generation.listenings
    ]
    for listening in pool.everything():
        listening.close()
    return mine


def _say_what_was_read(configuration: Configuration, log: Log) -> None:
    for message in configuration.messages:
        log.write(message.level, message.text)
    for warning in configuration.warnings:
        log.write(WARNING, str(warning))
