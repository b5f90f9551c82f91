"""Every protocol, in every mode that it has: a good conversation, and hostile peers (T7 of the field)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

import pytest

from culvert.config.table.protocols import PROTOCOLS
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd, PlaintextAfterUpgrade
from culvert.negotiate.registry import Begin, hooks
from culvert.negotiate.steps import Peer, Script
from culvert.observe.log import TEXT_BYTES, clean
from tests.negotiate.conversing import Conversation, converse
from tests.negotiate.scripts import GOOD, HELLO, TERMS, Good

NEAR, FAR = Peer.NEAR, Peer.FAR
KIB = 1024
BUDGET = 64 * KIB
goods = pytest.mark.parametrize("good", GOOD, ids=lambda each: each.name)


def begin_of(good: Good) -> Script:
    begin: Begin | None = getattr(hooks(good.protocol, client=good.client), good.hook)
    assert begin is not None
    return begin(good.terms)


@goods
@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_good_conversation_leads_to_tls_however_it_is_split(good: Good, size: int) -> None:
    done = Conversation()
    with pytest.raises(OrderlyEnd) if good.ends else contextlib.nullcontext():
        converse(begin_of(good), good.near, good.far, size=size, facts=good.facts, into=done)
    assert re.fullmatch(good.heard_near, done.sent[NEAR], re.DOTALL), done.sent[NEAR]
    assert re.fullmatch(good.heard_far, done.sent[FAR], re.DOTALL), done.sent[FAR]
    assert done.left == {NEAR: b"", FAR: b""}


@goods
def test_a_conversation_that_ends_early_fails(good: Good) -> None:
    for peer, text in ((NEAR, good.near), (FAR, good.far)):
        for end in range(0, len(text), 3):
            cut = {"near": good.near, "far": good.far} | {peer.value: text[:end]}
            with pytest.raises(NegotiationFailed):
                converse(begin_of(good), cut["near"], cut["far"], facts=good.facts)


@pytest.mark.parametrize(
    "good", [each for each in GOOD if each.waits and each.hook != "late"], ids=lambda each: each.name
)
def test_octets_in_clear_behind_the_go_ahead_are_refused(good: Good) -> None:
    """STARTTLS injection: what was sent before TLS must not be taken for what was said in it."""
    told, more = Conversation(), b"MAIL FROM:<x>\r\n"
    near, far = (good.near, good.far + more) if good.client else (good.near + more, good.far)
    with pytest.raises(PlaintextAfterUpgrade):
        converse(begin_of(good), near, far, into=told, facts=good.facts)
    if not good.client:  # and the client was not told to go ahead
        without = converse(begin_of(good), good.near, good.far, facts=good.facts).sent[NEAR]
        assert len(told.sent[NEAR]) < len(without)


Attack = Callable[[bytes], bytes]
LINES: dict[str, Attack] = {
    "a line of 64 KiB": lambda _first: b"A" * BUDGET + b"\r\n",
    "no newline for ever": lambda first: first[:4] + b"A" * 4 * BUDGET,
    "NULs": lambda _first: b"\0" * 3 * BUDGET,
    "escapes": lambda first: first[:4] + b"\x1b[2J\x1b]0;title\x07\xff\xc2\x9b" + b"\r\n" * 40_000,
    "an endless answer": lambda first: (first[:3] + b"-more\r\n") * 20_000,
    "the same line for ever": lambda first: (first or b"* x\r\n") * 20_000,
    "empty lines": lambda _first: b"\r\n" * 100_000,
    "tags for ever": lambda first: (first + b"<a><b>") * 20_000,
    "quotes for ever": lambda _first: b"<a b='" + b">" * 200_000,
    "a document type": lambda _first: b'<!DOCTYPE a [<!ENTITY b "cc">]>' * 4_000,
    "literals for ever": lambda _first: b'"A" {4096}\r\n' * 20_000,
}


@pytest.mark.parametrize("attack", LINES)
@goods
def test_a_hostile_peer_is_refused_within_bounds(good: Good, attack: str) -> None:
    for talking, text in ((NEAR, good.near), (FAR, good.far)):
        for place in range(3 if text else 0):
            _attacked(good, attack, talking, place)


def _attacked(good: Good, attack: str, talking: Peer, place: int) -> None:
    """The peer behaves for ``place`` units, and then attacks."""
    text = good.near if talking is NEAR else good.far
    units = re.findall(rb"[^>]*>" if text.startswith(b"<") else rb"[^\n]*\n", text)
    hostile = b"".join(units[:place]) + LINES[attack](b"".join(units[place : place + 1]))
    near, far = (hostile, good.far) if talking is NEAR else (good.near, hostile)
    told = Conversation()
    try:
        converse(begin_of(good), near, far, size=4096, into=told, facts=good.facts)
    except NegotiationFailed as failure:
        told.log.append((3, str(failure)))
    else:  # the good conversation was over before the attack
        assert good.hook == "late" or not good.waits or (talking is FAR and not good.client)
    used = len(hostile) - len(told.left[talking])
    assert used <= BUDGET
    assert sum(map(len, told.sent.values())) <= 40 * BUDGET  # answers are bounded by questions
    for _, line in told.log:
        assert line.isprintable() and len(line) <= TEXT_BYTES
        assert clean(line) == line


@pytest.mark.parametrize("protocol", ["smtp", "imap"])
def test_a_client_that_speaks_tls_at_once_is_not_greeted(protocol: str) -> None:
    begin = hooks(protocol, client=False).middle
    assert begin is not None
    done = converse(begin(TERMS), HELLO, speaks=True)
    assert done.left[NEAR] == HELLO
    assert done.sent == {NEAR: b"", FAR: b""}


def test_every_script_has_its_good_conversation() -> None:
    spoken = {(each.protocol, each.client, each.hook) for each in GOOD}
    wanted = {
        (name, client, hook)
        for name, protocol in PROTOCOLS.items()
        for client in (True, False)
        if (side := protocol.side(client=client)) is not None and side.made
        for hook in ("early", "middle", "late")
        if getattr(hooks(name, client=client), hook) is not None
    }
    assert spoken == wanted


@goods
def test_a_conversation_with_any_octet_changed_is_understood_or_refused(good: Good) -> None:
    for peer, text in ((NEAR, good.near), (FAR, good.far)):
        for place in range(len(text)):
            for octet in {0, 1, 0x7F, 0x80, 0xFF} - {text[place]}:
                changed = text[:place] + bytes((octet,)) + text[place + 1 :] + bytes(300)
                near, far = (changed, good.far) if peer is NEAR else (good.near, changed)
                with contextlib.suppress(NegotiationFailed):
                    converse(begin_of(good), near, far, facts=good.facts)
