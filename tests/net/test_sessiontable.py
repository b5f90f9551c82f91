"""What a server of sessions keeps: for its time, and no more than there is room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from culvert.net.sessiond import ERROR, GET, LONGEST, NEW, OK, REMOVE, Packet, parse
from culvert.net.sessiontable import ENTRY_COST, SessionTable

KEY, OTHER = bytes(32), bytes(range(32))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def table(entries: int = 100, octets: int = 10**6) -> tuple[SessionTable, Clock]:
    clock = Clock()
    return SessionTable(entries, octets, clock), clock


def ask(
    store: SessionTable, kind: int, key: bytes, session: bytes = b"", seconds: int = 300
) -> Packet | None:
    answer = store.answer(Packet(kind, seconds, key, session).octets)
    return None if answer is None else parse(answer)


def test_a_session_is_found_until_it_expires() -> None:
    store, clock = table()
    assert ask(store, NEW, KEY, b"session") is None
    clock.now = 299.5
    assert ask(store, GET, KEY) == Packet(OK, 0, KEY, b"session")
    clock.now = 300.0
    assert ask(store, GET, KEY) == Packet(ERROR, 0, KEY, b"")
    assert len(store) == 0


def test_no_session_lives_longer_than_the_protocol_says() -> None:
    store, clock = table()
    store.answer(b"\x01\x00\xff\xff" + KEY + b"session")
    clock.now = LONGEST
    found = ask(store, GET, KEY)
    assert found is not None
    assert found.kind == ERROR


def test_a_session_can_be_replaced_and_removed() -> None:
    store, _ = table()
    for session in (b"one", b"other"):
        ask(store, NEW, KEY, session)
    assert ask(store, GET, KEY) == Packet(OK, 300, KEY, b"other")
    assert ask(store, REMOVE, KEY) is None
    assert ask(store, GET, KEY) == Packet(ERROR, 0, KEY, b"")


def test_the_first_session_goes_when_there_are_too_many() -> None:
    store, _ = table(entries=2)
    for number in range(3):
        ask(store, NEW, bytes([number]) * 32, b"x")
    kinds = [found.kind for number in range(3) if (found := ask(store, GET, bytes([number]) * 32))]
    assert kinds == [ERROR, OK, OK]


def test_the_first_sessions_go_when_they_take_too_much() -> None:
    store, _ = table(octets=3 * (ENTRY_COST + 512))
    for number in range(10):
        ask(store, NEW, bytes([number]) * 32, bytes(512))
    assert len(store) == 3


def test_what_has_expired_is_swept_away() -> None:
    store, clock = table()
    ask(store, NEW, KEY, b"x", seconds=10)
    ask(store, NEW, OTHER, b"x", seconds=1000)
    clock.now = 500
    store.sweep()
    assert len(store) == 1


SOUND = st.binary(max_size=3).map(lambda session: b"\x01\x00\x00\x09" + KEY + session)


@given(st.lists(st.binary(max_size=600) | SOUND))
def test_no_datagram_is_too_strange(datagrams: list[bytes]) -> None:
    store, _ = table(entries=3)
    for each in datagrams:
        answer = store.answer(each)
        assert answer is None or len(answer) <= 548
    assert len(store) <= 3
