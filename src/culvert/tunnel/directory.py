"""One question to an LDAP directory, on a connection of its own."""

from __future__ import annotations

import asyncio
from typing import Final

from culvert.config.values import Address
from culvert.negotiate import ber
from culvert.negotiate.failures import NegotiationFailed
from culvert.net.addresses import resolve_in_thread

_ANSWER_MAX: Final = 4096


async def ask(address: str, request: bytes, seconds: float | None) -> bytes:
    """The message that the directory at ``HOST:PORT`` answers with.

    seconds: for all of it.  Raises OSError (TimeoutError), SystemRefusal or NegotiationFailed.
    """
    async with asyncio.timeout(seconds):
        for endpoint in await resolve_in_thread(Address.parse(address)):
            if isinstance(endpoint.sockaddr, str):
                reader, writer = await asyncio.open_unix_connection(endpoint.sockaddr)
            else:
                reader, writer = await asyncio.open_connection(*endpoint.sockaddr[:2])
            try:
                writer.write(request)
                return await _message(reader)
            finally:
                writer.close()
    raise NegotiationFailed(f"{address} has no address")


async def _message(reader: asyncio.StreamReader) -> bytes:
    try:
        start = await reader.readexactly(2)
        more = await reader.readexactly(ber.length_octets(start[1]))
        size = ber.read_length(start[1], more)
        if size > _ANSWER_MAX:
            raise ber.bad(f"a message of {size} octets")
        return start + more + await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise NegotiationFailed("the directory leaves in the middle of its answer") from error
