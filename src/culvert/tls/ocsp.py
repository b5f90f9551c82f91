"""Whether a peer's certificates were revoked: what is asked of whom, and what an answer leads to.

Sans-I/O: ``PeerOcsp.judge()`` is a generator that yields the questions (`Ask`) and is sent what came of
them (`Heard`); who runs it owns sockets, deadlines and the joining of equal questions.

Certificates are judged from below the trusted end down to the peer's own.  A peer's own is judged by the
stapled answer first (client mode), then by the responder of `OCSP`, then, with `OCSPaia`, by those that it
names; the others by those that they name alone.  The first answer that says good or revoked counts.  Where
somebody was asked and nobody knew, `OCSPrequire` decides; where nobody could be asked, the certificate
passes.  A resumed session was judged when it was made.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from culvert.config.model import Service
from culvert.config.urls import responder_url
from culvert.config.values import BadValue
from culvert.observe.log import DEBUG, ERR, INFO, NOTICE, WARNING
from culvert.openssl import Certificate, Context, Session
from culvert.openssl.ocsp import FLAGS, Answer, BadAnswer, Question, Status, responders
from culvert.tls.faults import Faults
from culvert.tls.lines import Line

LEEWAY: Final = 60
"""Seconds by which our clock and a responder's may differ."""

CACHED_MAX: Final = 1024
"""Good answers that one service of one worker remembers."""

URLS_MAX: Final = 4
"""Responders of one certificate that are asked."""

Say = Callable[[int, str], None]
Key = tuple[bytes, bytes]


class Link(NamedTuple):
    """A certificate of a verified chain, and those above it, its issuer first.  depth: 0 is the peer's."""

    depth: int
    certificate: Certificate
    above: tuple[Certificate, ...]

    @property
    def issuer(self) -> Certificate:
        return self.above[0]

    @property
    def key(self) -> Key:
        """The same for the same certificate of the same issuer."""
        return self.certificate.der, self.issuer.der


class Ask(NamedTuple):
    """Somebody has to be asked: POST the question to ``url``, then read() what came."""

    url: str
    link: Link


class Heard(NamedTuple):
    """What came of it: a verified answer or None, and the lines for the logs of all who asked."""

    answer: Answer | None
    lines: tuple[Line, ...]


class Rejected(NamedTuple):
    """Whom the issuer does not stand by (any more)."""

    depth: int
    subject: str

    @property
    def line(self) -> str:
        return f"Rejected by OCSP at depth={self.depth}: {self.subject}"


Judging = Generator[Ask, Heard, Rejected | None]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a service asks about its peers."""

    staple: bool
    url: str | None
    aia: bool
    nonce: bool
    require: bool
    flags: int

    @classmethod
    def of(cls, service: Service) -> Rules:
        return cls(
            staple=service.client,
            url=service.ocsp,
            aia=service.ocsp_aia,
            nonce=service.ocsp_nonce,
            require=service.ocsp_require,
            flags=flag_bits(service.ocsp_flag),
        )

    @property
    def asks(self) -> bool:
        """Whether responders are asked, so that the loop must be able to."""
        return self.url is not None or self.aia


def flag_bits(names: tuple[str, ...]) -> int:
    """The flags of OCSPflag that concern whoever reads an answer."""
    bits = 0
    for name in names:
        bits |= FLAGS.get(name, 0)
    return bits


class PeerOcsp:
    """The judge of one service's peers.  Has its own memory of good answers in each worker."""

    def __init__(self, rules: Rules, context: Context) -> None:
        self.rules = rules
        self._context = context
        self._good: OrderedDict[Key, Answer] = OrderedDict()

    def judge(self, session: Session, say: Say) -> Judging:
        """Judge the peer of a finished handshake; returns the certificate that was rejected, or None."""
        if not session.resumed:
            stapled = session.stapled if self.rules.staple else None
            if self.rules.staple:
                which = "No OCSP" if stapled is None else "OCSP"
                say(INFO, f"OCSP: {which} stapling response received")
            for link in self._links(session, stapled):
                if not (yield from self._passes(link, stapled, say)):
                    return Rejected(link.depth, link.certificate.subject)
        session.accept()
        return None

    def read(self, ask: Ask, question: Question, der: bytes) -> Heard:
        """What a responder's answer is worth; a good one is remembered."""
        heard = self._examined(question, ask.link, der)
        if heard.answer is None or not self._remember(ask.link, question, heard.answer):
            return heard
        return heard._replace(lines=(*heard.lines, (DEBUG, "OCSP: Response cached")))

    def question(self, ask: Ask) -> Question:
        """The question itself.  Raises TlsError."""
        return Question(ask.link.certificate, ask.link.issuer, nonce=self.rules.nonce)

    def _links(self, session: Session, stapled: bytes | None) -> Iterator[Link]:
        """Whose state can be learnt, from above; the last of a chain has nobody above it."""
        if stapled is None and not self.rules.asks:
            return
        chain = session.verified_chain
        for depth in reversed(range(len(chain) - 1 if self.rules.aia else min(1, len(chain) - 1))):
            yield Link(depth, chain[depth], chain[depth + 1 :])

    def _passes(self, link: Link, stapled: bytes | None, say: Say) -> Generator[Ask, Heard, bool]:
        """Whether one certificate passes."""
        asked = False
        if link.depth == 0 and stapled is not None:
            asked = True
            heard = self._examined(Question(link.certificate, link.issuer), link, stapled)
            if (verdict := _verdict(heard, say)) is not None:
                return verdict
        if (known := self._remembered(link)) is not None:
            say(DEBUG, "OCSP: Use the cached OCSP response")
            return bool(_verdict(Heard(known, tuple(_status_lines(known))), say))
        for url in self._urls(link, say):
            asked = True
            if (verdict := _verdict((yield Ask(url, link)), say)) is not None:
                return verdict
        return self._undecided(asked, say)

    def _undecided(self, asked: bool, say: Say) -> bool:
        if not asked:
            return True
        if self.rules.require:
            say(ERR, "OCSP: Rejected (OCSPrequire = yes)")
            return False
        say(NOTICE, "OCSP: Accepted (OCSPrequire = no)")
        return True

    def _urls(self, link: Link, say: Say) -> Iterator[str]:
        if link.depth == 0 and self.rules.url is not None:
            say(NOTICE, f'OCSP: Connecting the configured responder "{self.rules.url}"')
            yield self.rules.url
        if self.rules.aia:
            yield from aia_urls(link.certificate, say)

    def _examined(self, question: Question, link: Link, der: bytes) -> Heard:
        signers, flags = self._context.signers, self.rules.flags
        return examine(lambda: question.read(der, signers, link.above, flags, LEEWAY))

    def _remembered(self, link: Link) -> Answer | None:
        if not self._good:
            return None
        found = self._good.get(link.key)
        if found is not None and found.next_update <= time.time():
            del self._good[link.key]
            return None
        return found

    def _remember(self, link: Link, question: Question, answer: Answer) -> bool:
        """Keep a good answer until its end.  An answer to a nonce is meant for its moment alone."""
        if answer.status is not Status.GOOD or question.nonce or answer.next_update <= time.time():
            return False
        self._good[link.key] = answer
        self._good.move_to_end(link.key)
        if len(self._good) > CACHED_MAX:
            self._good.popitem(last=False)
        return True


def apply_ocsp(faults: Faults, context: Context) -> PeerOcsp | None:
    """The judge of a service's peers, where there is something to ask."""
    service = faults.service
    rules = Rules.of(service)
    if not service.verify_chain or not (rules.asks or rules.staple):
        return None
    context.await_verdict()
    if rules.staple:
        with faults.about("verify_chain", "OCSP responses cannot be asked for"):
            context.ask_for_staple()
    return PeerOcsp(rules, context)


def examine(read: Callable[[], Answer]) -> Heard:
    """An answer and what is to be told of it; None when it says nothing."""
    try:
        answer = read()
    except BadAnswer as bad:
        return Heard(None, ((ERR, f"OCSP: {bad}"),))
    return Heard(answer, tuple(_status_lines(answer)))


def aia_urls(certificate: Certificate, say: Say) -> Iterator[str]:
    """The responders that a certificate names, each announced when its turn comes."""
    found = False
    for count, text in enumerate(responders(certificate)):
        found = True
        if count == URLS_MAX:
            return
        try:
            url = responder_url(text)
        except BadValue as bad:
            say(ERR, f"OCSP: {bad}")
            continue
        say(NOTICE, f'OCSP: Connecting the AIA responder "{url}"')
        yield url
    if not found:
        say(INFO, "OCSP: No AIA responder URL")


def _verdict(heard: Heard, say: Say) -> bool | None:
    """True for a good certificate, False for a revoked one, None where we know as little as before."""
    for level, text in heard.lines:
        say(level, text)
    answer = heard.answer
    if answer is None or answer.status is Status.UNKNOWN:
        return None
    if answer.status is Status.GOOD:
        say(NOTICE, "OCSP: Accepted (good)")
        return True
    say(ERR, "OCSP: Rejected (revoked)")
    return False


def _status_lines(answer: Answer) -> Iterator[Line]:
    yield INFO, f"OCSP: Status: {answer.status.value}"
    yield INFO, f"OCSP: This update: {_stamp(answer.this_update)}"
    if answer.next_update:
        yield INFO, f"OCSP: Next update: {_stamp(answer.next_update)}"
    if answer.status is Status.GOOD:
        yield NOTICE, "OCSP: Certificate accepted"
    elif answer.status is Status.UNKNOWN:
        yield WARNING, "OCSP: Unknown verification status"
    else:
        reason = f": {answer.reason}: {answer.reason_text}" if answer.reason >= 0 else ""
        yield ERR, f"OCSP: Certificate revoked{reason}"
        yield NOTICE, f"OCSP: Revoked at: {_stamp(answer.revoked_at)}"


def _stamp(moment: int) -> str:
    """As the log writes its own time."""
    return time.strftime("%Y.%m.%d %H:%M:%S", time.localtime(moment))
