"""Answers about our own certificates: for which there are any, how long they serve, when they are renewed."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

from culvert import tls
from culvert.observe.log import INFO, NOTICE
from culvert.tls.stapling import FIRST_PAUSE, LONGEST_PAUSE, LONGEST_REST, SHORTEST_REST, Stapled
from tests.openssl.memory import Ours, shake
from tests.pki import Identity, Pki
from tests.responders import SIGNER, TRY_LATER, answer
from tests.tls.pairs import Log, client, part, server

URLS = ("http://127.0.0.1:1/first", "http://127.0.0.1:1/second")


@pytest.fixture
def own(pki: Pki) -> Identity:
    return pki.issue("own", responders=URLS)


def policy(pki: Pki, *shown: Identity, **options: Any) -> tls.TlsPolicy:
    """A server with these certificates, whose issuer it knows."""
    files = tuple(str(each.both) for each in shown)
    return tls.build(server(pki, **{"cert": files, "ca_file": str(pki.ca), **options}))


def only(made: tls.TlsPolicy) -> Stapled:
    (stapled,) = made.stapled
    return stapled


def take(stapled: Stapled, der: bytes, log: Log | None = None) -> float:
    return stapled.take(stapled.question(), der, time.time(), log or Log())


def received(pki: Pki, made: tls.TlsPolicy, **options: Any) -> bytes | None:
    """What a client that asks is given."""
    near_policy = tls.build(client(ca_file=str(pki.ca), verify_chain=True, **options))
    near, far = Ours(near_policy.session(None, Log())), Ours(made.session())
    shake(near, far)
    found = near.session.stapled
    assert far.session.staple_asked
    assert (far.session.stapled is None) is (found is None)
    part(near, far)
    return found


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_good_answer_is_handed_out(pki: Pki, own: Identity, version: str) -> None:
    made = policy(pki, own)
    assert received(pki, made, ssl_version=version) is None
    der = answer(own, pki.root)
    take(only(made), der)
    assert received(pki, made, ssl_version=version) == der


def test_nobody_is_handed_an_answer_unasked(pki: Pki, own: Identity) -> None:
    made = policy(pki, own)
    take(only(made), answer(own, pki.root))
    near, far = Ours(tls.build(client()).session(None, Log())), Ours(made.session())
    shake(near, far)
    assert (near.session.stapled, far.session.staple_asked) == (None, False)
    part(near, far)


def test_each_certificate_has_its_own_answer(pki: Pki, own: Identity) -> None:
    rsa = pki.issue("own-rsa", kind="rsa", responders=URLS)
    made = policy(pki, own, rsa)
    answers = {}
    for stapled, identity in zip(made.stapled, (own, rsa), strict=True):
        answers[identity.name] = answer(identity, pki.root)
        take(stapled, answers[identity.name])
    for ciphers, name in (
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "own"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "own-rsa"),
    ):
        assert received(pki, made, ssl_version="TLSv1.2", ciphers=ciphers) == answers[name]


def test_any_number_of_certificates_may_share_a_context(pki: Pki) -> None:
    shown = [
        pki.issue(f"host-{number}", responders=URLS, names=(f"{number}.example",)) for number in range(40)
    ]
    policies = [policy(pki, each) for each in shown]
    context = policies[0]._context
    for each in policies[1:]:
        context.staple(each.stapled[0].leaf, each.stapled[0].staple)
    for identity, made in zip(shown, policies, strict=True):
        take(made.stapled[0], answer(identity, pki.root))
        assert received(pki, made) == made.stapled[0].staple.current[0]  # type: ignore[index]


def test_standing_orders_go_on_where_answers_are_stapled(pki: Pki, own: Identity) -> None:
    made = policy(pki, own)
    assert made.stapled
    assert made.silent_context is not None


WITHOUT: dict[str, tuple[dict[str, Any], list[tuple[int, str]]]] = {
    "names no responder": ({}, [(INFO, "OCSP: No AIA responder URL")]),
    "has an unknown issuer": ({"ca_file": None}, [(INFO, "OCSP: The root CA certificate was not found")]),
    "may be left away for a key": (
        {"psk_secrets": "PSK"},
        [(NOTICE, "OCSP: Server OCSP stapling is incompatible with PSK")],
    ),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_nothing_is_stapled_where_the_certificate(pki: Pki, own: Identity, case: str) -> None:
    options, lines = WITHOUT[case]
    if "psk_secrets" in options:
        options = {"psk_secrets": str(pki.write("psk.txt", b"someone:" + b"k" * 32 + b"\n"))}
    made = policy(pki, pki.server if case == "names no responder" else own, **options)
    assert made.stapled == ()
    assert set(lines) <= set(made.start_lines())


def test_the_issuer_may_stand_in_the_chain_or_in_a_folder(pki: Pki) -> None:
    low = pki.issue("low", issuer=pki.intermediate, chain=(pki.intermediate,), responders=URLS)
    made = policy(pki, low, ca_file=None)
    take(only(made), answer(low, pki.intermediate))
    assert only(made).staple.current is not None


def test_an_answer_of_whom_the_issuer_has_appointed_is_handed_out(pki: Pki, own: Identity) -> None:
    stapled = only(policy(pki, own))
    take(stapled, answer(own, pki.root, signer=pki.issue("appointed", usages=SIGNER)))
    assert stapled.staple.current is not None


def bad_answers(pki: Pki, own: Identity) -> dict[str, bytes]:
    """What an issuer may say instead of a good answer."""
    return {
        "nothing": b"",
        "garbage": b"garbage" * 100,
        "try later": TRY_LATER,
        "expired": answer(own, pki.root, days=(-2, -1)),
        "unknown": answer(own, pki.root, "unknown"),
        "of another": answer(pki.client, pki.root),
        "forged": answer(own, pki.root, signer=pki.other_root),
    }


def test_the_last_good_answer_stays_whatever_the_next_one_is(pki: Pki, own: Identity) -> None:
    good = answer(own, pki.root)
    for kind, bad in bad_answers(pki, own).items():
        stapled, log = only(policy(pki, own)), Log()
        stapled.staple.take_away()  # what it has inherited from the turn before
        take(stapled, bad, log)
        assert stapled.staple.current is None, kind
        assert log.texts[-1] == "OCSP: No OCSP stapling response to send", kind
        take(stapled, good)
        take(stapled, bad)
        assert stapled.staple.current is not None, kind
        assert stapled.staple.current[0] == good, kind


def test_a_certificate_that_was_revoked_is_stapled_no_longer(pki: Pki, own: Identity) -> None:
    stapled, log = only(policy(pki, own)), Log()
    take(stapled, answer(own, pki.root))
    take(stapled, answer(own, pki.root, "revoked"), log)
    assert stapled.staple.current is None
    assert "OCSP: Certificate revoked: 1: keyCompromise" in log.texts


def test_pauses_double_after_failures_and_responders_take_turns(pki: Pki, own: Identity) -> None:
    stapled = only(policy(pki, own))
    asked, pauses = [], []
    for _ in range(12):
        asked.append(stapled.url)
        pauses.append(stapled.failed(Log()))
    assert asked == [*URLS] * 6
    assert pauses == [min(FIRST_PAUSE * 2**turn, LONGEST_PAUSE) for turn in range(12)]
    take(stapled, answer(own, pki.root))
    assert stapled.failed(Log()) == FIRST_PAUSE


@pytest.mark.parametrize(
    ("days", "rest"), [(1, LONGEST_REST), (0.5, 6 * 3600), (0.0001, SHORTEST_REST), (30, LONGEST_REST)]
)
def test_a_good_answer_is_renewed_after_half_its_life(
    pki: Pki, own: Identity, days: float, rest: float
) -> None:
    assert take(only(policy(pki, own)), answer(own, pki.root, days=(-0.1, days))) == pytest.approx(
        rest, abs=2
    )


def test_an_answer_without_an_end_serves_for_ten_minutes(pki: Pki, own: Identity) -> None:
    stapled = only(policy(pki, own))
    assert take(stapled, answer(own, pki.root, days=(-0.1, None))) == pytest.approx(300, abs=2)
    assert stapled.staple.current is not None
    assert stapled.staple.current[1] == pytest.approx(time.time() + 600, abs=2)


def test_a_reload_takes_over_what_is_handed_out(pki: Pki, own: Identity) -> None:
    old = policy(pki, own)
    assert only(old).first_pause(time.time()) == 0.0
    der = answer(own, pki.root)
    take(only(old), der)
    fresh = policy(pki, own)
    assert received(pki, fresh) == der
    assert only(fresh).first_pause(time.time()) > 3600
    other = policy(pki, pki.issue("another", responders=URLS))
    assert only(other).staple.current is None
    only(fresh).staple.take_away()
    assert received(pki, old) == der  # each configuration has its own place, and its own writer


def test_a_context_keeps_its_place_for_answers_alive(pki: Pki, own: Identity) -> None:
    """What OpenSSL calls back for lies in C, also when Python's faces are gone."""
    made = policy(pki, own)
    take(only(made), answer(own, pki.root))
    session = made.session()
    near = Ours(tls.build(client(ca_file=str(pki.ca), verify_chain=True)).session(None, Log()))
    del made
    gc.collect()
    far = Ours(session)
    shake(near, far)
    assert near.session.stapled == far.session.stapled is not None
    part(near, far)
