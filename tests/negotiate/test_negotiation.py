"""The runner of scripts: bounds, order, what is taken and what is left, what the log says."""

from __future__ import annotations

import pickle

import pytest

from culvert.negotiate.failures import (
    LineTooLong,
    NegotiationFailed,
    OrderlyEnd,
    PeerLeft,
    PlaintextAfterUpgrade,
    TalkedTooMuch,
    UnexpectedReply,
)
from culvert.negotiate.negotiation import Budget
from culvert.negotiate.steps import (
    NOTHING,
    Fact,
    Outcome,
    Peer,
    Script,
    exactly,
    expect,
    go_ahead,
    learn,
    line,
    note,
    resolve,
    say,
    send,
    speaks,
    until,
)
from tests.negotiate.conversing import Conversation, converse

NEAR, FAR = Peer.NEAR, Peer.FAR


def one_line(most: int = 20) -> Script:
    found = yield from line(NEAR, most)
    yield from say(FAR, found)
    return NOTHING


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_octets_behind_a_unit_are_left_where_they_are(size: int) -> None:
    def script() -> Script:
        assert (yield from line(NEAR)) == b"one"
        assert (yield from exactly(NEAR, 3)) == b"two"
        assert (yield from until(NEAR, b"\0", 10)) == b"three\0"
        return NOTHING

    assert converse(script(), b"one\r\ntwothree\0\x16\x03\x01", size=size).left[NEAR] == b"\x16\x03\x01"


def test_a_line_may_be_as_long_as_its_bound_and_no_longer() -> None:
    assert converse(one_line(), b"x" * 18 + b"\r\n").sent[FAR] == b"x" * 18 + b"\r\n"
    with pytest.raises(LineTooLong, match="Line too long"):
        converse(one_line(), b"x" * 20 + b"\r\n")


@pytest.mark.parametrize("found", [b"a\0b\n", b"a\rb\r\n", b"\0\n"])
def test_a_line_that_two_programs_read_differently_is_refused(found: bytes) -> None:
    with pytest.raises(UnexpectedReply):
        converse(one_line(), found)


def test_all_lines_together_have_a_bound() -> None:
    def endless() -> Script:
        while True:
            yield from line(NEAR)

    conversation = Conversation()
    with pytest.raises(TalkedTooMuch):
        converse(endless(), b"word\n" * 30_000, into=conversation, size=4096)
    assert len(conversation.left[NEAR]) > 150_000 - 65_536


def test_hooks_share_one_bound() -> None:
    budget = Budget(100)
    converse(one_line(), b"12345\n", budget=budget)
    with pytest.raises(TalkedTooMuch):
        converse(one_line(), b"12345\n", budget=budget)


def test_a_stream_that_ends_within_a_unit_is_told() -> None:
    with pytest.raises(PeerLeft, match="after 3 byte"):
        converse(one_line(), b"abc")


def test_octets_before_their_time_end_the_negotiation() -> None:
    def script() -> Script:
        yield from line(NEAR)
        yield from go_ahead(NEAR, b"220 go")
        return NOTHING

    conversation = Conversation()
    with pytest.raises(PlaintextAfterUpgrade, match="MAIL FROM"):
        converse(script(), b"STARTTLS\r\nMAIL FROM:<a>\r\n", into=conversation)
    assert conversation.sent[NEAR] == b""
    assert converse(script(), b"STARTTLS\r\n").sent[NEAR] == b"220 go\r\n"


def test_answers_reach_the_script() -> None:
    def script() -> Script:
        assert (yield from speaks(NEAR))
        assert (yield from learn(Fact.PEER_ADDRESS)) == ("192.0.2.1", 1234)
        found = yield from resolve("host", "http")
        return Outcome(target=found)

    done = converse(script(), speaks=True, names=lambda _host, _port: (("127.0.0.1", 80),))
    assert done.outcome == Outcome(target=(("127.0.0.1", 80),))


def test_the_log_has_every_line_escaped_and_no_secret() -> None:
    def script() -> Script:
        yield from line(NEAR)
        yield from say(FAR, b"AUTH PLAIN c2VjcmV0", shown="AUTH PLAIN *****")
        yield from say(FAR, b"one", b"two")
        yield from send(FAR, b"\x00\x01")
        yield from note(6, "accepted")
        return NOTHING

    assert converse(script(), b"\x1b[2J\xff\xe2\x80\xae\r\n").log == [
        (7, " <- \\x1b[2J\\xff\\u202e"),
        (7, " -> AUTH PLAIN *****"),
        (7, " -> one"),
        (7, " -> two"),
        (6, "accepted"),
    ]


def test_a_failure_ends_the_script() -> None:
    ended = []

    def script() -> Script:
        try:
            expect((yield from line(NEAR)), "Unknown server welcome", b"220 ")
        finally:
            ended.append(True)
        return NOTHING

    with pytest.raises(UnexpectedReply, match=r"^Unknown server welcome: 421 no\\x07$"):
        converse(script(), b"421 no\x07\r\n")
    assert ended == [True]


@pytest.mark.parametrize(
    "failure",
    [
        UnexpectedReply("Unknown server welcome", b"\xff"),
        LineTooLong(512),
        TalkedTooMuch(65_536),
        PlaintextAfterUpgrade(b"QUIT\r\n"),
        PeerLeft(3),
        OrderlyEnd(""),
    ],
    ids=lambda each: type(each).__name__,
)
def test_failures_survive_a_pipe(failure: NegotiationFailed) -> None:
    again = pickle.loads(pickle.dumps(failure))
    assert (type(again), str(again), again.orderly) == (type(failure), str(failure), failure.orderly)


def test_a_note_of_a_script_is_escaped_too() -> None:
    def script() -> Script:
        yield from note(7, "to='\x03\x1b'")
        return NOTHING

    assert converse(script()).log == [(7, "to='\\x03\\x1b'")]
