"""Resumption: on every worker, with and without tickets; never where the rules are others."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from culvert import tls
from culvert.config.values import Address
from culvert.errors import ConfigErrors, Where
from culvert.openssl.context import Context
from culvert.tls import resumption
from culvert.tls.assembly import build
from culvert.tls.faults import Faults
from culvert.tls.passphrases import REMEMBERED
from culvert.tls.resumption import session_context
from culvert.tls.tickets import Chains, fixed_key
from culvert.tls.trust import load_trust
from tests.openssl.memory import Ours, Theirs, shake
from tests.pki import Pki
from tests.tls.pairs import Log, client, connect, facts, forked, part, python_client, server, workers

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
KEY, MAC = bytes(range(32)), bytes(range(100, 132))
WORKERS = 4
PER_WORKER = 10_000 // WORKERS
NO_TICKET = {"options": ("NO_TICKET",)}


def settings(pki: Pki, version: ssl.TLSVersion, verified: bool) -> ssl.SSLContext:
    return python_client(pki, version=version, identity=verified)


@pytest.mark.parametrize("verified", [False, True], ids=["anonymous", "verified"])
@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "ids"])
@pytest.mark.parametrize("version", [V12, V13])
def test_what_one_worker_negotiated_resumes_on_another(
    pki: Pki, version: ssl.TLSVersion, tickets: bool, verified: bool
) -> None:
    rules: dict[str, Any] = {"verify_chain": True, "ca_file": str(pki.ca)} if verified else {}
    policy = tls.build(server(pki, **rules, **({} if tickets else NO_TICKET)))
    context = settings(pki, version, verified)
    with workers(policy, (2, 2)) as (one, other):
        first = Theirs(context, name="localhost")
        assert one.talk(first)["resumed"] is False
        for worker in (other, one, other):
            again = Theirs(context, name="localhost", session=first.object.session)
            answer = worker.talk(again)
            assert answer["resumed"] is True
            assert again.object.session_reused
            assert answer["peer"] == ("C=PL, O=Culvert Tests, CN=client" if verified else None)
            assert answer["verify"] == 0
            first = again


def test_a_client_without_tickets_resumes_by_id_from_a_server_with_tickets(pki: Pki) -> None:
    policy = tls.build(server(pki))
    context = python_client(pki, version=V12, tickets=False)
    with workers(policy, (1, 1)) as (one, other):
        first = Theirs(context, name="localhost")
        one.talk(first)
        assert other.talk(Theirs(context, name="localhost", session=first.object.session))["resumed"]


def test_randoms_and_ids_differ_in_every_worker(pki: Pki) -> None:
    """Workers that shared the state of a generator would repeat each other (CVE-2014-0016)."""
    policy = tls.build(server(pki, **NO_TICKET))
    near = Theirs(python_client(pki, version=V12), name="localhost")
    near.handshake()
    hello = near.to_send()

    def answers(_worker: int) -> list[str]:
        found = []
        for _ in range(PER_WORKER):
            end = Ours(policy.session())
            end.receive(hello)
            end.handshake()
            seen = facts(end.session)
            found += [seen["random"], seen["id"]]
            end.close()
        return found

    found = forked(WORKERS, answers)
    assert {len(each) for each in found} == {64}
    assert len(found) == len(set(found)) == 2 * 10_000


def resumes(pki: Pki, one: tls.TlsPolicy, other: tls.TlsPolicy, version: ssl.TLSVersion = V13) -> bool:
    """Whether a session that ``one`` made resumes at ``other``; the client shows a certificate."""
    context = python_client(pki, version=version, identity=True)
    saved: ssl.SSLSession | None = None
    again = False
    for policy in (one, other):
        near, far = Theirs(context, name="localhost", session=saved), Ours(policy.session())
        shake(near, far)
        saved, again = near.object.session, far.session.resumed
        part(near, far)
    return again


def secrets(key: bytes = KEY, mac: bytes = MAC) -> dict[str, Any]:
    return {"ticket_key_secret": key, "ticket_mac_secret": mac}


@pytest.mark.parametrize("version", [V12, V13])
def test_two_instances_with_the_same_secrets_share_tickets(pki: Pki, version: ssl.TLSVersion) -> None:
    one, other = (tls.build(server(pki, **secrets())) for _ in range(2))
    assert resumes(pki, one, other, version)


def test_two_instances_without_secrets_share_nothing(pki: Pki) -> None:
    one, other = (build(server(pki), REMEMBERED, Chains()) for _ in range(2))
    assert resumes(pki, one, one)
    assert not resumes(pki, one, other)


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("which", ["key", "mac"])
def test_a_zero_octet_at_any_place_of_a_secret_counts(size: int, which: str) -> None:
    def name(secret: bytes) -> bytes:
        return (fixed_key(secret, MAC) if which == "key" else fixed_key(KEY, secret)).name

    base = bytes(range(1, size + 1))
    made = {name(base)}
    for place in range(size):
        zeroed = base[:place] + b"\0" + base[place + 1 :]
        assert zeroed in fixed_key(zeroed, zeroed)[1:]
        made.add(name(zeroed))
        for behind in range(place + 1, size):  # what stands behind the zero octet still counts
            made.add(name(zeroed[:behind] + b"\xff" + zeroed[behind + 1 :]))
    assert len(made) == 1 + size + size * (size - 1) // 2


@pytest.mark.parametrize("place", range(32))
def test_tickets_under_secrets_with_a_zero_octet_resume_on_another_instance(pki: Pki, place: int) -> None:
    zeroed = KEY[:place] + b"\0" + KEY[place + 1 :], MAC[:place] + b"\0" + MAC[place + 1 :]
    one, other = (tls.build(server(pki, **secrets(*zeroed))) for _ in range(2))
    assert resumes(pki, one, other)


def test_secrets_of_16_octets_are_not_those_of_32(pki: Pki) -> None:
    one = tls.build(server(pki, **secrets(KEY[:16], MAC[:16])))
    assert resumes(pki, one, tls.build(server(pki, **secrets(KEY[:16], MAC[:16]))))
    assert not resumes(pki, one, tls.build(server(pki, **secrets(KEY[:16] + bytes(16), MAC[:16]))))


@pytest.mark.parametrize("changed", [{"key": bytes(32)}, {"mac": bytes(32)}])
def test_other_secrets_make_other_tickets(pki: Pki, changed: dict[str, bytes]) -> None:
    one, other = tls.build(server(pki, **secrets())), tls.build(server(pki, **secrets(**changed)))
    assert not resumes(pki, one, other)


def test_half_of_the_secrets_is_refused(pki: Pki) -> None:
    at = Where("tunnel.conf", 3)
    half = server(pki, ticket_key_secret=KEY, positions={"ticket_key_secret": at})
    with pytest.raises(ConfigErrors, match=r"^tunnel\.conf:3: ticketKeySecret: .* must be set together"):
        tls.build(half)


def test_a_session_of_one_service_is_nothing_to_another(pki: Pki) -> None:
    one = tls.build(server(pki, name="one", **secrets()))
    other = tls.build(server(pki, name="other", **secrets()))
    assert not resumes(pki, one, other)


STRICTER: dict[str, dict[str, Any]] = {
    "another CA": {"ca_file": "other_ca"},
    "verification": {"verify_chain": True, "require_cert": True},
    "a name": {"check_email": ("client@example.com",)},
    "a pin": {"verify_peer": True},
    "a level": {"security_level": 3},
    "another destination for the rest": {"redirect": (Address(port="1"),)},
}


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("change", [*STRICTER, "a list", "a public key"])
def test_a_ticket_from_before_a_change_of_the_rules_is_not_taken(
    pki: Pki, change: str, version: ssl.TLSVersion
) -> None:
    both = pki.write("both.ca.pem", pki.root.pem + pki.other_root.pem + pki.client.pem)
    before: dict[str, Any] = {"verify_chain": True, "ca_file": str(both), **secrets()}
    if change == "verification":
        before = {"verify": 0, "ca_file": str(both), **secrets()}
    if change == "another CA":
        after: dict[str, Any] = {**before, "ca_file": str(pki.ca)}
    else:
        after = {**before, **STRICTER.get(change, {})}
        after.pop("verify", None)
    if change == "a list":
        after["crl_file"] = str(pki.revocation_list("none-revoked", pki.root))
    if change == "a public key":
        after["pin"] = (pki.client.pin,)
    one, other = tls.build(server(pki, **before)), tls.build(server(pki, **after))
    assert resumes(pki, one, tls.build(server(pki, **before)), version)
    assert not resumes(pki, one, other, version)


def test_a_stricter_rule_refuses_who_had_a_ticket(pki: Pki) -> None:
    both = pki.write("two.ca.pem", pki.root.pem + pki.other_root.pem)
    rules: dict[str, Any] = {"verify_chain": True, **secrets()}
    one = tls.build(server(pki, ca_file=str(both), **rules))
    other = tls.build(server(pki, ca_file=str(pki.other_ca), **rules))
    with pytest.raises((Exception,), match="certificate verify failed"):
        resumes(pki, one, other)


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("version", [V12, V13])
def test_a_session_does_not_outlive_its_peers_certificate(
    pki: Pki, version: ssl.TLSVersion, tickets: bool
) -> None:
    """A peer whose certificate is expired is let in without verification, but shows it each time."""
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(str(pki.expired.both))
    policy = tls.build(server(pki, verify=0, **({} if tickets else NO_TICKET)))
    saved: ssl.SSLSession | None = None
    for _ in range(2):
        near, far = Theirs(context, name="localhost", session=saved), Ours(policy.session())
        shake(near, far)
        saved = near.object.session
        assert not far.session.resumed
        part(near, far)


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("version", [V12, V13])
def test_resumption_can_be_switched_off(pki: Pki, version: ssl.TLSVersion, tickets: bool) -> None:
    off = tls.build(server(pki, session_resume=False, **({} if tickets else NO_TICKET)))
    assert not resumes(pki, off, off, version)


def test_a_client_resumes_per_destination(pki: Pki) -> None:
    far, near = tls.build(server(pki)), tls.build(client())
    seen = []
    for destination in ("one:443", "one:443", "two:443", "two:443", "one:443"):
        ends = connect(near, far, destination)
        seen.append(ends[1].session.resumed)
        part(*ends)
    assert seen == [False, True, False, True, True]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_clients_own_time_holds_whatever_the_server_says(pki: Pki, version: str) -> None:
    far = tls.build(server(pki, session_cache_timeout=3600.0))
    near = tls.build(client(session_cache_timeout=10.0, ssl_version_max=version))
    part(*connect(near, far))
    memory = near._memory
    assert memory is not None
    saved = memory.take(memory.number("there:443"))
    assert saved is not None
    assert 0 < saved.ends_at - time.time() <= 10


def test_a_client_without_a_destination_resumes_nothing(pki: Pki) -> None:
    far, near = tls.build(server(pki)), tls.build(client())
    for _ in range(2):
        ends = Ours(near.session()), Ours(far.session())
        shake(*ends)
        assert not ends[1].session.resumed
        part(*ends)


def test_a_client_can_be_told_not_to_resume(pki: Pki) -> None:
    far, near = tls.build(server(pki)), tls.build(client(session_resume=False))
    for _ in range(2):
        ends = connect(near, far)
        assert not ends[1].session.resumed
        part(*ends)


def elsewhere(work: Callable[[], None]) -> None:
    """Do something in another worker."""

    def worker(_number: int) -> list[str]:
        work()
        return []

    forked(1, worker)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("identity", [False, True], ids=["anonymous", "verified"])
def test_a_client_resumes_what_another_worker_negotiated(pki: Pki, version: str, identity: bool) -> None:
    trust: dict[str, Any] = {"verify_chain": True, "ca_file": str(pki.ca), "ssl_version_max": version}
    far = tls.build(server(pki, **trust if identity else {}))
    near = tls.build(client(cert=(str(pki.client.both),), check_host=("localhost",), **trust))
    elsewhere(lambda: part(*connect(near, far)))
    log = Log()
    ends = connect(near, far, log=log)
    assert ends[0].session.version == version
    assert ends[0].session.resumed
    assert not log.lines  # no certificate was shown, as in the worker that has the session from itself
    assert ends[0].session.verify_result == 0
    peer = ends[0].session.peer_certificate
    assert peer is not None
    assert peer.subject == "C=PL, O=Culvert Tests, CN=server"
    part(*ends)
    other = connect(near, far, "elsewhere:443")
    assert not other[0].session.resumed
    part(*other)


@pytest.mark.parametrize("cut", [False, True])
def test_a_session_that_is_cut_in_one_worker_is_resumed_in_none(pki: Pki, cut: bool) -> None:
    far = tls.build(server(pki, ssl_version_max="TLSv1.2"))
    near = tls.build(client())
    part(*connect(near, far))

    def again() -> None:
        ends = connect(near, far)
        assert ends[0].session.resumed
        if cut:
            ends[0].close()  # without close_notify
        else:
            part(*ends)

    elsewhere(again)
    ends = connect(near, far)
    assert ends[0].session.resumed is not cut
    part(*ends)


def test_a_client_does_not_show_a_ticket_twice(pki: Pki) -> None:
    far, near = tls.build(server(pki)), tls.build(client())
    part(*connect(near, far))
    first, second = near.session("there:443"), near.session("there:443")
    assert first.offered_id
    assert not second.offered_id
    first.close()
    second.close()


def test_a_session_expires_after_its_time(pki: Pki) -> None:
    instant = tls.build(server(pki, session_cache_timeout=0.0))
    assert not resumes(pki, instant, instant, V12)


def test_no_limit_of_time_is_a_week(pki: Pki) -> None:
    assert resumption.lifetime(server(pki, session_cache_timeout=None)) == 7 * 24 * 3600


@pytest.mark.parametrize("name", ["a", "x" * 31, "x" * 32, "x" * 33, "y" * 500, "ż" * 20, ""])
def test_every_name_makes_a_context_of_its_own(pki: Pki, name: str) -> None:
    def made(text: str) -> bytes:
        service = server(pki, name=text)
        return session_context(service, load_trust(Faults(service)))

    context = made(name)
    assert 1 <= len(context) <= 32
    assert context != made(name + "z")
    Context(server=True).set_session_context(context)


def test_a_changed_file_of_authorities_changes_the_context(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    made = set()
    for text in (pki.root.pem, pki.other_root.pem, pki.root.pem + pki.other_root.pem):
        path.write_bytes(text)
        service = server(pki, verify_chain=True, ca_file=str(path))
        made.add(session_context(service, load_trust(Faults(service))))
    assert len(made) == 3
