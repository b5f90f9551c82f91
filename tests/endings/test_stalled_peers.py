"""A peer that stops reading costs no processor time, in whatever state its socket and the other one are.

One side sends until nothing is taken any more; then something happens on one of the sockets, and the proxy is
watched while nobody reads.  All states of a mode stand open at once, so that the time is spent only once;
when the sum is too much, every state is measured alone, to name the guilty.  In the end the timers let go
of all.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.endings.conftest import MakeCrossing
from tests.endings.matrix import MODES
from tests.proxies import SMALL, Crossing, Deadline, PlainPeer, TlsPeer, Variant, Wire, payload
from tests.proxies.configuration import Mode
from tests.proxies.plain import SocketPeer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

WINDOW = 3.0  # s
SHARE = 0.02
TIMER = "6"  # s, longer than it takes to set up the states and to watch them
SECONDS = 30.0
BLOCK = payload(65_536)

Event = Callable[[SocketPeer], object]
Happens = tuple[tuple[str, Event], ...]
"""Who does what, one after the other."""


def urgent(peer: SocketPeer) -> None:
    """Send an octet out of band."""
    peer.sock.send(b"!", socket.MSG_OOB)


def end(peer: SocketPeer) -> None:
    """close_notify, where there is TLS, and FIN."""
    if isinstance(peer, TlsPeer):
        peer.send_close_notify(Deadline(SECONDS))
    peer.fin()


fin, reset, close = SocketPeer.fin, SocketPeer.reset, SocketPeer.close


# By who has stopped reading.  What the stalled one does arrives at once; what the sender does stands behind
# its octets, which is why it sends no more than the proxy's kernel takes.  When both have ended, the
# proxy's plain socket is in the state that poll calls a hang-up.
STALLED_TLS: dict[str, Happens] = {
    "T stalls": (),
    "T stalls, then ends": (("T", end),),
    "T stalls, then a bare FIN": (("T", fin),),
    "T stalls, then resets": (("T", reset),),
    "T stalls, then an urgent octet": (("T", urgent),),
    "T stalls, P ends": (("P", end),),
    "T stalls, P closes": (("P", close),),
    "T stalls, P resets": (("P", reset),),
    "T stalls, P sends an urgent octet": (("P", urgent),),
    "T stalls, both end": (("T", end), ("P", end)),
}
STALLED_PLAIN: dict[str, Happens] = {
    "P stalls": (),
    "P stalls, then ends": (("P", end),),
    "P stalls, then resets": (("P", reset),),
    "P stalls, then an urgent octet": (("P", urgent),),
    "P stalls, T ends": (("T", end),),
    "P stalls, T sends a bare FIN": (("T", fin),),
    "P stalls, T resets": (("T", reset),),
    "P stalls, T sends an urgent octet": (("T", urgent),),
    "P stalls, both end": (("T", end), ("P", end)),
}
STATES = {**STALLED_TLS, **STALLED_PLAIN}


QUIET = ("T stalls", "P stalls")
"""The states in which the sender sends until its own socket is full too."""


def send_until_full(tls: TlsPeer, plain: PlainPeer, name: str) -> int:
    """Send towards the peer that does not read; give the octets that the proxy's kernel has taken."""
    if name in STALLED_TLS:
        return plain.fill(BLOCK, Deadline(SECONDS)) - plain.unsent()
    sent, data = 0, b""
    tls.sock.settimeout(0)
    while select.select([], [tls.sock], [], 0.4)[1]:
        if not data:
            tls.hold(BLOCK)
            data = tls.held()
        taken = tls.sock.send(data)
        data, sent = data[taken:], sent + taken
    return sent - tls.unsent()


def send_part(tls: TlsPeer, plain: PlainPeer, name: str, taken: int) -> None:
    """Send a part of what was taken before: what the sender does next must not be stuck behind it."""
    sender = plain if name in STALLED_TLS else tls
    for _ in range(taken // 4 // len(BLOCK)):
        sender.send(BLOCK, Deadline(SECONDS))
    sender.wait_sent(Deadline(SECONDS))


@contextmanager
def stalled(crossing: Crossing, name: str, taken: int) -> Iterator[tuple[TlsPeer, PlainPeer]]:
    """A connection in that state.  ``taken``: what send_until_full found."""
    tls_buffer, plain_buffer = (SMALL, None) if name in STALLED_TLS else (None, SMALL)
    with crossing.pair(tls_buffer=tls_buffer, plain_buffer=plain_buffer) as (tls, plain):
        if name in QUIET:
            send_until_full(tls, plain, name)
        else:
            send_part(tls, plain, name, taken)
        for side, event in STATES[name]:
            event(tls if side == "T" else plain)
        yield tls, plain


def capacity(crossing: Crossing, name: str) -> int:
    """How many octets the proxy and its kernel take while nobody reads."""
    tls_buffer, plain_buffer = (SMALL, None) if name in STALLED_TLS else (None, SMALL)
    with crossing.pair(tls_buffer=tls_buffer, plain_buffer=plain_buffer) as (tls, plain):
        return send_until_full(tls, plain, name)


def share_used(crossing: Crossing, seconds: float) -> float:
    """Watch the proxy that long; give its processor time as a share of it."""
    before = crossing.proxy.cpu_seconds()
    select.select([], [], [], seconds)  # the measured span itself
    return (crossing.proxy.cpu_seconds() - before) / seconds


def guilty(crossing: Crossing, taken: dict[str, int]) -> dict[str, float]:
    """Measure every state alone."""
    found = {}
    for name in STATES:
        with stalled(crossing, name, taken[name[0]]):
            found[name] = share_used(crossing, 1.0)
    return {name: round(share, 3) for name, share in found.items() if share > SHARE}


def sees_its_end(peer: TlsPeer | PlainPeer, deadline: Deadline) -> bool:
    """Whether a peer that reads at last meets an end; one that closed its socket itself needs none."""
    return peer.sock.fileno() < 0 or peer.read_to_end(deadline).wire is not Wire.NOTHING


@pytest.mark.parametrize("mode", MODES)
def test_stalled_tunnels_cost_no_processor_time_and_end_by_their_timers(
    tunnel: MakeCrossing, mode: Mode
) -> None:
    crossing = tunnel(Variant(mode, "TLSv1.3", "tcp"), TIMEOUTidle=TIMER, TIMEOUTclose=TIMER)
    with crossing.pair():
        pass
    at_rest = crossing.proxy.wait_descriptors(0, seconds=1.0)
    taken = {side: capacity(crossing, f"{side} stalls") for side in "TP"}
    with ExitStack() as stack:
        pairs = {name: stack.enter_context(stalled(crossing, name, taken[name[0]])) for name in STATES}
        share = share_used(crossing, WINDOW)
        assert share < SHARE, f"{share:.1%} of a processor for: {guilty(crossing, taken)}"
        assert crossing.proxy.wait_descriptors(at_rest) <= at_rest, crossing.proxy.output[-4000:]
        deadline = Deadline(SECONDS)
        waiting = [
            f"{side} of {name!r}"
            for name, (tls, plain) in pairs.items()
            for side, peer in (("T", tls), ("P", plain))
            if not sees_its_end(peer, deadline)
        ]
        assert not waiting
