"""The `socket` option: `a|l|r:NAME=VALUE`, its names and the types of their values.

a is the listening socket, l the accepted one, r the connected one.  Names are case-sensitive, as in the
original.  The numbers behind the names belong to culvert.net, which alone knows the platform.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from culvert.config.values import BadValue, Kind, nearest, whole

SocketValue = int | tuple[int, int] | str


class SocketOption(NamedTuple):
    """One socket option of one slot.

    value: 0 or 1 for a flag, an integer, (on, seconds) for SO_LINGER, (seconds, microseconds) for the time
    limits,
        text for a device name.
    """

    slot: str  # 'a', 'l' or 'r'
    name: str
    value: SocketValue

    def __str__(self) -> str:
        value = ":".join(map(str, self.value)) if isinstance(self.value, tuple) else str(self.value)
        return f"{self.slot}:{self.name}={value}"


class Form(enum.Enum):
    """How the value of a socket option is written."""

    FLAG = "yes or no"
    INTEGER = "a number"
    LINGER = "on[:seconds]"
    TIME = "seconds[:microseconds]"
    TEXT = "at most 15 bytes"


_FLAGS = (
    "SO_DEBUG SO_DONTROUTE SO_KEEPALIVE SO_OOBINLINE SO_REUSEADDR TCP_NODELAY IP_FREEBIND IP_BINDANY "
    "IPV6_BINDANY IPV6_V6ONLY SO_EXCLUSIVEADDRUSE UDP_CORK UDP_NO_CHECK6_TX UDP_NO_CHECK6_RX UDP_GRO"
)
_INTEGERS = (
    "SO_RCVBUF SO_SNDBUF SO_RCVLOWAT SO_SNDLOWAT TCP_KEEPCNT TCP_KEEPIDLE TCP_KEEPINTVL TCP_USER_TIMEOUT "
    "IP_TOS IP_TTL TCP_MAXSEG UDP_ENCAP UDP_SEGMENT"
)
NAMES: Mapping[str, Form] = MappingProxyType(
    dict.fromkeys(_FLAGS.split(), Form.FLAG)
    | dict.fromkeys(_INTEGERS.split(), Form.INTEGER)
    | {
        "SO_LINGER": Form.LINGER,
        "SO_RCVTIMEO": Form.TIME,
        "SO_SNDTIMEO": Form.TIME,
        "SO_BINDTODEVICE": Form.TEXT,
    }
)

# Why a name cannot be had here; the names of other platforms are known so that the refusal can say more than
# "unknown".
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "SO_EXCLUSIVEADDRUSE": "is a Windows socket option; it means nothing on this platform",
        "IP_BINDANY": "is a socket option of FreeBSD; it means nothing on this platform",
        "IPV6_BINDANY": "is a socket option of FreeBSD; it means nothing on this platform",
    }
    | {
        name: "is not available in this version of Culvert: there are no UDP services"
        for name in NAMES
        if name.startswith("UDP_")
    }
)

_KEPT_ALIVE = (
    ("TCP_NODELAY", 1),
    ("SO_KEEPALIVE", 1),
    ("TCP_KEEPIDLE", 60),
    ("TCP_KEEPINTVL", 15),
    ("TCP_KEEPCNT", 4),
    ("TCP_USER_TIMEOUT", 300_000),  # milliseconds without an acknowledgement, tcp(7)
)
DEFAULTS: tuple[SocketOption, ...] = (
    SocketOption("a", "SO_REUSEADDR", 1),
    *(SocketOption(slot, name, value) for slot in "lr" for name, value in _KEPT_ALIVE),
)


def merge(
    changes: Iterable[SocketOption], base: Sequence[SocketOption] = DEFAULTS
) -> tuple[SocketOption, ...]:
    """`base` with each change in place of the same name in the same slot; the last change wins."""
    effective = {(each.slot, each.name): each for each in base}
    effective.update(((each.slot, each.name), each) for each in changes)
    return tuple(effective.values())


def parse(text: str) -> SocketOption:
    """Read `a|l|r:NAME=VALUE`.  Raises BadValue."""
    slot, colon, setting = text.partition(":")
    name, equals, value = setting.partition("=")
    if slot not in ("a", "l", "r") or not colon or not equals:
        raise BadValue("Illegal socket option: it is written a:NAME=VALUE, l:NAME=VALUE or r:NAME=VALUE")
    name, value = name.strip(), value.strip()
    if name not in NAMES:
        raise BadValue(f'Illegal socket option: no option is called "{name}"', nearest(name, NAMES))
    if name in ELSEWHERE:
        raise BadValue(f"{name} {ELSEWHERE[name]}")
    return SocketOption(slot, name, _value(name, value))


def _value(name: str, text: str) -> SocketValue:
    try:
        return _READERS[NAMES[name]](text)
    except (BadValue, KeyError):
        raise BadValue(f"Illegal socket option: {name} needs {NAMES[name].value}") from None


def _linger(text: str) -> tuple[int, int]:
    on, _colon, length = text.partition(":")
    return whole(on, "", 0, 1), whole(length or "0", "", 0, 32767)


def _time(text: str) -> tuple[int, int]:
    count, _colon, micro = text.partition(":")
    return whole(count, "", 0, 2**31 - 1), whole(micro or "0", "", 0, 999_999)


def _short_text(text: str) -> str:
    if not 0 < len(text.encode("utf-8", "surrogateescape")) <= 15:
        raise BadValue("")
    return text


_SWITCH = {"yes": 1, "no": 0, "1": 1, "0": 0}
_READERS: Mapping[Form, Callable[[str], SocketValue]] = {
    Form.FLAG: lambda text: _SWITCH[text.lower()],
    Form.INTEGER: lambda text: whole(text, "", -(2**31), 2**31 - 1),
    Form.LINGER: _linger,
    Form.TIME: _time,
    Form.TEXT: _short_text,
}

SOCKET = Kind("a | l | r : NAME=VALUE", parse, str)
