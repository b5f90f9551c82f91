"""`culvert sessiond`: a server of stunnel's protocol for TLS sessions that several machines share."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

from culvert.config.values import Address, BadValue
from culvert.errors import SystemRefusal
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.net.sessiond import PACKET_MAX
from culvert.net.sessiontable import SessionTable

DEFAULT_ADDRESS: Final = "127.0.0.1:4410"
SWEEP_SECONDS: Final = 30.0
RECEIVE_BUFFER: Final = 1 << 20

_NOTE: Final = """\
The protocol has neither authentication nor encryption: whoever can reach the port can read sessions, and with
them decrypt connections, or store sessions of his own. Listen on loopback or on a network that is private to
the servers, and let nothing else in. Options of a service that use it: sessiond = HOST:PORT.
"""


def run(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; 0 then, 1 when the address cannot be had, 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    text = options.listen or options.address or DEFAULT_ADDRESS
    try:
        sock = _bound(text)
    except (BadValue, SystemRefusal, OSError) as error:
        print(f"culvert sessiond: {text}: {error}", file=sys.stderr)
        return 1
    table = SessionTable(options.size, options.octets)
    with sock:
        print(f"Serving TLS sessions on {addresses.of_socket(sock).text}", file=sys.stderr, flush=True)
        asyncio.run(_serve(sock, table))
    print(f"Ended with {len(table)} session(s)", file=sys.stderr, flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="culvert sessiond",
        description="Keep TLS sessions for a fleet of servers, Culvert or stunnel.",
        epilog=_NOTE,
    )
    parser.add_argument("address", nargs="?", help=f"where to listen, [HOST:]PORT ({DEFAULT_ADDRESS})")
    parser.add_argument("--listen", metavar="ADDRESS", help="the same")
    parser.add_argument("--size", type=_positive, default=65536, help="sessions at most (65536)")
    parser.add_argument(
        "--octets", type=_positive, default=1 << 26, help="octets of memory for them at most (67108864)"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("at least 1")
    return number


def _bound(text: str) -> socket.socket:
    address = Address.parse(text)
    if address.path is not None:
        raise BadValue("datagrams need a port")
    if address.host is None:
        address = Address(host="127.0.0.1", port=address.port)
    endpoint: Endpoint = addresses.resolve(address, passive=True)[0]
    sock = socket.socket(endpoint.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind(endpoint.sockaddr)
    except OSError:
        sock.close()
        raise
    return sock


async def _serve(sock: socket.socket, table: SessionTable) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    loop.add_reader(sock, _answer_all, sock, table)
    try:
        while not end.is_set():
            table.sweep()
            try:
                await asyncio.wait_for(end.wait(), SWEEP_SECONDS)
            except TimeoutError:
                continue
    finally:
        loop.remove_reader(sock)


def _answer_all(sock: socket.socket, table: SessionTable) -> None:
    """Take what waits in the socket, some at a time; an answer that the kernel refuses is lost."""
    for _ in range(64):
        try:
            octets, peer = sock.recvfrom(PACKET_MAX + 1)
            answer = table.answer(octets)
            if answer is not None:
                sock.sendto(answer, peer)
        except BlockingIOError:
            return
        except OSError:
            continue
