"""Asking a client's host for the owner of the connection (`ident`, RFC 1413)."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from culvert.errors import PeerError
from culvert.net import addresses, identification
from culvert.net.addresses import Endpoint

_FALLBACK_WARNING: Final = f"Unknown service 'auth': using default {identification.SERVICE[1]}"


def port() -> tuple[int, str]:
    """The port to ask, and a warning or nothing; blocks, since it reads the services database."""
    try:
        return socket.getservbyname(identification.SERVICE[0], "tcp"), ""
    except OSError:
        return identification.SERVICE[1], _FALLBACK_WARNING


async def user_of(
    client: Endpoint, own: Endpoint, port: int, connect: float | None, busy: float | None
) -> str:
    """The name that the host of ``client`` gives to the owner of its connection to ``own``.

    The question comes from the address that the client is connected to, since the pair of addresses is part
    of it (RFC 1413, 3).  connect, busy: seconds for the connection and for the answer, None for ever.
    Raises OSError or TimeoutError when there is no answer, PeerError when it is none that names a user.
    """
    host, own_host = client.sockaddr[0], own.sockaddr[0]
    async with asyncio.timeout(connect):
        reader, writer = await asyncio.open_connection(
            host, port, local_addr=(own_host, 0), limit=identification.REPLY_OCTETS
        )
    try:
        async with asyncio.timeout(busy):
            writer.write(identification.question(int(client.sockaddr[1]), int(own.sockaddr[1])))
            reply = await _line(reader)
    finally:
        writer.transport.abort()
    return identification.user_of(reply, int(client.sockaddr[1]), int(own.sockaddr[1]))


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:  # the end of the connection ends the line as well
        return error.partial
    except asyncio.LimitOverrunError:
        raise PeerError(
            "Malformed IDENT response", f"more than {identification.REPLY_OCTETS} octets"
        ) from None


def addresses_of(sock: socket.socket) -> tuple[Endpoint, Endpoint]:
    """The client's and the own address of an accepted connection."""
    return addresses.endpoint(sock.family, sock.getpeername()), addresses.of_socket(sock)
