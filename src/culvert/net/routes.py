"""Whether an address is this machine's own, asked of the kernel's routing table.

A list of interface addresses would grow old, and would miss what `ip route add local` brings without any
interface (AnyIP).  RTM_GETROUTE answers the question itself: where would a connection to this address go?
The kernel answers a netlink socket within the call that asks, so nothing waits and nothing is remembered
(rtnetlink(7), about 10 us).
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
# rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")  # rtattr: length, type
_ERROR: Final = struct.Struct("=i")
_NLMSG_ERROR: Final = 2
_RTM_GETROUTE: Final = 26
_RTM_NEWROUTE: Final = 24
_NLM_F_REQUEST: Final = 1
_RTA_DST: Final = 1
_RTN_UNICAST: Final = 1
_ANSWER_SIZE: Final = 4096
_NETLINK_ROUTE: Final = 0
# Also blackhole, prohibit and unreachable routes, which answer with an error of their own.
_NO_ROUTE: Final = frozenset((errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL))


def leads_away(family: int, number: bytes) -> bool:
    """Whether the kernel would send a connection to this address out of the machine, or nowhere.

    number: the 4 or 16 octets of the address.  False for addresses of this machine, broadcast, anycast and
    multicast.  Raises OSError when the kernel cannot be asked.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as kernel:
        kernel.setblocking(False)
        kernel.send(_question(family, number))
        return _answer(kernel.recv(_ANSWER_SIZE))


def _question(family: int, number: bytes) -> bytes:
    body = _ROUTE.pack(family, 8 * len(number), 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(number), _RTA_DST) + number
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body


def _answer(message: bytes) -> bool:
    kind = _HEADER.unpack_from(message)[1]
    if kind == _NLMSG_ERROR:  # no route: the connection will fail by itself
        error = -_ERROR.unpack_from(message, _HEADER.size)[0]
        if error in _NO_ROUTE:
            return True
        raise OSError(error, "the kernel does not tell its routes")
    if kind != _RTM_NEWROUTE:
        raise OSError(0, "the kernel's answer about a route is not understood")
    return bool(_ROUTE.unpack_from(message, _HEADER.size)[7] == _RTN_UNICAST)
