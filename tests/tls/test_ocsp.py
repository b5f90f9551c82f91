"""Who is asked about which certificate, and what the answers lead to; without a socket."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from culvert import Address, tls
from culvert.openssl import Session
from culvert.openssl._lib import OPTIONS, lib
from culvert.openssl.ocsp import Staple
from culvert.tls import ocsp
from culvert.tls.ocsp import Ask, PeerOcsp, Rejected
from tests.openssl.memory import Ours, Theirs, carry, shake
from tests.pki import Authority, Identity, Pki
from tests.responders import answer
from tests.tls.pairs import Log, client, part, python_client, server

URL = "http://127.0.0.1:1/configured"
LEAF_AIA = ("http://127.0.0.1:1/leaf", "http://127.0.0.1:1/leaf-too")
MIDDLE_AIA = ("http://127.0.0.1:1/middle",)

Answers = Callable[[Ask], bytes]


class People:
    """A client two steps below the root; each certificate names its own responders."""

    def __init__(self, pki: Pki) -> None:
        self.pki = pki
        self.middle = pki.authority("ocsp-middle", pki.root, responders=MIDDLE_AIA)
        self.leaf = pki.issue(
            "ocsp-leaf", issuer=self.middle, chain=(self.middle,), responders=LEAF_AIA, names=("localhost",)
        )

    def about(self, ask: Ask, *statuses: str) -> bytes:
        """Each depth's answer: `statuses` from the leaf upwards."""
        whom: tuple[tuple[Identity | Authority, Authority], ...] = (
            (self.leaf, self.middle),
            (self.middle, self.pki.root),
        )
        return answer(*whom[ask.link.depth], statuses[ask.link.depth])


@pytest.fixture(scope="module")
def people(pki: Pki) -> People:
    return People(pki)


def verdict(
    policy: tls.TlsPolicy, session: Session, answers: Answers
) -> tuple[Rejected | None, list[str], list[str]]:
    """The judgement of a session, whom it asked, and its log."""
    judge, log = policy.ocsp, Log()
    assert judge is not None
    asked: list[str] = []
    judging = judge.judge(session, log)
    try:
        ask = next(judging)
        while True:
            asked.append(ask.url)
            ask = judging.send(judge.read(ask, judge.question(ask), answers(ask)))
    except StopIteration as end:
        return end.value, asked, log.texts


def server_policy(pki: Pki, **options: Any) -> tls.TlsPolicy:
    return tls.build(server(pki, ca_file=str(pki.ca), verify_chain=True, **options))


def judged(people: People, answers: Answers, **options: Any) -> tuple[Rejected | None, list[str], list[str]]:
    """What a server with these options makes of the client."""
    policy = server_policy(people.pki, **options)
    near = Ours(tls.build(client(cert=(str(people.leaf.both),))).session())
    far = Ours(policy.session(None, Log()), accepts=False)
    shake(near, far)
    try:
        return verdict(policy, far.session, answers)
    finally:
        part(near, far)


def test_the_configured_responder_is_asked_about_the_leaf_alone(people: People) -> None:
    rejected, asked, log = judged(people, lambda ask: people.about(ask, "good"), ocsp=URL)
    assert (rejected, asked) == (None, [URL])
    assert [line for line in log if "update: " not in line] == [
        f'OCSP: Connecting the configured responder "{URL}"',
        "OCSP: Status: good",
        "OCSP: Certificate accepted",
        "OCSP: Response cached",
        "OCSP: Accepted (good)",
    ]


def test_with_ocspaia_every_certificate_but_the_root_is_asked_about_from_above(people: People) -> None:
    rejected, asked, _ = judged(people, lambda ask: people.about(ask, "good", "good"), ocsp_aia=True)
    assert (rejected, asked) == (None, [*MIDDLE_AIA, LEAF_AIA[0]])


def test_a_revoked_authority_is_told_with_its_depth(people: People) -> None:
    rejected, asked, log = judged(people, lambda ask: people.about(ask, "good", "revoked"), ocsp_aia=True)
    assert rejected is not None
    assert rejected.line == "Rejected by OCSP at depth=1: C=PL, O=Culvert Tests, CN=ocsp-middle"
    assert asked == [*MIDDLE_AIA]
    assert log[-1] == "OCSP: Rejected (revoked)"


def test_the_next_source_is_asked_when_one_does_not_know(people: People) -> None:
    def answers(ask: Ask) -> bytes:
        return people.about(ask, "good" if ask.url in (LEAF_AIA[1], *MIDDLE_AIA) else "unknown", "good")

    rejected, asked, _ = judged(people, answers, ocsp=URL, ocsp_aia=True)
    assert (rejected, asked) == (None, [*MIDDLE_AIA, URL, *LEAF_AIA])


@pytest.mark.parametrize("require", [True, False])
def test_where_nobody_knows_ocsprequire_decides(people: People, require: bool) -> None:
    rejected, asked, log = judged(people, lambda _: b"", ocsp=URL, ocsp_require=require)
    assert asked == [URL]
    assert (rejected is not None) is require
    assert (
        log[-1]
        == f"OCSP: {'Rejected' if require else 'Accepted'} (OCSPrequire = {'yes' if require else 'no'})"
    )


def test_a_revoked_peer_is_rejected_even_where_no_answer_is_required(people: People) -> None:
    rejected, _, _ = judged(people, lambda ask: people.about(ask, "revoked"), ocsp=URL, ocsp_require=False)
    assert rejected is not None


def test_who_names_no_responder_passes_where_no_other_is_configured(pki: Pki) -> None:
    policy = server_policy(pki, ocsp_aia=True)
    near, far = (
        Ours(tls.build(client(cert=(str(pki.client.both),))).session()),
        Ours(policy.session(None, Log())),
    )
    shake(near, far)
    rejected, asked, log = verdict(policy, far.session, lambda _: b"")
    part(near, far)
    assert (rejected, asked, log) == (None, [], ["OCSP: No AIA responder URL"])


def test_urls_that_cannot_be_asked_are_told_and_passed_over(pki: Pki) -> None:
    bad = ("https://127.0.0.1/", "http://user@127.0.0.1/", "ftp://x/", "http://" + "/" * 3000)
    shown = pki.issue("bad-urls", responders=bad)
    policy = server_policy(pki, ocsp_aia=True)
    near, far = Ours(tls.build(client(cert=(str(shown.both),))).session()), Ours(policy.session(None, Log()))
    shake(near, far)
    rejected, asked, log = verdict(policy, far.session, lambda _: b"")
    part(near, far)
    assert (rejected, asked) == (None, [])
    assert log[0].startswith("OCSP: TLS not supported for OCSP")
    assert all(line.startswith("OCSP: Failed to parse the OCSP URL") for line in log[1:])
    assert len(log) == len(bad)


def twice(people: People, **options: Any) -> list[int]:
    """How many questions each of two connections led to."""
    policy = server_policy(people.pki, ocsp=URL, session_resume=False, **options)
    counts = []
    for _ in range(2):
        near = Ours(tls.build(client(cert=(str(people.leaf.both),))).session())
        far = Ours(policy.session(None, Log()))
        shake(near, far)
        _, asked, _ = verdict(policy, far.session, lambda ask: people.about(ask, "good"))
        part(near, far)
        counts.append(len(asked))
    return counts


def test_a_good_answer_is_remembered(people: People) -> None:
    assert twice(people) == [1, 0]


def test_a_remembered_answer_ends_with_its_next_update(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter((time.time(), time.time() + 3 * 24 * 3600))
    monkeypatch.setattr(time, "time", lambda: next(moments))
    assert twice(people) == [1, 1]


def test_so_many_answers_are_remembered_and_no_more(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocsp, "CACHED_MAX", 0)
    assert twice(people) == [1, 1]


# Stapled answers, in client mode.


@pytest.fixture
def stapling(pki: Pki) -> tuple[tls.TlsPolicy, Staple]:
    """A server, and the place of its answer."""
    shown = pki.issue("stapled", responders=("http://127.0.0.1:1/",))
    policy = tls.build(server(pki, cert=(str(shown.both),), ca_file=str(pki.ca)))
    (stapled,) = policy.stapled
    return policy, stapled.staple


def stapled_verdict(
    pki: Pki, stapling: tuple[tls.TlsPolicy, Staple], **options: Any
) -> tuple[Rejected | None, list[str]]:
    near_policy = tls.build(client(ca_file=str(pki.ca), verify_chain=True, **options))
    near, far = Ours(near_policy.session(None, Log()), accepts=False), Ours(stapling[0].session())
    shake(near, far)
    rejected, asked, log = verdict(near_policy, near.session, lambda _: b"")
    assert asked == ([options["ocsp"]] if "ocsp" in options and "OCSP: Accepted (good)" not in log else [])
    part(near, far)
    return rejected, log


def test_a_stapled_answer_spares_the_question(pki: Pki, stapling: tuple[tls.TlsPolicy, Staple]) -> None:
    leaf = stapling[0].stapled[0].leaf
    stapling[1].put(_about(pki, leaf.der, "good"), int(time.time()) + 100)
    rejected, log = stapled_verdict(pki, stapling, ocsp=URL)
    assert rejected is None
    assert log[0] == "OCSP: OCSP stapling response received"
    assert log[-1] == "OCSP: Accepted (good)"


def test_a_stapled_answer_may_say_revoked(pki: Pki, stapling: tuple[tls.TlsPolicy, Staple]) -> None:
    stapling[1].put(_about(pki, stapling[0].stapled[0].leaf.der, "revoked"), int(time.time()) + 100)
    rejected, _ = stapled_verdict(pki, stapling, ocsp_require=False)
    assert rejected is not None


def test_a_server_that_staples_nothing_passes_unless_somebody_else_was_asked(
    pki: Pki, stapling: tuple[tls.TlsPolicy, Staple]
) -> None:
    assert stapled_verdict(pki, stapling) == (None, ["OCSP: No OCSP stapling response received"])
    assert stapled_verdict(pki, stapling, ocsp=URL)[0] is not None


@pytest.mark.parametrize("require", [True, False])
def test_a_stapled_answer_that_says_nothing_was_asked_for_in_vain(
    pki: Pki, stapling: tuple[tls.TlsPolicy, Staple], require: bool
) -> None:
    for der in (b"garbage", answer(pki.client, pki.root)):
        stapling[1].put(der, int(time.time()) + 100)
        rejected, _ = stapled_verdict(pki, stapling, ocsp_require=require)
        assert (rejected is not None) is require


def _about(pki: Pki, der: bytes, status: str) -> bytes:
    from cryptography import x509

    class Shown:
        certificate = x509.load_der_x509_certificate(der)

    return answer(Shown(), pki.root, status)  # type: ignore[arg-type]


# Resumption: a session of a peer that was not accepted is nobody's to resume.

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("redirect", [(), (Address.parse("127.0.0.1:1"),)], ids=["refusing", "redirecting"])
def test_a_client_resumes_only_after_it_was_accepted(
    pki: Pki, version: ssl.TLSVersion, tickets: bool, accepts: bool, redirect: tuple[Address, ...]
) -> None:
    policy = server_policy(pki, ocsp=URL, redirect=redirect)
    context = python_client(pki, version=version, tickets=tickets, identity=True)
    saved: ssl.SSLSession | None = None
    resumed = []
    for _ in range(3):
        near = Theirs(context, name="localhost", session=saved)
        far = Ours(policy.session(None, Log()), accepts=False)
        shake(near, far)
        resumed.append(far.session.resumed)
        if accepts:
            assert verdict(policy, far.session, lambda _: answer(pki.client, pki.root))[0] is None
        else:
            assert verdict(policy, far.session, lambda _: answer(pki.client, pki.root, "revoked"))[0]
        saved = near.object.session
        part(near, far)
    assert resumed == [False, accepts, accepts]


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("accepts", [True, False])
def test_a_server_is_resumed_only_after_it_was_accepted(pki: Pki, version: str, accepts: bool) -> None:
    near_policy = tls.build(client(ca_file=str(pki.ca), verify_chain=True, ssl_version=version))
    far_policy = tls.build(server(pki))
    resumed = []
    for _ in range(3):
        near = Ours(near_policy.session("there", Log()), accepts=False)
        far = Ours(far_policy.session())
        while not (near.done and far.done):
            for end in (near, far):
                if not end.done:
                    end.handshake()
                carry(near, far)
        resumed.append(near.session.resumed)
        if accepts:
            near.session.accept()
        far.write(b"welcome")
        carry(near, far)
        near.read()
        part(near, far)
    assert resumed == [False, accepts, accepts]


def test_renewing_a_session_does_not_put_off_the_next_question(pki: Pki) -> None:
    """However often it is resumed, a session ends when the first one would have."""
    policy = server_policy(pki, ocsp=URL, session_cache_timeout=300.0)
    context = python_client(pki, version=ssl.TLSVersion.TLSv1_3, identity=True)
    saved: ssl.SSLSession | None = None
    times = []
    for turn in range(3):
        near = Theirs(context, name="localhost", session=saved)
        far = Ours(policy.session(None, Log()))
        shake(near, far)
        saved = near.object.session
        times.append(lib.SSL_SESSION_get_time(lib.SSL_get_session(far.session._ssl)))
        part(near, far)
        if turn == 0:
            _age(policy, 100)
    assert times[1] < times[0] - 90
    assert times[2] <= times[1]


def _age(policy: tls.TlsPolicy, seconds: int) -> None:
    """Make every session in the server's store older."""
    context = policy._context
    store: Any = context._store
    for place in range(0, len(store._table), store._slot):
        key = store._key_at(place)
        if not any(key):
            continue
        pointer = context.find_server_session(key)
        lib.SSL_SESSION_set_time(pointer, lib.SSL_SESSION_get_time(pointer) - seconds)
        context.keep_server_session(pointer)
        lib.SSL_SESSION_free(pointer)


def test_nobody_shows_another_certificate_later(pki: Pki) -> None:
    renegotiating = frozenset({"ALLOW_CLIENT_RENEGOTIATION"})
    context = server_policy(pki, ocsp=URL, options=renegotiating)._context
    assert context.options & OPTIONS["NO_RENEGOTIATION"]


def test_peerocsp_is_not_made_where_nobody_is_asked(pki: Pki) -> None:
    assert server_policy(pki).ocsp is None
    assert tls.build(server(pki)).ocsp is None
    assert tls.build(client(ca_file=str(pki.ca), verify_peer=True)).ocsp is None
    asking = server_policy(pki, ocsp_aia=True, debug=4)
    assert isinstance(asking.ocsp, PeerOcsp)
    assert asking.silent_context is None  # nobody gets past the judge by standing orders
