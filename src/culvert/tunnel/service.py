"""A service at work in one process: its listeners, its tunnels, its log level."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from culvert.engine import Carrier, Cause, Engine, Listener, Operation, Side
from culvert.engine.route import Route
from culvert.errors import SystemRefusal
from culvert.net import sockets
from culvert.observe.ids import Ids
from culvert.observe.log import DEBUG, INFO, NOTICE, WARNING, Log
from culvert.observe.repeated import Repeated
from culvert.tunnel.far_end import FarEnd
from culvert.tunnel.gate import Gate
from culvert.tunnel.hosting import Hosting
from culvert.tunnel.judgement import Judge
from culvert.tunnel.life import Tunnel
from culvert.tunnel.near_program import NearProgram
from culvert.tunnel.plan import ServicePlan
from culvert.tunnel.program import Children
from culvert.tunnel.rotation import Rotation
from culvert.tunnel.sharing import Sharing

if TYPE_CHECKING:
    from culvert.net.wrappers.asking import Wrappers

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

    def __init__(
        self,
        plan: ServicePlan,
        engine: Engine,
        ids: Ids,
        log: Log,
        wrappers: Wrappers | None = None,
        home: RunningService | None = None,
    ) -> None:
        """``log``: the process's; the service's own level governs the lines of its connections.

        wrappers: who judges by hosts.allow in this process, where processes were started for that.
        home: the service that accepts for this one, and keeps its tunnels.
        """
        self.plan = plan
        self.name = plan.service.name
        self.client = plan.service.client
        self.level = plan.service.debug
        self.far_end = FarEnd(plan)
        self.gate = Gate(plan.admission, log, wrappers) if plan.admission is not None else None
        self.elsewhere = FarEnd(plan, elsewhere=True)
        ocsp = plan.policy.ocsp
        self.judge = None if ocsp is None else Judge(plan.service, ocsp)
        self.on_idle: Callable[[], None] | None = None
        self._engine = engine
        self._ids = ids
        self._log = log
        self._allowed = clients_allowed()
        if self._allowed is not None:
            engine.allow(self._allowed)
        self._listeners: list[Listener] = []
        self._rotation = Rotation(plan.policy, engine)
        self._sharing = Sharing(plan.sessiond, plan.policy, engine, self._say)
        self._resumptions: set[asyncio.TimerHandle] = set()
        self.home = home
        self._wrappers = wrappers
        self.hosting = Hosting(plan.names, self._host) if plan.names is not None else None
        self._route: Route = home._route if home else engine.route(self._accepted, self._unusual)
        self.children = Children()
        self._near = self._near_program()
        if home is None:
            self._give_orders()
        self._rejections = Repeated(log, WARNING)
        self._suspensions = Repeated(log, NOTICE)

    @property
    def live(self) -> int:
        """The number of its tunnels."""
        return self._route.live

    def start(self, descriptors: Sequence[int]) -> None:
        """Accept from listening, non-blocking sockets; their descriptors are the service's from now on.

        Raises OSError.
        """
        self._rotation.start()
        self._sharing.start()
        self._keep_names_fresh()
        for descriptor in descriptors:
            listener = self._route.listen(descriptor, self._starved, exclusive=_is_shared(descriptor))
            self._listeners.append(listener)

    def _keep_names_fresh(self) -> None:
        loop = self._engine.loop
        if loop is not None:
            self.far_end.start(loop, self._moved)
            self.elsewhere.start(loop, lambda: None)

    def _moved(self) -> None:
        """The names of `connect` mean other addresses now."""
        found = ", ".join(each.text for each in self.far_end.known)
        self._say(INFO, f"Service [{self.name}] connect target is now {found}")
        if self.home is None:
            self._route.countermand()
            self._give_orders()

    def start_program(self) -> None:
        """Run the program of a section with `exec` and `connect`; one process of a daemon does so, in its
        loop."""
        if self._near is not None:
            self._near.start()

    def take(self, descriptor: int, family: int) -> None:
        """Lead the tunnel of a connected, non-blocking descriptor that was accepted elsewhere, and own it."""
        self._accepted(self._route.begin(descriptor, family))

    def stop_accepting(self) -> None:
        """Close the listeners; tunnels go on.

        ``on_idle`` is called when the last of them has ended, soon if there is none.
        """
        for timer in self._resumptions:
            timer.cancel()
        self._resumptions.clear()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._near is not None:
            self._near.stop()
        self._route.watch(self._tell_idle)

    def abort_all(self) -> None:
        """End every tunnel now."""
        self._route.stop_all(reset=self.plan.service.reset)
        if self.judge is not None:
            self.judge.stop()
        if self.hosting is not None:
            self.hosting.abort_all()

    def close(self) -> None:
        """End every tunnel now, and leave the engine; stop_accepting() came before."""
        self._rotation.stop()
        self._sharing.stop()
        self.abort_all()
        self._route.close()
        self.leave()

    def leave(self) -> None:
        """Give back what is the service's own; its tunnels are over."""
        self.far_end.stop()
        self.elsewhere.stop()
        if self.hosting is not None:
            self.hosting.close()
        if self.gate is not None:
            self.gate.close()
        self.children.close()

    def listing(self) -> list[Listed]:
        """The live tunnels."""
        return [Listed(self.name, to_secure, to_plain) for to_secure, to_plain in self._route.amounts()]

    # For tunnels.

    def new_log(self) -> Log:
        """A log for one connection."""
        return self._log.child(self._ids.next(self.plan.service.log_id), self.level)

    def finished(self, tunnel: Tunnel) -> None:
        """The tunnel is closed."""
        if self.plan.balance is not None:
            self.far_end.left(tunnel.carrier)
            self.elsewhere.left(tunnel.carrier)
        if self.gate is not None:
            self.gate.left(tunnel)
        if self.home is not None and self.home.gate is not None:
            self.home.gate.left(tunnel)
        if self.level >= DEBUG:
            tunnel.say(DEBUG, f"Service [{self.name}] finished ({self.live} left)")
        if self._near is not None:
            self._near.ended()

    def _host(self, plan: ServicePlan) -> RunningService:
        service = RunningService(plan, self._engine, self._ids, self._log, self._wrappers, self)
        service._keep_names_fresh()
        return service

    def _near_program(self) -> NearProgram | None:
        program = self.plan.near_program
        if program is None:
            return None
        log = Log(self._log.mark, self.level)
        return NearProgram(program, self._route, self.children, self._lead, self.plan.service.retry, log)

    def _lead(self, carrier: Carrier) -> None:
        carrier.live(Tunnel(self, carrier).live())

    def _say(self, level: int, text: str) -> None:
        """A line that is about no connection."""
        if level <= self.level:
            self._log.write(level, text)

    def _give_orders(self) -> None:
        """Let the engine carry connections by itself where no line is written and nothing is chosen on the
        way.
        """
        options, plan = self.plan.service, self.plan
        context = plan.policy.silent_context
        if context is None or self.level >= NOTICE or len(self.far_end.known) != 1:
            return
        if plan.accept_options or plan.sources or plan.hooks is not None or self.gate is not None:
            return
        if plan.passing is not None or plan.proxies is not None or plan.introduce is not None:
            return
        self._route.order(
            context,
            self.far_end.known[0].packed,
            plan.dial_options,
            busy=options.timeout_busy,
            connect=options.timeout_connect,
            idle=options.timeout_idle,
            close=options.timeout_close,
            tolerant=options.close_notify == "optional",
        )

    def _tell_idle(self) -> None:
        if self.on_idle is not None:
            self.on_idle()

    def _unusual(self, carrier: Carrier, operation: Operation, cause: Cause, errno: int) -> None:
        carrier.live(Tunnel(self, carrier).conclude(operation, cause, errno))

    def _accepted(self, carrier: Carrier) -> None:
        if self._allowed is not None and self._engine.live > self._allowed:
            self._rejections.happened(f"Connection rejected: too many clients (>={self._allowed})")
            carrier.close()
            return
        if self.plan.accept_options:
            self._set_options(carrier)
        self._lead(carrier)

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


def _is_shared(descriptor: int) -> bool:
    """Whether other workers accept from the same socket: a Unix socket, or one that a service manager
    opened."""
    with socket.socket(fileno=descriptor) as sock:
        own = sock.family != socket.AF_UNIX and sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        sock.detach()
    return not own
