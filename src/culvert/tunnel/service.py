"""A service at work in one process: its listeners, its tunnels, its log level."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from culvert.engine import Carrier, Engine, Listener, Side
from culvert.errors import SystemRefusal
from culvert.net import sockets
from culvert.observe.ids import Ids
from culvert.observe.log import NOTICE, WARNING, Log
from culvert.observe.repeated import Repeated
from culvert.tunnel.far_end import FarEnd
from culvert.tunnel.life import Tunnel
from culvert.tunnel.plan import ServicePlan

# How long a listener rests when the process has no descriptor left for a connection.
_STARVED_PAUSE: Final = 1.0


class Listed(NamedTuple):
    """One tunnel in a list of live ones; octets of plain text."""

    service: str
    to_secure: int
    to_plain: int


def clients_allowed() -> int | None:
    """How many tunnels the descriptor limit of this process has room for; None when there is no limit.

    Each takes two descriptors; some are left for the process itself.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return limit * 125 // 256 if limit >= 256 else max(1, (limit - 6) // 2)


class RunningService:
    """Accepts for one service, and keeps its tunnels."""

    def __init__(self, plan: ServicePlan, engine: Engine, ids: Ids, log: Log) -> None:
        """``log``: the process's; the service's own level governs the lines of its connections."""
        self.plan = plan
        self.name = plan.service.name
        self.client = plan.service.client
        self.level = plan.service.debug
        self.far_end = FarEnd(plan)
        self.on_idle: Callable[[], None] | None = None
        self._engine = engine
        self._ids = ids
        self._log = log
        self._allowed = clients_allowed()
        self._listeners: list[Listener] = []
        self._resumptions: set[asyncio.TimerHandle] = set()
        self._tunnels: set[Tunnel] = set()
        self._accepting = False
        self._rejections = Repeated(log, WARNING)
        self._suspensions = Repeated(log, NOTICE)

    @property
    def live(self) -> int:
        """The number of its tunnels."""
        return len(self._tunnels)

    def start(self, descriptors: Sequence[int]) -> None:
        """Accept from listening, non-blocking sockets; their descriptors are the service's from now on.

        Raises OSError.
        """
        self._accepting = True
        for descriptor in descriptors:
            shared = _is_unix(descriptor)  # workers have TCP sockets of their own, and share Unix sockets
            listener = self._engine.listen(descriptor, self._accepted, self._starved, exclusive=shared)
            self._listeners.append(listener)

    def stop_accepting(self) -> None:
        """Close the listeners; tunnels go on.  ``on_idle`` is called when the last has ended, perhaps at
        once.
        """
        self._accepting = False
        for timer in self._resumptions:
            timer.cancel()
        self._resumptions.clear()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._tell_idle()

    def abort_all(self) -> None:
        """End every tunnel now."""
        for tunnel in tuple(self._tunnels):
            tunnel.carrier.stop()

    def listing(self) -> list[Listed]:
        """The live tunnels."""
        return [
            Listed(self.name, tunnel.carrier.to_secure, tunnel.carrier.to_plain) for tunnel in self._tunnels
        ]

    def adopt(self, carrier: Carrier) -> None:
        """Take a connection, as if a listener had accepted it."""
        self._accepted(carrier)

    # For tunnels.

    def new_log(self) -> Log:
        """A log for one connection."""
        return self._log.child(self._ids.next(self.plan.service.log_id), self.level)

    def finished(self, tunnel: Tunnel) -> None:
        """The tunnel is closed."""
        self._tunnels.discard(tunnel)
        tunnel.say(7, f"Service [{self.name}] finished ({len(self._tunnels)} left)")
        self._tell_idle()

    def _tell_idle(self) -> None:
        if not self._accepting and not self._tunnels and self.on_idle is not None:
            self.on_idle()

    def _accepted(self, carrier: Carrier) -> None:
        if self._allowed is not None and self._engine.live > self._allowed:
            self._rejections.happened(f"Connection rejected: too many clients (>={self._allowed})")
            carrier.close()
            return
        if self.plan.accept_options:
            self._set_options(carrier)
        tunnel = Tunnel(self, carrier)
        self._tunnels.add(tunnel)
        carrier.live(tunnel.live())

    def _set_options(self, carrier: Carrier) -> None:
        with socket.socket(fileno=carrier.descriptor(Side.ACCEPTED)) as sock:
            try:
                sockets.apply(sock, self.plan.accept_options)
            except SystemRefusal as refusal:
                self._log.write(WARNING, f"Failed to set local socket options: {refusal}")
            finally:
                sock.detach()

    def _starved(self, listener: Listener, errno: int) -> None:
        """There is no descriptor or no memory for a further connection: let the queue wait for a second."""
        self._suspensions.happened("Accepting new connections suspended for 1 second")
        loop = asyncio.get_running_loop()

        def resume() -> None:
            self._resumptions.discard(timer)
            listener.resume()

        timer = loop.call_later(_STARVED_PAUSE, resume)
        self._resumptions.add(timer)


def _is_unix(descriptor: int) -> bool:
    with socket.socket(fileno=descriptor) as sock:
        family = sock.family
        sock.detach()
    return family == socket.AF_UNIX
