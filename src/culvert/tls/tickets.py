"""Keys of session tickets that change by themselves: a chain of secrets, one for each epoch.

Theory of operation.  Time is cut into epochs of `ticketRotation` seconds.  The secret of an epoch gives the
keys of its tickets, and, by another one-way function, the secret of the next epoch.  So every process that
was forked with the chain, or was told it, goes on by itself and agrees with all others, and nothing has to
be distributed.  Tickets of an epoch that is over are opened as long as a session lives, for
`sessionCacheTimeout`; whoever shows one gets a fresh one.  Then the old secret is forgotten, and there is no
way back from a later one: whoever reads a worker's memory afterwards cannot open what was recorded before.

Chains outlive a reload: the supervisor keeps them (KEPT), so a new generation of workers opens the tickets of
the one before it.  What a session is worth there is not decided by its ticket, but by the session context
(culvert.tls.resumption).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from culvert.openssl import Context
from culvert.openssl.tickets import TicketKey, use_ticket_keys

SECRET_SIZE: Final = 32

CHAINS_MAX: Final = 4096
"""Chains that are kept across reloads; the one that was asked for least recently goes first."""


def monotonic() -> float:
    """Seconds since the machine was started, sleep included, in all processes the same: nobody sets it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Chain:
    """The secrets of one service, from the oldest epoch that is still good.

    secret: of the epoch that ``clock`` is in.  period: seconds of an epoch, 0 for a single one without end.
    overlap: seconds for which tickets are opened after their epoch.
    """

    def __init__(
        self,
        secret: bytes,
        period: float,
        overlap: float,
        *,
        epoch: int | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.period, self.overlap = period, overlap
        self._clock = clock
        self.secret = secret
        self.epoch = self._epoch_of(clock()) if epoch is None else epoch

    def keys_now(self) -> tuple[TicketKey, ...]:
        """The key of this epoch, that of the next one (clocks of machines differ), those before, newest
        first.
        """
        now = self._clock()
        current = max(self._epoch_of(now), self.epoch)
        self._forget_before(min(self._epoch_of(now - self.overlap), current))
        if not self.period:
            return (_key(self.secret),)
        secrets = [self.secret]
        for _ in range(self.epoch, current + 1):
            secrets.append(_following(secrets[-1]))
        *before, this, coming = secrets
        return (_key(this), _key(coming), *(_key(each, renew=True) for each in reversed(before)))

    def seconds_left(self) -> float | None:
        """After how many seconds keys_now() gives others; None for never."""
        if not self.period:
            return None
        now = self._clock()
        turn = (max(self._epoch_of(now), self.epoch) + 1) * self.period
        lapse = (self.epoch + 1) * self.period + self.overlap
        return max(min(turn, lapse) - now, 0.0)

    def _epoch_of(self, now: float) -> int:
        return int(now // self.period) if self.period else 0

    def _forget_before(self, epoch: int) -> None:
        while self.epoch < epoch:
            self.secret, self.epoch = _following(self.secret), self.epoch + 1


def _following(secret: bytes) -> bytes:
    return hmac.digest(secret, b"culvert tickets: the next epoch", "sha256")


def _key(secret: bytes, *, renew: bool = False) -> TicketKey:
    """Three independent values of one secret, by HKDF's expansion (RFC 5869, 2.3)."""
    name = hmac.digest(secret, b"culvert tickets: name\x01", "sha256")[:16]
    mac = hmac.digest(secret, b"culvert tickets: mac\x01", "sha256")
    cipher = hmac.digest(secret, b"culvert tickets: cipher\x01", "sha256")
    return TicketKey(name, mac, cipher, renew)


class Chains:
    """What a process remembers from one configuration to the next."""

    def __init__(self) -> None:
        self._chains: OrderedDict[tuple[bytes, float], Chain] = OrderedDict()

    def chain(self, name: bytes, period: float, overlap: float) -> Chain:
        """The chain that was made for ``name``; a new one where there is none of this period."""
        key = name, period
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = Chain(os.urandom(SECRET_SIZE), period, overlap)
        chain.overlap = overlap
        self._chains.move_to_end(key)
        while len(self._chains) > CHAINS_MAX:
            self._chains.popitem(last=False)
        return chain

    def turn(self) -> float | None:
        """Forget the secrets whose time is over; seconds until the next one is, None for never."""
        for chain in self._chains.values():
            chain.keys_now()
        left = [seconds for each in self._chains.values() if (seconds := each.seconds_left()) is not None]
        return min(left, default=None)


KEPT: Final = Chains()


class TicketKeys:
    """What seals the tickets of one context, in this process."""

    def __init__(self, context: Context, chain: Chain) -> None:
        self._context = context
        self._chain = chain
        self.turn()

    def turn(self) -> float | None:
        """Use the keys of this moment; seconds until they are others, None for never."""
        use_ticket_keys(self._context, self._chain.keys_now())
        return self._chain.seconds_left()


def fixed_key(key: bytes, mac: bytes) -> TicketKey:
    """The key of two secrets of a configuration, 16 or 32 octets each; all octets count, zeros too.

    The ciphers are stunnel's: AES-128 or AES-256, as long as the secret is, and HMAC-SHA256.
    """
    name = hashlib.sha256(b"culvert ticket name" + bytes((len(key),)) + key + mac).digest()[:16]
    return TicketKey(name, mac, key)
