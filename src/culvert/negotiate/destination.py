"""A destination that a client names: looked up once, judged as the addresses that will be connected to."""

from __future__ import annotations

from typing import Final, NamedTuple

from culvert.negotiate.failures import NegotiationFailed, shown
from culvert.negotiate.steps import Host, Talk, judge, note, resolve

_INFO: Final = 6


class Unknown(NegotiationFailed):
    """The name has no address."""


class Forbidden(NegotiationFailed):
    """An address of the destination is not for clients."""


class Wanted(NamedTuple):
    """What the client asks for; ``what`` is the protocol's word for it in the log."""

    what: str
    host: bytes
    port: int
    numeric: bool


def choose(wanted: Wanted) -> Talk[tuple[Host, ...]]:
    """The addresses to dial.  Raises Unknown or Forbidden; one forbidden address forbids them all."""
    found = yield from _look_up(wanted)
    for host, port in found:
        reason = yield from judge((host, port))
        if reason:
            raise Forbidden(
                f"{wanted.what.split(' ')[0].rstrip('45a')} connection to {host}:{port} rejected: {reason}"
            )
    return found


def _look_up(wanted: Wanted) -> Talk[tuple[Host, ...]]:
    if wanted.numeric:
        yield from note(_INFO, f"{wanted.what} address received")
        return ((wanted.host.decode("ascii"), wanted.port),)
    shown_name = shown(wanted.host)
    name = _name(wanted.host)
    found = (yield from resolve(name, str(wanted.port))) if name else ()
    if not found:
        raise Unknown(f'{wanted.what} failed to resolve "{shown_name}"')
    yield from note(_INFO, f'{wanted.what} resolved "{shown_name}" to {len(found)} host(s)')
    return found


def _name(host: bytes) -> str | None:
    """What to ask a resolver for, None for what is no name; the length is that of DNS (RFC 1035, 2.3.4)."""
    if not 0 < len(host) <= 255 or not host.isascii():
        return None
    name = host.decode("ascii")
    return name if name.isprintable() and " " not in name else None
