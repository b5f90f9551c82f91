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

from culvert.config.rules.tls import EPOCHS_MAX
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

    def continues(self, epoch: int, secret: bytes) -> bool | None:
        """Whether a secret of another process is of this chain; None when its epoch is none of these days.

        Clocks of machines differ, and a machine may have been away for a while.
        """
        now = self._epoch_of(self._clock())
        if not now - EPOCHS_MAX - 2 <= epoch <= now + 1 or len(secret) != SECRET_SIZE:
            return None
        mine, theirs = self.secret, secret
        for _ in range(max(epoch - self.epoch, 0)):
            mine = _following(mine)
        for _ in range(max(self.epoch - epoch, 0)):
            theirs = _following(theirs)
        return hmac.compare_digest(mine, theirs)

    def replaced(self, epoch: int, secret: bytes) -> Chain:
        """A chain of the same times that goes on from another secret."""
        return Chain(secret, self.period, self.overlap, epoch=epoch, clock=self._clock)

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
        self._chains: OrderedDict[tuple[bytes, float, bool], Chain] = OrderedDict()

    def chain(self, name: bytes, period: float, overlap: float, *, shared: bool = False) -> Chain:
        """The chain that was made for ``name``; a new one where there is none of this period.

        shared: with other machines, so its epochs are those of the calendar's clock.
        """
        key = name, period, shared
        chain = self._chains.get(key)
        if chain is None:
            clock = time.time if shared else monotonic
            chain = self._chains[key] = Chain(os.urandom(SECRET_SIZE), period, overlap, clock=clock)
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
    """What seals the tickets of one context, in this process.

    name: what other machines know them by.
    """

    def __init__(self, context: Context, chain: Chain, name: bytes = b"") -> None:
        self.name = name
        self._context = context
        self._chain = chain
        self._own = chain
        self.turn()

    def turn(self) -> float | None:
        """Use the keys of this moment; seconds until they are others, None for never."""
        keys = self._chain.keys_now()
        if self._own is not self._chain:  # tickets from before the fleet was in reach
            keys += tuple(key._replace(renew=True) for key in self._own.keys_now())
        use_ticket_keys(self._context, keys)
        return self._chain.seconds_left()

    def state(self) -> tuple[int, bytes]:
        """For other machines: the oldest epoch that is still good, and its secret."""
        self._chain.keys_now()
        return self._chain.epoch, self._chain.secret

    @property
    def lifetime(self) -> int | None:
        """Seconds for which what state() gives is of use; None for ever."""
        period = self._chain.period
        return int(2 * period + self._chain.overlap) + 1 if period else None

    def adopt(self, epoch: int, secret: bytes) -> bool:
        """Take over what state() gave on another machine; False when ours is the one to keep."""
        self._chain.keys_now()
        same = self._chain.continues(epoch, secret)
        if same is None:
            return False
        if same:
            return epoch >= self._chain.epoch
        self._chain = self._chain.replaced(epoch, secret)
        self.turn()
        return True


def fixed_key(key: bytes, mac: bytes) -> TicketKey:
    """The key of two secrets of a configuration, 16 or 32 octets each; all octets count, zeros too.

    The ciphers are stunnel's: AES-128 or AES-256, as long as the secret is, and HMAC-SHA256.
    """
    name = hashlib.sha256(b"culvert ticket name" + bytes((len(key),)) + key + mac).digest()[:16]
    return TicketKey(name, mac, key)
