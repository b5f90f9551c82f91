"""Holds a script's conversation in memory: both peers are octets that are there from the start, or lines that
come when their turn has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from culvert.negotiate.negotiation import Budget, Negotiation
from culvert.negotiate.steps import (
    Ask,
    Fact,
    Host,
    Judge,
    Learn,
    Look,
    Outcome,
    Peer,
    Receive,
    Resolve,
    Script,
    Send,
    Silent,
    Speaks,
    Store,
)

FACTS: Mapping[Fact, object] = {Fact.PEER_ADDRESS: ("192.0.2.1", 1234), Fact.OWN_ADDRESS: ("192.0.2.2", 25)}
BOUND = bytes.fromhex("300c02010161070a010004000400")
"""How an LDAP directory agrees to a bind."""


def numbers(host: str, port: str) -> tuple[Host, ...]:
    """A resolver that knows no names."""
    return ((host, int(port)),) if host[:1].isdigit() else ()


@dataclass
class Conversation:
    """What was said. left: octets that nobody took."""

    sent: dict[Peer, bytearray] = field(default_factory=lambda: {each: bytearray() for each in Peer})
    left: dict[Peer, bytes] = field(default_factory=dict)
    log: list[tuple[int, str]] = field(default_factory=list)
    outcome: Outcome | None = None
    stored: bytes = b""


def converse(  # noqa: C901 - a case for each kind of step
    script: Script,
    near: bytes = b"",
    far: bytes = b"",
    *,
    size: int = 0,
    speaks: bool = False,
    names: Callable[[str, str], tuple[Host, ...]] = numbers,
    facts: Mapping[Fact, object] = FACTS,
    judge: Callable[[Host], str | None] = lambda _host: None,
    directory: Callable[[str, bytes], bytes] = lambda _host, _request: BOUND,
    budget: Budget | None = None,
    into: Conversation | None = None,
) -> Conversation:
    """Run a script to its end.

    near, far: all that the peers say; they end their streams behind it.  What is left of it where a peer
    should be silent is there too early.  size: octets that are shown at a time, 0 for all.  speaks: whether
    a peer speaks first.
    into: takes what is known when the script fails.
    """
    it = into or Conversation()
    it.left.update({Peer.NEAR: near, Peer.FAR: far})
    negotiation = Negotiation(script, lambda level, text: it.log.append((level, text)), budget)
    while (step := negotiation.question) is not None:
        match step:
            case Receive(peer):
                most = min(size or negotiation.wanted, negotiation.wanted)
                octets = it.left[peer][:most]
                if not octets:
                    negotiation.ended()
                it.left[peer] = it.left[peer][negotiation.feed(octets) :]
            case Send(peer, octets):
                it.sent[peer] += octets
                negotiation.answer()
            case Silent(peer):
                negotiation.answer(it.left[peer])
            case Speaks():
                negotiation.answer(speaks)
            case Resolve(host, port):
                negotiation.answer(names(host, port))
            case Learn(fact):
                negotiation.answer(facts[fact])
            case Look(peer):
                negotiation.answer(it.left[peer][:1])
            case Judge(place):
                negotiation.answer(judge(place))
            case Ask(address, request):
                negotiation.answer(directory(address, request))
            case Store(octets):
                it.stored = octets
                negotiation.answer()
    it.outcome = negotiation.outcome
    return it
