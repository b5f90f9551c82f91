"""`culvert FILE` from its first line to its exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from culvert.daemon import generation, inetd, systemd
from culvert.daemon.detach import Caller, detach
from culvert.daemon.generation import Generation
from culvert.daemon.source import Source
from culvert.daemon.supervisor import Supervisor, raise_descriptor_limit
from culvert.errors import ConfigErrors, SystemRefusal
from culvert.net.listeners import Pool
from culvert.observe.ids import Ids, SharedCounter
from culvert.observe.log import ERR, INFO, NOTICE
from culvert.observe.outlet import Outlet
from culvert.observe.sinks import say_on_stderr


def run(find_source: Callable[[], Source], banner: Iterable[str] = ()) -> int:
    """Be the daemon; returns 0 after an orderly end and 1 when it could not start.

    find_source: may raise ConfigErrors.  banner: the lines that name the program, at the head of its log.

    In the background the process that was called ends inside, with 0 as soon as workers accept connections.
    What stops the start is printed on standard error in stunnel's form, `[!] TEXT`.
    """
    outlet, given = Outlet(), systemd.take_listening()
    for line in banner:
        outlet.log.write(NOTICE, line)
    if given:
        outlet.log.write(INFO, f"Systemd socket activation: {len(given)} descriptors received")
    raise_descriptor_limit()
    with _Prepared() as prepared:
        try:
            source = find_source()
            pool = Pool(given)
            first = generation.prepare(source, pool, outlet)
        except ConfigErrors as errors:
            return _refuse(outlet, [*map(str, errors.errors), "Configuration failed"])
        except SystemRefusal as refusal:
            return _refuse(outlet, [str(refusal)])
        return _run(source, outlet, pool, first, prepared)


class _Prepared:
    """What is opened by name and must be there when `chroot` has taken the names away."""

    def __enter__(self) -> _Prepared:
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.counter = SharedCounter()
        self.notifier = systemd.Notifier()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.null)
        self.counter.close()
        self.notifier.close()


def _run(source: Source, outlet: Outlet, pool: Pool, first: Generation, prepared: _Prepared) -> int:
    if first.configuration.inetd:
        return inetd.serve(first, outlet, Ids(prepared.counter))
    caller = Caller()
    if first.configuration.options.foreground == "no":
        caller = detach(prepared.null)
        outlet.log.mark = "main"
    supervisor = Supervisor(source, outlet, pool, first, caller, prepared.counter, prepared.notifier)
    try:
        supervisor.start()
        caller.told(None)
        return supervisor.serve()
    except SystemRefusal as refusal:
        outlet.log.write(ERR, str(refusal))
        caller.told(f"[!] {refusal}\n")
        return 1
    finally:
        supervisor.close()
        outlet.close()


def _refuse(outlet: Outlet, reasons: list[str]) -> int:
    for reason in reasons:
        outlet.log.write(ERR, reason)
    say_on_stderr(outlet.backlog.failure_report())
    return 1
