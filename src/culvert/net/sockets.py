"""The `socket = a|l|r:NAME=VALUE` options: their names and types, compiled once and applied to each socket.

Accepted sockets get on Linux nearly every option of the socket they were accepted from, so that the `l`
options are set once on the listener (`inherited`) and cost nothing for each connection; `per_accepted` is the
rest.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from culvert.config.sockets import NAMES, Form, SocketOption, SocketValue
from culvert.errors import SystemRefusal

Compiled = tuple[tuple[int, int, bytes], ...]
"""Socket options ready for setsockopt: (level, name, value) each."""

_INT = struct.Struct("i")
_LINGER = struct.Struct("ii")  # l_onoff, l_linger in seconds
_TIME = struct.Struct("ll")  # tv_sec, tv_usec

_LEVELS = {
    "SO": socket.SOL_SOCKET,
    "TCP": socket.IPPROTO_TCP,
    "IP": socket.IPPROTO_IP,
    "IPV6": socket.IPPROTO_IPV6,
}
# Linux has them since 2.4; Python's socket module does not name them in every release.
_LINUX_NUMBERS = {"IP_FREEBIND": 15, "SO_BINDTODEVICE": 25}


def _number(name: str) -> tuple[int, int] | None:
    """(level, name) for setsockopt, None where this platform has no such option."""
    level = _LEVELS.get(name.partition("_")[0])
    number = getattr(socket, name, _LINUX_NUMBERS.get(name))
    return None if level is None or number is None else (level, number)


TABLE = {name: number for name in NAMES if (number := _number(name)) is not None}

# What accept4(2) gives to the new socket from the listening one; a test reads each back from an accepted
# socket. SO_LINGER, the two timeouts and SO_RCVLOWAT are inherited too, but would also govern the listener
# itself.
_INHERITED = frozenset(
    TABLE[name]
    for name in (
        "SO_KEEPALIVE", "SO_OOBINLINE", "SO_DONTROUTE", "SO_RCVBUF", "SO_SNDBUF", "IP_TOS", "IP_TTL",
        "TCP_NODELAY", "TCP_KEEPCNT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_USER_TIMEOUT", "TCP_MAXSEG",
    )
)  # fmt: skip


def compile(options: Iterable[SocketOption], slot: str) -> Compiled:  # noqa: A001 (read as sockets.compile)
    """The options of one slot, `a`, `l` or `r`, in the order of the file.

    Raises SystemRefusal for a name that this platform does not have.
    """
    return tuple(_compile_one(option) for option in options if option.slot == slot)


def _compile_one(option: SocketOption) -> tuple[int, int, bytes]:
    if option.name not in TABLE:
        raise SystemRefusal(f"Socket option {option.name}", "Not available on this platform")
    return *TABLE[option.name], _value(NAMES[option.name], option.value)


def _value(form: Form, value: SocketValue) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape") + b"\0"
    pair = value if isinstance(value, tuple) else (value, 0)
    if form is Form.LINGER:
        return _LINGER.pack(*pair)
    if form is Form.TIME:
        return _TIME.pack(*pair)
    return _INT.pack(pair[0])


def apply(sock: socket.socket, compiled: Compiled) -> None:
    """Set the options.  A Unix socket gets none, and one that its protocol does not know is passed over.

    Raises SystemRefusal at the first one that fails for another reason; those before it are set.
    """
    if sock.family == socket.AF_UNIX:
        return
    for level, number, value in compiled:
        try:
            sock.setsockopt(level, number, value)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOPROTOOPT):
                raise SystemRefusal.of(f"setsockopt {_name_of(level, number)}", error) from error


def inherited(compiled: Compiled) -> Compiled:
    """Those of the `l` options that an accepted socket has when they were set on the listening socket."""
    return tuple(each for each in compiled if each[:2] in _INHERITED)


def per_accepted(compiled: Compiled) -> Compiled:
    """Those of the `l` options that must be set on every accepted socket; usually none."""
    return tuple(each for each in compiled if each[:2] not in _INHERITED)


def _name_of(level: int, number: int) -> str:
    found = (name for name, pair in TABLE.items() if pair == (level, number))
    return next(found, f"{level}/{number}")


# `-sockets` ------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One line of `-sockets`: what each kind of socket gets, and what the system gives by itself.

    An empty text means that nothing is set, or that the system does not tell.
    """

    name: str
    accept: str
    local: str
    remote: str
    system: str


def rows(defaults: Sequence[SocketOption]) -> tuple[Row, ...]:
    """The table of `-sockets`: every option that this platform has, in the order of the manual."""
    wanted = {(option.slot, option.name): option for option in defaults}
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as ipv4, _ipv6_or(ipv4) as ipv6:
        return tuple(
            Row(
                name,
                _shown(NAMES[name], wanted.get(("a", name))),
                _shown(NAMES[name], wanted.get(("l", name))),
                _shown(NAMES[name], wanted.get(("r", name))),
                _system_default(ipv6 if level == socket.IPPROTO_IPV6 else ipv4, level, number, NAMES[name]),
            )
            for name, (level, number) in TABLE.items()
        )


def _ipv6_or(other: socket.socket) -> socket.socket:
    try:
        return socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return other


def _shown(form: Form, option: SocketOption | None) -> str:
    if option is None:
        return ""
    if isinstance(option.value, tuple):
        return ":".join(map(str, option.value))
    if form is Form.FLAG:
        return "yes" if option.value else "no"
    return str(option.value)


def _system_default(sock: socket.socket, level: int, number: int, form: Form) -> str:
    try:
        raw = sock.getsockopt(level, number, _TIME.size)
    except OSError:
        return ""
    if form is Form.TEXT:
        return raw.split(b"\0", 1)[0].decode(errors="replace")
    if form in (Form.LINGER, Form.TIME):
        layout = _LINGER if form is Form.LINGER else _TIME
        return ":".join(map(str, layout.unpack(raw[: layout.size])))
    (value,) = _INT.unpack(raw[: _INT.size])
    return ("yes" if value else "no") if form is Form.FLAG else str(value)
