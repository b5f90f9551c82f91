"""Two real sockets around a carrier: a TLS peer of Python's ssl module in memory, and a plain peer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from culvert.engine import Carrier, Engine, EngineLoop, Route, Side, SocketOptions
from culvert.net.addresses import of_socket
from culvert.openssl import Context
from culvert.openssl.certificates import Certificate, PrivateKey
from tests.pki import Identity, Pki

DEADLINE = 10.0
NO_OPTIONS = SocketOptions()


def server_context(identity: Identity) -> Context:
    context = Context(server=True)
    context.use_identity(Certificate.from_pem(identity.pem), PrivateKey.from_pem(identity.key_pem))
    return context


def trusting(pki: Pki) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pki.root.ca))


class Place:
    """An engine, a listener, and a backend that accepts by hand."""

    def __init__(self, life: Callable[[Carrier], Coroutine[Any, Any, None]]) -> None:
        self.loop = EngineLoop()
        self.engine: Engine = self.loop.engine
        self.crashes: list[Exception] = []
        self.engine.on_crash = lambda _carrier, exc: self.crashes.append(exc)
        self.unusual: list[object] = []
        self.route: Route = self.engine.route(lambda carrier: carrier.live(life(carrier)), self._unusual)
        self.listening = _listening()
        self.backend = _listening()
        self.route.listen(
            self.listening.dup().detach(), lambda *starved: self.crashes.append(OSError(*starved))
        )

    @property
    def backend_address(self) -> bytes:
        return of_socket(self.backend).packed

    def _unusual(self, carrier: Carrier, *facts: object) -> None:
        self.unusual.append(facts)
        carrier.close()

    def dialled(self) -> socket.socket:
        """A connection to the listener."""
        return socket.create_connection(self.listening.getsockname(), DEADLINE)

    def until(self, condition: Callable[[], bool]) -> None:
        """Run the loop until the condition holds."""

        async def wait() -> None:
            async with asyncio.timeout(DEADLINE):
                while not condition():  # noqa: ASYNC110 - nothing but another turn of the loop can make it true
                    await asyncio.sleep(0.002)

        self.loop.run_until_complete(wait())

    def meanwhile(self, work: Callable[[], Any]) -> Any:
        """Run blocking work in a thread while the loop runs."""
        return self.loop.run_until_complete(asyncio.wait_for(self.loop.run_in_executor(None, work), DEADLINE))

    def close(self) -> None:
        self.listening.close()
        self.backend.close()
        self.route.close()
        self.loop.run_until_complete(asyncio.sleep(0))  # what the lives awaited outside is cancelled
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextlib.contextmanager
def place(life: Callable[[Carrier], Coroutine[Any, Any, None]]) -> Iterator[Place]:
    it = Place(life)
    try:
        yield it
    finally:
        it.close()


def _listening() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    return listening


async def serve(carrier: Carrier, context: Context, backend: bytes, idle: float | None = None) -> Any:
    """Handshake, dial and relay as a server."""
    await carrier.handshake(Side.ACCEPTED, context.session(), DEADLINE)
    await carrier.dial(backend, b"", NO_OPTIONS, DEADLINE)
    return await carrier.relay(idle, DEADLINE, tolerant=False)
