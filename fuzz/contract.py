"""What must hold for any octets of any peer: the script is content, or it raises a NegotiationFailed.

An input is what the near peer says, MARK, and what the far peer says.  Its last octet tells how many octets
come at a time, and whether a client speaks first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from culvert.config.table.protocols import PROTOCOLS
from culvert.negotiate.failures import NegotiationFailed
from culvert.negotiate.registry import Begin, hooks
from culvert.negotiate.steps import Host, Peer
from culvert.observe.log import TEXT_BYTES
from culvert.tunnel.proxied import Proxies
from tests.negotiate.conversing import Conversation, converse
from tests.negotiate.scripts import GOOD, HEADERS, Good

MARK = b"\x1e"
BUDGET = 65_536
MOST_SENT = 40 * BUDGET


@dataclass(frozen=True)
class Target:
    """One script of one protocol in one mode; `header` is what proxyFrom expects in front of any of them."""

    protocol: str
    client: bool
    hook: str

    @property
    def name(self) -> str:
        return f"{self.protocol}-{'client' if self.client else 'server'}-{self.hook}"

    def begin(self) -> Begin:
        """What starts the script."""
        if self.hook == "header":
            return Proxies.hear
        found: Begin | None = getattr(hooks(self.protocol, client=self.client), self.hook)
        assert found is not None
        return found

    def good(self) -> list[Good]:
        """Its good conversations."""
        key = (self.protocol, self.client, self.hook)
        return [each for each in (*GOOD, *HEADERS) if (each.protocol, each.client, each.hook) == key]

    def settings(self) -> list[Good]:
        """One of them for each that differs in what the script is told or may learn."""
        return list({(id(each.terms), id(each.facts)): each for each in self.good()}.values())


def _targets() -> Mapping[str, Target]:
    header = Target("proxyfrom", False, "header")
    found = {header.name: header}
    for name, protocol in PROTOCOLS.items():
        for client in (True, False):
            side = protocol.side(client=client)
            for hook in ("early", "middle", "late") if side is not None and side.made else ():
                target = Target(name, client, hook)
                if getattr(hooks(name, client=client), hook) is not None:
                    found[target.name] = target
    return found


TARGETS = _targets()


def seed(good: Good) -> bytes:
    """A good conversation as an input; the octets come all at once."""
    return good.near + MARK + good.far + b"\0"


def check(target: Target, data: bytes) -> None:
    """Raise AssertionError, or whatever the script should not have raised."""
    said, how = data[:-1], data[-1] if data else 0
    near, _, far = said.partition(MARK)
    speaks, size = bool(how & 0x80), how & 0x7F
    for good in target.settings():
        first = _held(target, good, near, far, 0, speaks)
        if size:  # how octets are dealt out makes no difference
            assert _held(target, good, near, far, size, speaks) == first


def _held(
    target: Target, good: Good, near: bytes, far: bytes, size: int, speaks: bool
) -> tuple[str, int, int]:
    told = Conversation()
    ending = "content"
    script, facts = target.begin()(good.terms), good.facts
    try:
        converse(script, near, far, size=size, speaks=speaks, names=_addresses, into=told, facts=facts)
    except NegotiationFailed as failure:
        ending = str(failure)
        told.log.append((3, ending))
    used = len(near) + len(far) - sum(map(len, told.left.values()))
    assert used <= BUDGET
    assert sum(map(len, told.sent.values())) <= MOST_SENT
    for _, line in told.log:
        assert line.isprintable()
        assert len(line) <= TEXT_BYTES
    return ending, len(told.sent[Peer.NEAR]), len(told.sent[Peer.FAR])


def _addresses(host: str, port: str) -> tuple[Host, ...]:
    return (("192.0.2.1", 80), ("::1", 80)) if host and port else ()
