"""Where each client of a service is let in or turned away, before a word is said to it.

A service to which everybody may come has no gate, and no cost.  What needs only numbers is decided at once:
networks, the owner of a local client, the seats that are left.  What needs somebody else's answer
(hosts.allow with its names, RFC 1413) is awaited outside of the tunnel, with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from culvert.engine import Carrier, Side
from culvert.errors import PeerError, TunnelError
from culvert.net import addresses
from culvert.net.networks import host_of
from culvert.net.owners import Owner, Owners
from culvert.net.wrappers import Impossible
from culvert.observe.log import DEBUG, ERR, INFO, WARNING, Log
from culvert.observe.repeated import Repeated
from culvert.tunnel import ident
from culvert.tunnel.admission import Admission
from culvert.tunnel.seats import Full

if TYPE_CHECKING:
    from culvert.net.wrappers.asking import Wrappers
    from culvert.tunnel.life import Tunnel


class TurnedAway(TunnelError):
    """A client was not let in; who raised this has written the line.

    counted: its end is told like that of any other connection; otherwise a flood of such clients would be a
    flood of lines.
    """

    def __init__(self, reason: str, *, counted: bool = False) -> None:
        super().__init__("admit", reason)
        self.args = (reason,)
        self.counted = counted


class Gate:
    """The gate of one service in one process.  Raises SystemRefusal when there is no room to count."""

    def __init__(self, admission: Admission, log: Log, wrappers: Wrappers | None = None) -> None:
        """``log``: the process's, for lines that are written once for many clients.

        wrappers: who judges by hosts.allow; in threads of this process, where nothing is given.
        """
        self._wrappers = _wrappers(wrappers) if admission.service.libwrap else None
        self._admission = admission
        self._service = admission.service
        self._seats = admission.seats
        self._seated: dict[Tunnel, bytes] = {}
        self._owners = Owners() if admission.uids is not None else None
        self._full = {reason: Repeated(log, WARNING) for reason in Full}
        if self._seats is not None:
            self._seats.occupy()

    def close(self) -> None:
        """No client comes any more."""
        if self._owners is not None:
            self._owners.close()

    async def admit(self, tunnel: Tunnel) -> None:
        """Let the client of a new tunnel in.  Raises TurnedAway."""
        await self.admit_switched(tunnel)
        if self._service.ident is not None:
            await self._ask_host(tunnel)

    async def admit_switched(self, tunnel: Tunnel) -> None:
        """The same for a tunnel that came to this service by its server name; its host was asked before.

        `left` must be told of the end of every tunnel that was given to `admit` or to this.
        """
        self._judge_address(tunnel)
        self._judge_owner(tunnel)
        self._take_seat(tunnel)
        if self._wrappers is not None:
            await self._ask_tables(tunnel, self._wrappers)

    def left(self, tunnel: Tunnel) -> None:
        """The tunnel is over, or was turned away."""
        host = self._seated.pop(tunnel, None)
        if host is not None and self._seats is not None:
            self._seats.leave(host, self._service.max_connections_per_address)

    def _judge_address(self, tunnel: Tunnel) -> None:
        host = host_of(tunnel.client)
        if not host:
            return
        if self._admission.deny.has(host):
            self._refuse(tunnel, "deny")
        if self._admission.allow and not self._admission.allow.has(host):
            self._refuse(tunnel, "allow")

    def _judge_owner(self, tunnel: Tunnel) -> None:
        if self._owners is None:
            return
        with accepted_socket(tunnel.carrier) as sock:
            owner = self._owners.owner(sock)
        if not self._admission.admits_owner(owner):
            option = "allowUid" if self._service.allow_uid else "allowGid"
            self._refuse(tunnel, option, _whose(owner))

    def _take_seat(self, tunnel: Tunnel) -> None:
        if self._seats is None:
            return
        service, host = self._service, host_of(tunnel.client)
        full = self._seats.take(host, service.max_connections, service.max_connections_per_address)
        if full is None:
            self._seated[tunnel] = host
            return
        client = addresses.unpack(tunnel.client)
        reason = f"Service [{service.name}] rejected {client}: {full.value}{self._limit(full)}"
        self._full[full].happened(reason)
        raise TurnedAway(reason)

    def _limit(self, full: Full) -> str:
        service = self._service
        limits = {Full.SERVICE: service.max_connections, Full.ADDRESS: service.max_connections_per_address}
        return f" (>={limits[full]})" if full in limits else ""

    async def _ask_tables(self, tunnel: Tunnel, wrappers: Wrappers) -> None:
        from culvert.net.wrappers.facts import Request

        if not host_of(tunnel.client):  # libwrap has nothing to say of a Unix socket
            return
        name = self._service.name
        with accepted_socket(tunnel.carrier) as sock:
            request = Request(name, tunnel.client, addresses.of_socket(sock).packed)
        question = asyncio.wait_for(wrappers.permits(request), self._service.timeout_busy)
        client = addresses.unpack(tunnel.client)
        try:
            permitted = await tunnel.carrier.outside(question)
        except (TimeoutError, Impossible) as error:
            tunnel.say(ERR, f"libwrap: {error or 'TIMEOUTbusy exceeded'}")
            permitted = False
        if not permitted:
            line = f"Service [{name}] REFUSED by libwrap from {client}"
            tunnel.say(WARNING, line)
            tunnel.say(DEBUG, "See hosts_access(5) manual for details")
            raise TurnedAway(line, counted=True)
        tunnel.say(DEBUG, f"Service [{name}] permitted by libwrap from {client}")

    async def _ask_host(self, tunnel: Tunnel) -> None:
        with accepted_socket(tunnel.carrier) as sock:
            if sock.family == socket.AF_UNIX:
                tunnel.say(INFO, "IDENT not supported on Unix sockets")
                return
            client, own = ident.addresses_of(sock)
        service, port = self._service, self._admission.ident_port
        question = ident.user_of(client, own, port, service.timeout_connect, service.timeout_busy)
        try:
            user = await tunnel.carrier.outside(question)
        except (OSError, PeerError) as error:  # TimeoutError is an OSError
            tunnel.say(ERR, _no_answer(error))
            raise TurnedAway("no answer to IDENT", counted=True) from error
        if user != service.ident:
            line = f'Connection from {client.text} REFUSED by IDENT (user "{user}")'
            tunnel.say(ERR, line)
            raise TurnedAway(line, counted=True)
        tunnel.say(INFO, "IDENT authentication passed")

    def _refuse(self, tunnel: Tunnel, option: str, detail: str = "") -> None:
        client = addresses.unpack(tunnel.client)
        line = f"Service [{self._service.name}] REFUSED by {option} from {client}{detail}"
        tunnel.say(WARNING, line)
        raise TurnedAway(line)


@contextlib.contextmanager
def accepted_socket(carrier: Carrier) -> Iterator[socket.socket]:
    """The accepted connection as a socket of Python's, to ask it something; it stays the carrier's."""
    sock = socket.socket(fileno=carrier.descriptor(Side.ACCEPTED))
    try:
        yield sock
    finally:
        sock.detach()


def _wrappers(given: Wrappers | None) -> Wrappers:
    from culvert.net.wrappers.asking import Wrappers  # only services that use it pay for the import

    return given or Wrappers()


def _whose(owner: Owner | None) -> str:
    return " (owner unknown)" if owner is None else f" (user {owner.uid})"


def _no_answer(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "IDENT: no answer in time: TIMEOUTconnect or TIMEOUTbusy exceeded"
    if isinstance(error, PeerError):
        return str(error)
    return f"IDENT: {error.strerror or error}" if isinstance(error, OSError) else str(error)
