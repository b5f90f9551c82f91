"""Tunnels inside a program: the same services as the daemon's, in a running event loop, without processes and
signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from culvert.config import embedded
from culvert.config.checks import check_services
from culvert.config.load import load_file, load_text
from culvert.config.model import Configuration, GlobalOptions, Service
from culvert.engine import Engine, EngineLoop
from culvert.errors import ConfigError, ConfigErrors
from culvert.net.listeners import Pool
from culvert.observe.ids import Ids
from culvert.observe.log import Log, for_library
from culvert.tls import library
from culvert.tunnel.plan import ServicePlan, plan_services, with_hosted
from culvert.tunnel.service import Listed, RunningService
from culvert.tunnel.stapling import Stapler

# How long the end of the last tunnel is waited for before it is ended.
_DRAIN_SECONDS = 0.0

_planning = threading.Lock()


class OpenTunnel:
    """Services that run in this program's event loop; see ``open_tunnel``."""

    def __init__(self, configuration: Configuration, log: Log, drain: float) -> None:
        self._configuration = configuration
        self._log = log
        self._drain = drain
        self._engine: Engine | None = None
        self._owns_engine = False
        self._services: list[RunningService] = []
        self._addresses: list[tuple[str, int] | str] = []
        self._pool = Pool()
        self._stapler: Stapler | None = None

    @property
    def addresses(self) -> tuple[tuple[str, int] | str, ...]:
        """What is listened on, in the order of the services: (host, port), or the path of a Unix socket."""
        return tuple(self._addresses)

    @property
    def port(self) -> int:
        """The first TCP port that is listened on; useful with ``accept = 127.0.0.1:0``.  Raises
        LookupError.
        """
        for address in self._addresses:
            if not isinstance(address, str):
                return address[1]
        raise LookupError("no service listens on TCP")

    @property
    def live(self) -> int:
        """The number of tunnels that are open now."""
        return sum(service.live for service in self._services)

    def listing(self) -> list[Listed]:
        """The tunnels that are open now, with the octets that they have carried."""
        return [listed for service in self._services for listed in service.listing()]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        plans = await loop.run_in_executor(None, self._plan)
        self._find_engine(loop)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self.close)
            for plan in plans:
                self._start(plan)
            stapled = (each for plan in with_hosted(plans) for each in plan.policy.stapled)
            self._stapler = Stapler(stapled, self._log)
            self._stapler.start(loop)
            undo.pop_all()
        return self

    def _plan(self) -> tuple[ServicePlan, ...]:
        """Make OpenSSL ready and every context; in a thread, for it may block.

        One at a time: what a configuration asks of OpenSSL must hold while its contexts are made.
        """
        with _planning:
            take_back = library.take_over(self._configuration.options, self._log.write, beside=True)
            try:
                return plan_services(self._configuration, self._log.write)
            except BaseException:
                take_back()
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop accepting, wait for the tunnels as long as ``drain`` says, and end those that are left."""
        idle = asyncio.Event()
        if self._stapler is not None:
            self._stapler.stop()
        for service in self._services:
            service.on_idle = idle.set
            service.stop_accepting()
        self._pool.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain):
                while self.live:
                    idle.clear()
                    await idle.wait()
        for service in self._services:
            service.close()
        if self._engine is not None and self._owns_engine:
            self._engine.close()
        self._engine = None

    def _find_engine(self, loop: asyncio.AbstractEventLoop) -> None:
        if isinstance(loop, EngineLoop):
            self._engine = loop.engine
            return
        self._engine = Engine(with_alarm=True)
        self._engine.attach(loop)
        self._owns_engine = True

    def _start(self, plan: ServicePlan) -> None:
        assert self._engine is not None
        service = RunningService(plan, self._engine, Ids(), self._log)
        self._services.append(service)
        for listening in self._pool.open(plan.service, 1, self._log.write):
            sockaddr = listening.endpoint.sockaddr
            self._addresses.append(sockaddr if isinstance(sockaddr, str) else (sockaddr[0], sockaddr[1]))
            service.start([_copy(sock) for sock in listening.sockets])
        service.start_program()


def _copy(sock: socket.socket) -> int:
    """A descriptor of its own for the engine; the pool keeps and closes the socket."""
    with sock.dup() as copy:
        return copy.detach()


def open_tunnel(
    *services: Service,
    text: str | None = None,
    path: str | Path | None = None,
    log: Log | None = None,
    drain: float = _DRAIN_SECONDS,
) -> OpenTunnel:
    """Run services in the running event loop for the length of an ``async with``.

    services: typed configurations; or text, or the path of a file, in the grammar of stunnel.conf.  Exactly
    one of the three is given.  Global options that concern a process (foreground, pid, output ...) are
    refused.
    log: where lines go; by default the standard library's logger "culvert".  drain: how many seconds the open
    tunnels are waited for at the end.

    Works on ``EngineLoop`` (the fastest), on asyncio's own loops and on uvloop.  Calling or entering it
    raises ConfigErrors with everything that is wrong with the configuration, and SystemRefusal when an
    address cannot be bound.
    """
    given = [bool(services), text is not None, path is not None]
    if sum(given) != 1:
        raise TypeError("open_tunnel() takes services, or a text, or a path")
    return OpenTunnel(_configuration(services, text, path), log or for_library(), drain)


def _configuration(services: Sequence[Service], text: str | None, path: str | Path | None) -> Configuration:
    if text is not None or path is not None:
        found = load_text(text) if text is not None else load_file(str(path))
        if found.inetd:
            reason = "a program has no connection to be taken over: a [section] is needed"
            raise ConfigErrors([ConfigError(None, "inetd mode", reason)])
        if errors := tuple(embedded.refusals(found.options)):
            raise ConfigErrors(errors)
        return found
    if errors := check_services(services):
        raise ConfigErrors(errors)
    return Configuration(options=GlobalOptions(), services=tuple(services), inetd=False, source="a program")
