"""The options of `socket` are on the living sockets of a tunnel."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from typing import Any

import pytest

import culvert
from culvert import Address, Service
from culvert.config.sockets import DEFAULTS, NAMES, Form, SocketOption, merge, parse
from culvert.engine import Side
from culvert.net import sockets

# A value for every name, other than the system's; SO_SNDLOWAT cannot be set on Linux (socket(7)).
VALUES = {
    "SO_KEEPALIVE": "yes", "SO_OOBINLINE": "yes", "SO_DONTROUTE": "yes", "TCP_NODELAY": "no",
    "SO_RCVBUF": "50000", "SO_SNDBUF": "50000", "SO_RCVLOWAT": "2", "TCP_KEEPCNT": "7", "TCP_KEEPIDLE": "71",
    "TCP_KEEPINTVL": "17", "TCP_USER_TIMEOUT": "12345", "IP_TOS": "16", "IP_TTL": "33", "TCP_MAXSEG": "1000",
    "SO_LINGER": "1:7", "SO_RCVTIMEO": "7:500000", "SO_SNDTIMEO": "8", "IP_FREEBIND": "yes",
    "SO_REUSEADDR": "yes",
} | ({"SO_BINDTODEVICE": "lo", "SO_DEBUG": "yes"} if os.geteuid() == 0 else {})  # fmt: skip


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=culvert.EngineLoop) as runner:
        runner.run(asyncio.wait_for(main, 30))


def differences(sock: socket.socket, slot: str, wanted: list[SocketOption]) -> list[str]:
    """The options that a socket does not have, and what it has."""
    found = []
    for option in wanted:
        ((level, number, value),) = sockets.compile([option], slot)
        told = sock.getsockopt(level, number, max(len(value), 16))
        if not _says(option, told, value):
            found.append(f"{option}: {told!r}")
    return found


def _says(option: SocketOption, told: bytes, value: bytes) -> bool:
    """Whether the kernel tells what it was told."""
    if option.name == "TCP_MAXSEG":  # it is as long as the connection allows
        return True
    if option.name in ("SO_RCVBUF", "SO_SNDBUF"):  # the kernel doubles them (socket(7))
        return int.from_bytes(told, "little") == 2 * int(str(option.value))
    if NAMES[option.name] is Form.FLAG:
        return any(told) is bool(option.value)
    return told == value


@pytest.mark.parametrize("slot", ["a", "l", "r"])
def test_every_option_is_on_the_socket_of_its_slot(slot: str) -> None:
    wanted = [parse(f"{slot}:{name}={value}") for name, value in VALUES.items()]
    if slot == "a":  # what accepted sockets inherit from the listener, they have from the `l` options
        inherited = {each.name for each in DEFAULTS if each.slot == "l"}
        wanted = [each for each in wanted if each.name not in inherited]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as far:
            far.setblocking(False)
            service = Service(
                name="near",
                client=True,
                accept=(Address.parse("127.0.0.1:0"),),
                connect=(Address.parse(f"127.0.0.1:{far.getsockname()[1]}"),),
                socket=merge(wanted),
            )
            async with culvert.open_tunnel(service) as tunnel:
                _, writer = await asyncio.open_connection("127.0.0.1", tunnel.port)
                accepted, _ = await loop.sock_accept(far)
                (carrier,) = tunnel._engine._carriers.values()  # type: ignore[union-attr]
                side = {"l": Side.ACCEPTED, "r": Side.DIALLED}
                if slot == "a":
                    (listening,) = tunnel._pool.everything()
                    assert differences(listening.sockets[0], slot, wanted) == []
                else:
                    with socket.socket(fileno=carrier.descriptor(side[slot])) as sock:
                        assert differences(sock, slot, wanted) == []
                        sock.detach()
                accepted.close()
                writer.close()

    run(main())


def test_both_ends_may_be_abstract_unix_sockets() -> None:
    near, far = (f"@culvert-{os.getpid()}-{end}" for end in ("near", "far"))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(f"\0{far[1:]}")
            listener.listen()
            listener.setblocking(False)
            client.setblocking(False)
            accept, connect = (Address.parse(near),), (Address.parse(far),)
            async with culvert.open_tunnel(Service(name="near", client=True, accept=accept, connect=connect)):
                await loop.sock_connect(client, f"\0{near[1:]}")
                accepted, _ = await loop.sock_accept(listener)
                with accepted:
                    assert (await loop.sock_recv(accepted, 1)) == b"\x16"  # a ClientHello

    run(main())
