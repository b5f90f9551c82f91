"""Where peers are redirected: who has passed, in full handshakes and in every kind of resumed one."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from culvert import tls
from culvert.config.values import Address
from culvert.openssl._callbacks import Finding, Report
from culvert.tls.verification import PeerRules
from tests.openssl.memory import Ours, Theirs, failing, shake
from tests.pki import Identity, Pki
from tests.tls.pairs import Log, part, python_client, server, workers

ELSEWHERE = (Address(port="1"),)
WAYS = {
    "TLS 1.2, id": (ssl.TLSVersion.TLSv1_2, False),
    "TLS 1.2, ticket": (ssl.TLSVersion.TLSv1_2, True),
    "TLS 1.3, ticket": (ssl.TLSVersion.TLSv1_3, True),
    "TLS 1.3, id": (ssl.TLSVersion.TLSv1_3, False),
}
SECRETS = {"ticket_key_secret": bytes(32), "ticket_mac_secret": bytes(16)}
PEERS = ("none", "other_client", "expired", "not_yet_valid", "revoked", "self_signed", "client")


@pytest.fixture(scope="module")
def revoked(pki: Pki) -> Identity:
    return pki.issue("revoked")


@pytest.fixture(scope="module")
def rules(pki: Pki, revoked: Identity) -> dict[str, Any]:
    lists = pki.revocation_list("redirecting", pki.root, (revoked,))
    return {
        "verify_chain": True,
        "ca_file": str(pki.ca),
        "crl_file": str(lists),
        "redirect": ELSEWHERE,
        **SECRETS,
    }


def settings(pki: Pki, way: str, peer: Identity | None) -> ssl.SSLContext:
    version, tickets = WAYS[way]
    context = python_client(pki, version=version, tickets=tickets)
    if peer:
        context.load_cert_chain(str(peer.both))
    return context


def meet(
    policy: tls.TlsPolicy, context: ssl.SSLContext, saved: ssl.SSLSession | None = None
) -> tuple[bool, bool, ssl.SSLSession]:
    """One connection: whether the peer has passed, whether it was resumed, and its session."""
    near, far = Theirs(context, name="localhost", session=saved), Ours(policy.session(None, Log()))
    shake(near, far)
    seen = (far.session.vouched, far.session.resumed)
    assert near.object.session is not None
    part(near, far)
    return (*seen, near.object.session)


def identity_of(pki: Pki, revoked: Identity, peer: str) -> Identity | None:
    if peer == "revoked":
        return revoked
    found: Identity | None = getattr(pki, peer, None)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", PEERS)
def test_only_a_good_peer_passes_and_only_its_sessions_resume(
    pki: Pki, revoked: Identity, rules: dict[str, Any], peer: str, way: str
) -> None:
    policy = tls.build(server(pki, **rules, **({} if WAYS[way][1] else {"options": ("NO_TICKET",)})))
    context = settings(pki, way, identity_of(pki, revoked, peer))
    good = peer == "client"
    vouched, resumed, saved = meet(policy, context)
    assert (vouched, resumed) == (good, False)
    for _ in range(2):
        vouched, resumed, saved = meet(policy, context, saved)
        assert (vouched, resumed) == (good, good)


@pytest.mark.parametrize("way", WAYS)
def test_who_shows_a_better_certificate_the_next_time_passes(
    pki: Pki, rules: dict[str, Any], way: str
) -> None:
    policy = tls.build(server(pki, **rules))
    context = settings(pki, way, None)
    vouched, _, saved = meet(policy, context)
    assert not vouched
    context.load_cert_chain(str(pki.client.both))
    assert meet(policy, context, saved)[:2] == (True, False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("peer", ["none", "client"])
def test_the_mark_holds_in_another_worker(pki: Pki, rules: dict[str, Any], peer: str, way: str) -> None:
    policy = tls.build(server(pki, **rules))
    context = settings(pki, way, pki.client if peer == "client" else None)
    with workers(policy, (1, 2)) as (one, other):
        first = Theirs(context, name="localhost")
        one.talk(first)
        for _ in range(2):
            answer = other.talk(Theirs(context, name="localhost", session=first.object.session))
            assert answer["resumed"] == answer["vouched"] == (peer == "client")


STRICTER = ("another CA", "a list", "a name")


@pytest.mark.parametrize("secrets", [SECRETS, {}], ids=["configured keys", "generated keys"])
@pytest.mark.parametrize("change", STRICTER)
@pytest.mark.parametrize("way", WAYS)
def test_who_had_passed_before_a_stricter_rule_does_not_pass_by_its_session(
    pki: Pki, rules: dict[str, Any], way: str, change: str, secrets: dict[str, bytes]
) -> None:
    rules = {name: value for name, value in rules.items() if name not in SECRETS} | secrets
    context = settings(pki, way, pki.client)
    vouched, _, saved = meet(tls.build(server(pki, **rules)), context)
    assert vouched
    after = dict(rules)
    if change == "another CA":
        after |= {"ca_file": str(pki.other_ca)}
    elif change == "a list":
        after |= {"crl_file": str(pki.revocation_list("stricter", pki.root, (pki.client,)))}
    else:
        after |= {"check_email": ("root@example.com",)}
    policy = tls.build(server(pki, **after))
    assert meet(policy, context, saved)[:2] == (False, False)


@pytest.mark.parametrize("way", WAYS)
def test_a_session_of_one_that_was_redirected_is_nothing_where_nobody_is(
    pki: Pki, rules: dict[str, Any], way: str
) -> None:
    """The same rules without `redirect` refuse such a peer, also with its ticket under the same secrets."""
    context = settings(pki, way, pki.other_client)
    _, _, saved = meet(tls.build(server(pki, **rules)), context)
    strict = tls.build(server(pki, **{**rules, "redirect": ()}))
    near, far = Theirs(context, name="localhost", session=saved), Ours(strict.session(None, Log()))
    assert failing(near, far) == "certificate verify failed"
    far.close()


def test_a_judge_that_breaks_down_ends_the_handshake(
    pki: Pki, rules: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: PeerRules, _finding: Finding, _report: Report) -> bool:
        raise RuntimeError("no judgement")

    monkeypatch.setattr(PeerRules, "judge", broken)
    far = Ours(tls.build(server(pki, **rules)).session(None, Log()))
    near = Theirs(settings(pki, "TLS 1.3, ticket", pki.client), name="localhost")
    assert failing(near, far) == "certificate verify failed"
    far.close()
