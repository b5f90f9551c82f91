"""One attempt to connect to one address: from where, with which socket options, and what is said of it."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Sequence
from typing import Final

from culvert.engine import Carrier, Cause, DialFailed, Side, SocketOptions
from culvert.net import addresses, transparent
from culvert.net.addresses import Endpoint
from culvert.observe.log import DEBUG, ERR, INFO, NOTICE
from culvert.tunnel.plan import Say, ServicePlan

# A Unix socket whose backlog is full answers EAGAIN at once, where TCP would wait (connect(2)).
_BACKLOG_PAUSE: Final = 0.05

_ANY: Final = (b"",)


class Dialler:
    """Connects the far sides of one service's tunnels."""

    def __init__(self, plan: ServicePlan) -> None:
        self._plan = plan
        self._service = plan.service
        self._passing = plan.passing if plan.passing is not None and plan.passing.from_client else None

    async def connect(
        self, carrier: Carrier, endpoint: Endpoint, client: bytes, logged: int, say: Say
    ) -> DialFailed | None:
        """Connect to an address, and say so; or the failure, which was told as well.

        client: the packed address of the client, from which it is connected where the service passes it on.
        Raises LookupError when no own address fits to this one.
        """
        sources = self._sources(endpoint, client)
        if not sources:
            own = "the client" if self._passing else "local"
            say(DEBUG, f"s_connect: {endpoint.text} is of another address family than {own}")
            raise LookupError(endpoint.text)
        if logged >= INFO:
            say(INFO, f"s_connect: connecting {endpoint.text}")
        try:
            source = await self._dial_from(carrier, endpoint, sources)
        except DialFailed as failure:
            say(ERR, failure_line(endpoint, failure))
            return failure
        if logged >= NOTICE:
            self._say_connected(carrier, endpoint, source, say)
        return None

    def _sources(self, endpoint: Endpoint, client: bytes) -> Sequence[bytes]:
        """The packed own addresses to dial from, best first; an empty one where the kernel chooses."""
        if endpoint.family == socket.AF_UNIX:
            return _ANY
        if self._passing is not None:
            return transparent.sources(client, endpoint.family)
        if not self._plan.sources:
            return _ANY
        found = self._plan.sources.get(endpoint.family)
        return () if found is None else (found.packed,)

    async def _dial_from(self, carrier: Carrier, endpoint: Endpoint, sources: Sequence[bytes]) -> bytes:
        """Dial from the first source that is free, and say which."""
        options = self._plan.dial_options
        if self._passing is not None and endpoint.family != socket.AF_UNIX:
            options = self._passing.options(endpoint)
        *earlier, last = sources
        for source in earlier:
            try:
                await self._dial(carrier, endpoint, source, options)
            except DialFailed as failure:
                if failure.errno != errno.EADDRINUSE:
                    raise
            else:
                return source
        await self._dial(carrier, endpoint, last, options)
        return last

    async def _dial(
        self, carrier: Carrier, endpoint: Endpoint, source: bytes, options: SocketOptions
    ) -> None:
        timeout = self._service.timeout_connect
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return await carrier.dial(endpoint.packed, source, options, timeout)
            except DialFailed as failure:
                if failure.errno != errno.EAGAIN or endpoint.family != socket.AF_UNIX:
                    raise
                if until is not None and time.monotonic() >= until:
                    raise DialFailed(Cause.CONNECT_TIMEOUT) from failure
            await carrier.outside(asyncio.sleep(_BACKLOG_PAUSE))

    def _say_connected(self, carrier: Carrier, endpoint: Endpoint, source: bytes, say: Say) -> None:
        if source and self._passing is not None:
            say(INFO, "IP_TRANSPARENT socket option set")
        if source:
            port = "the original port" if any(source[2:4]) else "an ephemeral port"
            say(INFO, f"bind succeeded on {port}")
        say(NOTICE, f"s_connect: connected {endpoint.text}")
        say(NOTICE, f"Service [{self._service.name}] connected remote server from {_own(carrier)}")


def failure_line(endpoint: Endpoint, failure: DialFailed) -> str:
    """The line for an address that could not be reached."""
    if failure.cause is Cause.CONNECT_TIMEOUT:
        return f"s_connect: s_poll_wait {endpoint.text}: TIMEOUTconnect exceeded"
    return f"s_connect: connect {endpoint.text}: {failure.reason}"


def _own(carrier: Carrier) -> str:
    """The own address of the dialled connection."""
    with socket.socket(fileno=carrier.descriptor(Side.DIALLED)) as sock:
        try:
            return addresses.of_socket(sock).text
        except OSError:
            return "unnamed socket"
        finally:
            sock.detach()
