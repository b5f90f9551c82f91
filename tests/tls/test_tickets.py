"""Ticket keys: they change, overlap, are forgotten, and are the same in all processes."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from culvert import tls
from culvert.openssl import Context
from culvert.openssl.tickets import TicketKey, use_ticket_keys
from culvert.tls.assembly import build
from culvert.tls.passphrases import REMEMBERED
from culvert.tls.tickets import CHAINS_MAX, Chain, Chains, TicketKeys, fixed_key
from tests.openssl.memory import Ours, Theirs, shake
from tests.pki import Pki
from tests.tls.pairs import forked, part, python_client, server

PERIOD, OVERLAP = 100.0, 250.0
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Clock:
    """Shows what it is told."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def chain(clock: Callable[[], float], period: float = PERIOD) -> Chain:
    return Chain(bytes(32), period, OVERLAP, clock=clock)


def names(one: Chain) -> list[bytes]:
    return [key.name for key in one.keys_now()]


def test_a_key_seals_for_its_period_and_no_longer(clock: Clock) -> None:
    one = chain(clock)
    first = names(one)[0]
    clock.now = 1099.9
    assert names(one)[0] == first
    clock.now = 1100.0
    assert names(one)[0] != first


def test_an_old_key_opens_for_the_overlap_and_no_longer(clock: Clock) -> None:
    one = chain(clock)
    first = names(one)[0]
    clock.now = 1100.0 + OVERLAP - 0.1
    assert first in names(one)
    clock.now = 1100.0 + OVERLAP
    assert first not in names(one)


def test_old_keys_ask_for_a_fresh_ticket(clock: Clock) -> None:
    one = chain(clock)
    one.keys_now()
    clock.now = 1200.0
    assert [key.renew for key in one.keys_now()] == [False, False, True, True]


def test_a_process_that_is_ahead_is_understood(clock: Clock) -> None:
    one, ahead = chain(clock), Chain(bytes(32), PERIOD, OVERLAP, clock=Clock(1100.0), epoch=10)
    assert names(ahead)[0] == names(one)[1]


def test_processes_agree_whenever_they_look(clock: Clock) -> None:
    one, other = chain(clock), chain(clock)
    for clock.now in (1150.0, 1270.0, 1390.0, 5000.0):
        one.keys_now()
    assert names(one) == names(other)


def test_a_forgotten_secret_is_nowhere(clock: Clock) -> None:
    one = chain(clock)
    first = one.secret
    clock.now = 1100.0 + OVERLAP
    one.keys_now()
    assert one.secret != first
    assert one.epoch == 11


def test_a_clock_that_goes_back_does_no_harm(clock: Clock) -> None:
    one = chain(clock)
    clock.now = 5000.0
    after = names(one)[0]
    clock.now = 10.0
    assert names(one)[0] in (after, *names(one))
    assert one.seconds_left() is not None


@pytest.mark.parametrize(
    ("now", "left"),
    [(1000.0, 100.0), (1030.0, 70.0), (1100.0, 100.0), (1320.0, 30.0)],
    ids=["new", "within", "turned", "before the oldest lapses"],
)
def test_the_time_of_the_next_turn_is_known(clock: Clock, now: float, left: float) -> None:
    one = chain(clock)
    clock.now = now
    one.keys_now()
    assert one.seconds_left() == pytest.approx(left)


def test_without_a_period_there_is_one_key(clock: Clock) -> None:
    one = chain(clock, 0.0)
    before = one.keys_now()
    clock.now = 1e9
    assert one.keys_now() == before
    assert len(before) == 1
    assert one.seconds_left() is None


def test_chains_are_kept_by_name_and_period() -> None:
    kept = Chains()
    one = kept.chain(b"web", 60, 300)
    assert kept.chain(b"web", 60, 100) is one
    assert one.overlap == 100
    assert kept.chain(b"mail", 60, 300) is not one
    assert kept.chain(b"web", 61, 300) is not one


def test_no_more_chains_are_kept_than_planned() -> None:
    kept = Chains()
    one = kept.chain(b"one", 60, 300)
    for number in range(CHAINS_MAX):
        kept.chain(b"%d" % number, 60, 300)
    assert kept.chain(b"one", 60, 300) is not one
    assert kept.turn() is not None
    assert Chains().turn() is None


# Between machines
# ---------------------------------------------------------------------------------------------------------


def shared(clock: Clock, secret: bytes) -> TicketKeys:
    return TicketKeys(Context(server=True), Chain(secret, PERIOD, OVERLAP, clock=clock))


def test_another_chain_is_taken_over_and_our_own_tickets_stay_good(clock: Clock) -> None:
    ours, theirs = shared(clock, bytes(32)), shared(clock, bytes(range(32)))
    assert ours.adopt(*theirs.state())
    assert ours.state() == theirs.state()
    assert ours._own.keys_now()
    assert ours.adopt(*theirs.state())


def test_a_chain_of_ours_that_is_behind_is_not_taken_over(clock: Clock) -> None:
    keys, other = shared(clock, bytes(32)), shared(Clock(), bytes(32))
    before = other.state()
    clock.now += 10 * PERIOD
    assert not keys.adopt(*before)
    assert keys.state() == (17, _after(before[1], 7))


def _after(secret: bytes, epochs: int) -> bytes:
    one = Chain(secret, 1.0, 0.0, epoch=0, clock=Clock(float(epochs)))
    one.keys_now()
    return one.secret


@pytest.mark.parametrize("epoch", [-1, 0, 12, 10**9, 2**64 - 1])
def test_a_chain_of_another_time_is_not_taken_over(epoch: int) -> None:
    keys = shared(Clock(10_000.0), bytes(32))
    before = keys.state()
    assert not keys.adopt(epoch, bytes(range(32)))
    assert not keys.adopt(100, b"short")
    assert keys.state() == before


def test_what_is_shared_is_kept_as_long_as_it_is_of_use(clock: Clock) -> None:
    assert shared(clock, bytes(32)).lifetime == 451
    assert TicketKeys(Context(server=True), chain(clock, 0.0)).lifetime is None


# With handshakes
# ---------------------------------------------------------------------------------------------------------


def resumes(
    pki: Pki, before: tls.TlsPolicy, after: tls.TlsPolicy, version: ssl.TLSVersion, meanwhile: Any = None
) -> bool:
    context = python_client(pki, version=version)
    near, far = Theirs(context, name="localhost"), Ours(before.session())
    shake(near, far)
    saved = near.object.session
    part(near, far)
    if meanwhile:
        meanwhile()
    near, far = Theirs(context, name="localhost", session=saved), Ours(after.session())
    shake(near, far)
    again = far.session.resumed
    assert near.object.session_reused is again
    part(near, far)
    return again


def timed(pki: Pki, clock: Clock) -> tls.TlsPolicy:
    """A policy whose ticket keys go by ``clock``."""

    class Timed(Chains):
        def chain(self, name: bytes, period: float, overlap: float, *, shared: bool = False) -> Chain:
            return Chain(bytes(32), PERIOD, OVERLAP, clock=clock)

    return build(server(pki), REMEMBERED, Timed())


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize(
    ("later", "resumed"), [(0.0, True), (100.0, True), (349.0, True), (350.0, False), (1000.0, False)]
)
def test_a_ticket_is_good_for_the_rest_of_its_period_and_the_overlap(
    pki: Pki, clock: Clock, version: ssl.TLSVersion, later: float, resumed: bool
) -> None:
    policy = timed(pki, clock)

    def meanwhile() -> None:
        clock.now += later
        assert policy.turn_keys() is not None

    assert resumes(pki, policy, policy, version, meanwhile) is resumed


@pytest.mark.parametrize("version", [V12, V13])
def test_a_ticket_that_another_worker_sealed_after_a_turn_resumes_here(
    pki: Pki, clock: Clock, version: ssl.TLSVersion
) -> None:
    one, other = timed(pki, clock), timed(pki, clock)
    clock.now += PERIOD
    one.turn_keys()
    assert resumes(pki, one, other, version)


@pytest.mark.parametrize("version", [V12, V13])
def test_a_ticket_from_before_a_reload_resumes(pki: Pki, version: ssl.TLSVersion) -> None:
    kept = Chains()
    before, after = (build(server(pki), REMEMBERED, kept) for _ in range(2))
    assert resumes(pki, before, after, version)


@pytest.mark.parametrize("change", ["name", "cert"])
def test_a_ticket_from_before_a_reload_is_nothing_to_another_identity(pki: Pki, change: str) -> None:
    kept = Chains()
    other = {"name": "other"} if change == "name" else {"cert": (str(pki.issue("again").both),)}
    before = build(server(pki), REMEMBERED, kept)
    assert not resumes(pki, before, build(server(pki, **other), REMEMBERED, kept), V13)


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("version", [V12, V13])
def test_given_secrets_of_both_sizes_work(pki: Pki, size: int, version: ssl.TLSVersion) -> None:
    secrets = {"ticket_key_secret": bytes(range(size)), "ticket_mac_secret": bytes(range(1, size + 1))}
    one, other = (tls.build(server(pki, **secrets)) for _ in range(2))
    assert one.turn_keys() is None
    assert resumes(pki, one, other, version)


@pytest.mark.parametrize(
    "key", [TicketKey(b"short", bytes(32), bytes(32)), TicketKey(bytes(16), bytes(15), bytes(32))]
)
def test_a_key_of_another_size_is_a_fault(key: TicketKey) -> None:
    with pytest.raises(ValueError, match="16 octets"):
        use_ticket_keys(Context(server=True), [key])


def test_a_child_goes_on_with_the_chain(clock: Clock) -> None:
    one = chain(clock)
    clock.now += 3 * PERIOD
    assert forked(1, lambda _: [names(one)[0].hex()]) == [names(one)[0].hex()]


def test_the_name_of_given_secrets_tells_nothing_of_them() -> None:
    key = fixed_key(bytes(range(16)), bytes(range(16)))
    assert key.name not in (key.mac, key.cipher)
    assert key.name != fixed_key(bytes(16), bytes(range(16))).name
