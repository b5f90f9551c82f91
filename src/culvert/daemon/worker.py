"""A worker process: one loop, one engine, every service.

It lives between a fork and os._exit: nothing of the supervisor's is run down in it.  It hears orders through
its channel, and when the channel ends the supervisor is dead and so is the worker.

An end has three kinds.  Retired, after a reload, it finishes what it holds, however long that takes.
Stopped, it gives tunnels at work a short time: it ends as soon as no tunnel has moved a byte for
QUIET_SECONDS, and after STOP_SECONDS in any case.  (stunnel cuts every tunnel at once.)  Cut, it aborts them
now.
"""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from culvert.daemon import channel
from culvert.daemon.channel import Order
from culvert.engine import EngineLoop
from culvert.errors import TlsError
from culvert.observe.ids import Ids
from culvert.observe.log import EMERG, ERR
from culvert.observe.outlet import Outlet
from culvert.tunnel.plan import ServicePlan, with_hosted
from culvert.tunnel.service import RunningService
from culvert.tunnel.stapling import Stapler

if TYPE_CHECKING:
    from culvert.net.wrappers.asking import Wrappers

QUIET_SECONDS: Final = 0.5
STOP_SECONDS: Final = 5.0
CUT_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.05


def run(
    plans: Sequence[ServicePlan],
    doors: Sequence[Sequence[int]],
    orders: socket.socket,
    outlet: Outlet,
    ids: Ids,
    *,
    first: bool,
) -> int:
    """Be a worker until the end; returns the process's exit code, 0 when it ended as it was asked to.

    doors: for each plan its listening descriptors, which the worker now owns.
    first: this worker does what only one of them may do: it runs programs that are a near end, and fetches
    the OCSP responses that all workers staple.
    """
    if not _keys_work(plans, outlet):
        return 1
    worker = Worker(orders, outlet)
    worker.start(plans, doors, ids, first=first)
    if first:
        worker.fetch(plans)
    return worker.serve()


def _keys_work(plans: Sequence[ServicePlan], outlet: Outlet) -> bool:
    """Whether the tokens can be reached from this process, with its rights and its root."""
    for plan in with_hosted(plans):
        try:
            plan.policy.try_keys()
        except TlsError as error:
            reason = "; ".join(dict.fromkeys(error.reasons)) or error.doing
            failure = f"its token cannot be used with the rights of a worker: {reason}"
            outlet.log.write(ERR, f"Service [{plan.service.name}]: {failure}")
            return False
    return True


class Worker:
    """The running services of this process, and what is done with them."""

    def __init__(self, orders: socket.socket, outlet: Outlet) -> None:
        self._orders = orders
        self._outlet = outlet
        self._loop = EngineLoop()
        self._services: list[RunningService] = []
        self._stapler: Stapler | None = None
        self._ending = False
        self._had = 0  # tunnels, when it was last asked for a sign of life
        self._moved, self._quiet_since, self._stop_at = -1, 0.0, 0.0
        self._code = 0

    def start(
        self, plans: Sequence[ServicePlan], doors: Sequence[Sequence[int]], ids: Ids, *, first: bool
    ) -> None:
        """Accept on every socket, and tell the supervisor."""
        wrappers = _wrappers(plans)
        for plan, own in zip(plans, doors, strict=True):
            service = RunningService(plan, self._loop.engine, ids, self._outlet.log, wrappers)
            service.on_idle = self._look_for_end
            service.start(own)
            if first:
                self._loop.call_soon(service.start_program)
            self._services.append(service)
        self._loop.add_reader(self._orders, self._hear)
        self._loop.add_signal_handler(signal.SIGTERM, self._stop)  # from an operator, or systemd to all of us
        gc.collect()
        gc.freeze()  # what is alive now lives as long as the process: no collection need look at it
        channel.say(self._orders, channel.READY)

    def fetch(self, plans: Sequence[ServicePlan]) -> None:
        """Keep the answers that servers staple fresh, for all workers."""
        stapled = [each for plan in with_hosted(plans) for each in plan.policy.stapled]
        self._stapler = Stapler(stapled, self._outlet.log)
        self._stapler.start(self._loop)

    def carry(self, descriptor: int, family: int) -> None:
        """Lead the tunnel of a connection that somebody else has accepted; the first service has it."""
        self._loop.call_soon(self._services[0].take, descriptor, family)

    def serve(self) -> int:
        """Run until the end; returns the exit code."""
        self._loop.run_forever()
        return self._code

    def _hear(self) -> None:
        data = channel.received(self._orders)
        if data is None:
            self._code = 1
            self._cut()
            return
        for order in channel.orders(data):
            self._obey(order)

    def _obey(self, order: Order) -> None:
        match order:
            case Order.RETIRE:
                self._finish()
                channel.say(self._orders, channel.CLOSED)
            case Order.STOP:
                self._stop()
            case Order.CUT:
                self._cut()
            case Order.REOPEN:
                self._outlet.reopen(may_truncate=False)
            case Order.LIST:
                self._list()
            case Order.ANSWER:
                self._answer()

    def _finish(self) -> None:
        if not self._ending:
            self._ending = True
            if self._stapler is not None:
                self._stapler.stop()
            for service in self._services:
                service.stop_accepting()
        self._look_for_end()

    def _stop(self) -> None:
        if self._stop_at:
            return
        self._quiet_since = self._loop.time()
        self._stop_at = self._quiet_since + STOP_SECONDS
        self._finish()
        self._watch_the_rest()

    def _watch_the_rest(self) -> None:
        """Let tunnels that move bytes go on for a while."""
        now, moved = self._loop.time(), self._bytes_moved()
        if moved != self._moved:
            self._moved, self._quiet_since = moved, now
        if now >= self._stop_at or now - self._quiet_since >= QUIET_SECONDS:
            self._cut()
        else:
            self._loop.call_later(LOOK_SECONDS, self._watch_the_rest)

    def _bytes_moved(self) -> int:
        return sum(one.to_secure + one.to_plain for each in self._services for one in each.listing())

    def _cut(self) -> None:
        self._finish()
        for service in self._services:
            service.abort_all()
        self._loop.call_later(CUT_SECONDS, self._loop.stop)  # every end of a tunnel is told to both its peers

    def _look_for_end(self) -> None:
        if self._ending and not any(service.live for service in self._services):
            self._loop.stop()

    def _answer(self) -> None:
        """Say that this process lives, and whether it has had a tunnel since it was last asked."""
        had, self._had = self._had, self._loop.engine.tunnels_so_far
        busy = had != self._had or any(service.live for service in self._services)
        channel.say(self._orders, channel.BUSY if busy else channel.IDLE)

    def _list(self) -> None:
        log = self._outlet.log
        log.write(EMERG, "Active connections:")
        number = 0
        for service in self._services:
            for each in service.listing():
                number += 1
                amounts = f"{each.to_secure} byte(s) sent to TLS, {each.to_plain} byte(s) sent to socket"
                log.write(EMERG, f"Active connection {number}: Service [{each.service}], {amounts}")
        log.write(EMERG, f"Listed {number} active connection(s)")


def _wrappers(plans: Sequence[ServicePlan]) -> Wrappers | None:
    """Fork who judges by hosts.allow, now that this process has neither threads nor connections."""
    if not any(plan.service.libwrap for plan in with_hosted(plans)):
        return None
    from culvert.net.wrappers.asking import HELPERS, Wrappers  # only daemons that use it pay for the import

    return Wrappers(helpers=HELPERS)
