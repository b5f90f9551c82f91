"""OCSP responses that a server hands out with its certificates (RFC 6066, 8).

What is fetched, what an answer leads to, and when to ask again; whoever runs it owns sockets and the clock.

A good answer is handed out until its end, and the next one is fetched when half of its life is over.  When
that fails, the old answer stays until its end; after each failure one more request is made, to the next of
the certificate's responders, and the time between requests doubles up to LONGEST_PAUSE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

from culvert.config.model import Service
from culvert.observe.log import DEBUG, ERR, INFO, NOTICE
from culvert.openssl import Certificate, Context
from culvert.openssl.ocsp import Question, Signers, Staple, Status
from culvert.tls.faults import Faults
from culvert.tls.identity import Identity
from culvert.tls.lines import Line
from culvert.tls.ocsp import URLS_MAX, Say, aia_urls, examine, flag_bits
from culvert.tls.trust import Trust

LEEWAY: Final = 30
"""Seconds by which our clock and a responder's may differ."""

FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 3600.0
"""Seconds between two requests that fail."""

SHORTEST_REST: Final = 60.0
LONGEST_REST: Final = 12 * 3600.0
"""Seconds between a good answer and the next request."""

ENDLESS: Final = 600
"""Seconds for which an answer without nextUpdate is handed out: newer ones may be had at any time."""

_latest: WeakValueDictionary[bytes, Staple] = WeakValueDictionary()
"""By certificate: after a reload the last good answer goes on being handed out."""


@dataclass(slots=True, eq=False)
class Stapled:
    """One certificate of ours whose issuer can be asked.

    urls: of its responders, at least one.  key: the same wherever one request serves several services.
    """

    leaf: Certificate
    issuer: Certificate
    urls: tuple[str, ...]
    flags: int
    connect: float | None
    busy: float | None
    level: int
    """The level up to which its service logs."""
    staple: Staple = field(default_factory=Staple)
    failures: int = 0

    @property
    def key(self) -> bytes:
        facts = repr((self.leaf.der, self.issuer.der, self.flags)).encode()
        return hashlib.sha256(facts).digest()

    @property
    def url(self) -> str:
        """Whom to ask next."""
        return self.urls[self.failures % len(self.urls)]

    def inherit(self) -> None:
        """Take over what an earlier configuration hands out."""
        earlier = _latest.get(self.key)
        current = earlier.current if earlier is not None else None
        if current is not None:
            self.staple.put(*current)
        _latest[self.key] = self.staple

    def first_pause(self, now: float) -> float:
        """Seconds until the first request: none without an answer that lives for a while."""
        current = self.staple.current
        if current is None or current[1] - now < 2 * SHORTEST_REST:
            return 0.0
        return _rest(current[1] - now)

    def question(self) -> Question:
        """Raises TlsError."""
        return Question(self.leaf, self.issuer)

    def take(self, question: Question, der: bytes, now: float, say: Say) -> float:
        """An answer has come; returns the seconds until the next request."""
        signers = Signers.only(self.issuer)
        heard = examine(lambda: question.read(der, signers, (self.issuer,), self.flags, LEEWAY))
        for line in heard.lines:
            say(*line)
        answer = heard.answer
        if answer is not None and answer.status is Status.REVOKED:
            self.staple.take_away()
        if answer is None or answer.status is not Status.GOOD:
            return self.failed(say)
        self.failures = 0
        ends = answer.next_update or int(now) + ENDLESS
        self.staple.put(der, ends)
        say(DEBUG, "OCSP: Response cached")
        return _rest(ends - now)

    def failed(self, say: Say) -> float:
        """No good answer has come; returns the seconds until the next request."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.failures, 20))
        self.failures += 1
        if self.staple.current is None:
            say(INFO, "OCSP: No OCSP stapling response to send")
        return pause


def _rest(left: float) -> float:
    return max(SHORTEST_REST, min(LONGEST_REST, left / 2))


def apply_stapling(
    faults: Faults, context: Context, identities: tuple[Identity, ...], trust: Trust
) -> tuple[tuple[Stapled, ...], tuple[Line, ...]]:
    """Make a server hand out what will be fetched.  Returns what to fetch, and what to tell of it."""
    service = faults.service
    if service.client:
        return (), ((DEBUG, "OCSP: Client OCSP stapling enabled"),) if service.verify_chain else ()
    if service.psk_secrets:
        return (), ((NOTICE, "OCSP: Server OCSP stapling is incompatible with PSK"),)
    lines: list[Line] = [(DEBUG, "OCSP: Server OCSP stapling enabled")]
    stapled = []
    with faults.about("cert", "OCSP responses cannot be stapled"):
        for each in _each(service, identities, trust, lines):
            context.staple(each.leaf, each.staple)
            each.inherit()
            stapled.append(each)
    return tuple(stapled), tuple(lines)


def may_be_stapled(service: Service, identities: tuple[Identity, ...], trust: Trust) -> bool:
    """Whether a server has a certificate whose issuer can be asked; it needs a context of its own then."""
    return not service.psk_secrets and any(_each(service, identities, trust, []))


def _each(
    service: Service, identities: tuple[Identity, ...], trust: Trust, lines: list[Line]
) -> Iterator[Stapled]:
    for identity in identities:
        urls = tuple(aia_urls(identity.leaf, lambda level, text: _failures(lines, level, text)))[:URLS_MAX]
        issuer = _issuer(identity, trust)
        if urls and issuer is None:
            lines.append((INFO, "OCSP: The root CA certificate was not found"))
        if urls and issuer is not None:
            yield Stapled(
                identity.leaf,
                issuer,
                urls,
                flag_bits(service.ocsp_flag),
                service.timeout_ocsp,
                service.timeout_busy,
                service.debug,
            )


def _failures(lines: list[Line], level: int, text: str) -> None:
    """Nobody is connected to yet."""
    if level in (ERR, INFO):
        lines.append((level, text))


def _issuer(identity: Identity, trust: Trust) -> Certificate | None:
    """The issuer of a leaf, from the chain that goes with it or from those whom we trust."""
    leaf = identity.leaf
    if leaf.self_issued:
        return None
    return next((each for each in (*identity.above, *trust.named) if leaf.issued_by(each)), None)
