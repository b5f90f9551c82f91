"""What the two peers do in the cases: T is the TLS peer, P the plain one.

A script returns what its peer saw, or None when it destroyed its socket and could see nothing more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.endings.judging import REQUEST, SOME, Run, Script
from tests.proxies import EAGER, Pace, Seen, Wire, payload

DRIBBLES = 20
DRIBBLE_PAUSE = 0.02  # s
HANGUP_PATIENCE = 3.0  # s

# Scripts of T


def ask_then(*, fin: bool = False, pace: Pace = EAGER) -> Script:
    """Send a request and close_notify (and FIN), then read all of the reply."""

    def script(run: Run) -> Seen:
        run.tls.hold(payload(REQUEST))
        run.tls.send_close_notify(run.deadline)
        if fin:
            run.tls.fin()
        return run.tls.read_to_end(run.deadline, pace)

    return script


def upload_tls(octets: int, *, wait_end: bool = False, close_notify: bool = True) -> Script:
    """Send everything and end; ``wait_end``: not before the other side has ended."""

    def script(run: Run) -> Seen:
        if wait_end:
            run.tls.read_until_close_notify(run.deadline)
        run.tls.send(payload(octets), run.deadline)
        if close_notify:
            run.tls.send_close_notify(run.deadline)
        run.tls.fin()
        return run.tls.read_to_end(run.deadline)

    return script


def vanish(run: Run) -> Seen:
    """Send some octets, then a bare FIN."""
    run.tls.send(payload(SOME), run.deadline)
    run.tls.fin()
    return run.tls.read_to_end(run.deadline)


def break_record(tail: Callable[[bytes], bytes]) -> Script:
    """Send some octets, then a second record that ``tail`` has damaged, then FIN."""

    def script(run: Run) -> Seen:
        run.tls.send(payload(SOME), run.deadline)
        run.wait("P has read")
        run.tls.hold(payload(SOME))
        run.tls.send_raw(tail(run.tls.held()), run.deadline)
        run.tls.fin()
        return run.tls.read_to_end(run.deadline)

    return script


def reset_after_reading(run: Run) -> None:
    """Send some octets, and reset once P has them."""
    run.tls.send(payload(SOME), run.deadline)
    run.wait("P has read")
    run.tls.reset()


def reset_after_close_notify(run: Run) -> None:
    """Once the other side has ended, send some octets, and reset when P has them."""
    run.tls.read_until_close_notify(run.deadline)
    reset_after_reading(run)


def tls_just_reads(run: Run) -> Seen:
    """Send nothing and end nothing, only read."""
    return run.tls.read_to_end(run.deadline)


def answer_close_notify(run: Run) -> Seen:
    """Read until the other side ends, then end likewise."""
    run.tls.read_until_close_notify(run.deadline)
    run.tls.send_close_notify(run.deadline)
    return run.tls.read_to_end(run.deadline)


def ask_and_read(*, close_notify: bool) -> Script:
    """Send a request (and close_notify), then read."""

    def script(run: Run) -> Seen:
        run.tls.hold(payload(REQUEST))
        if close_notify:
            run.tls.hold_close_notify()
        run.tls.flush(run.deadline)
        return run.tls.read_to_end(run.deadline)

    return script


def dribble_tls(pause: float = DRIBBLE_PAUSE) -> Script:
    """Once the other side has ended, send little by little, then end."""

    def script(run: Run) -> Seen:
        run.tls.read_until_close_notify(run.deadline)
        for piece in pieces(pause):
            run.tls.send(piece, run.deadline)
        run.tls.send_close_notify(run.deadline)
        return run.tls.read_to_end(run.deadline)

    return script


def both_end_tls(run: Run) -> Seen:
    """Send some octets and close_notify at the same time as P does."""
    run.tls.hold(payload(SOME))
    run.tls.hold_close_notify()
    run.reach("T is ready")
    run.wait("P is ready")
    run.tls.flush(run.deadline)
    return run.tls.read_to_end(run.deadline)


def both_reset_tls(run: Run) -> Seen:
    """Reset at the same time as P does, then see a new connection pass."""
    run.reach("T is ready")
    run.wait("P is ready")
    run.tls.reset()
    with run.crossing.pair() as (tls, plain):
        plain.send(payload(SOME), run.deadline)
        plain.fin()
        tls.read_until_close_notify(run.deadline)
        tls.send_close_notify(run.deadline)
        return tls.read_to_end(run.deadline)


# Scripts of P


def reply_after_end(octets: int) -> Script:
    """Read the request to its end, reply, close at once."""

    def script(run: Run) -> Seen:
        seen = run.plain.read_to_end(run.deadline)
        if seen.wire is Wire.FIN:
            run.plain.send(payload(octets), run.deadline)
        run.plain.close()
        return seen

    return script


def dribble_plain(pause: float = DRIBBLE_PAUSE) -> Script:
    """Read the request to its end, reply little by little, close."""

    def script(run: Run) -> Seen:
        seen = run.plain.read_to_end(run.deadline)
        for piece in pieces(pause):
            run.plain.send(piece, run.deadline)
        run.plain.close()
        return seen

    return script


def read_all(*, pace: Pace = EAGER, abort: bool = False) -> Script:
    """Read to the end and close.  ``abort``: which should be one, and may take a moment."""

    def script(run: Run) -> Seen:
        run.plain.patience = HANGUP_PATIENCE if abort else 0.0
        seen = run.plain.read_to_end(run.deadline, pace)
        run.plain.close()
        return seen

    return script


def read_some_then_all(run: Run) -> Seen:
    """Read to the end, and tell when the first octets are there; the end should be an abort."""
    run.plain.patience = HANGUP_PATIENCE
    run.plain.read(SOME, run.deadline)
    run.reach("P has read")
    return run.plain.read_to_end(run.deadline)


def fin_first(run: Run) -> Seen:
    """End our direction before anything else, then read to the end."""
    run.plain.fin()
    return run.plain.read_to_end(run.deadline)


def fin_first_then_some(run: Run) -> Seen:
    """End our direction before anything else, then read, and tell when the first octets are there."""
    run.plain.fin()
    return read_some_then_all(run)


def send_and_fin(run: Run) -> Seen:
    """Send some octets, end our direction, read to the end."""
    run.plain.send(payload(SOME), run.deadline)
    run.plain.fin()
    return run.plain.read_to_end(run.deadline)


def send_and_reset(octets: int) -> Script:
    """Send some octets, then reset (TCP)."""

    def script(run: Run) -> None:
        if octets:
            run.plain.send(payload(octets), run.deadline)
            run.plain.wait_sent(run.deadline)
        run.plain.reset()

    return script


def close_with_unread(run: Run) -> None:
    """Leave the request unread, send some octets, close: the kernel makes that a reset."""
    run.plain.wait_unread(REQUEST, run.deadline)
    run.plain.send(payload(SOME), run.deadline)
    if not run.plain.is_unix:
        run.plain.wait_sent(run.deadline)
    run.plain.close()


def both_end_plain(run: Run) -> Seen:
    """Send some octets and FIN at the same time as T does."""
    run.reach("P is ready")
    run.wait("T is ready")
    run.plain.send(payload(SOME), run.deadline)
    run.plain.fin()
    return run.plain.read_to_end(run.deadline)


def both_reset_plain(run: Run) -> None:
    """Reset at the same time as T does."""
    run.reach("P is ready")
    run.wait("T is ready")
    run.plain.reset()


def pieces(pause: float) -> Iterator[bytes]:
    """Give ``payload(SOME)`` in small pieces with a pause before each: this peer dribbles by intention."""
    size = SOME // DRIBBLES
    for start in range(0, SOME, size):
        time.sleep(pause)
        yield payload(SOME)[start : start + size]


# The truncated record keeps its header and loses its end; the broken one loses a bit in the middle.


def cut(record: bytes) -> bytes:
    return record[: len(record) // 2]


def damaged(record: bytes) -> bytes:
    middle = len(record) // 2
    return record[:middle] + bytes([record[middle] ^ 1]) + record[middle + 1 :]
