"""Answers of OCSP responders: what they say, which are believed, and what each flag changes about that."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import hashes

from culvert.openssl import Certificate, Context
from culvert.openssl.ocsp import ANSWER_MAX, FLAGS, Answer, BadAnswer, Question, Staple, Status, responders
from tests.pki import Authority, Identity, Pki
from tests.proxies import need_program
from tests.responders import SIGNER, TRY_LATER, answer, nonce_of


def cert(one: Identity | Authority) -> Certificate:
    return Certificate.from_pem(one.pem)


def read(
    pki: Pki,
    der: bytes,
    *flags: str,
    about: Identity | None = None,
    above: tuple[Authority, ...] = (),
    also: tuple[Certificate, ...] = (),
    nonce: bool = False,
) -> Answer:
    """What an answer says of a certificate, to a service that trusts the root."""
    context = Context(server=False)
    context.trust([cert(pki.root), *also])
    chain = [cert(each) for each in above or (pki.root,)]
    question = Question(cert(about or pki.server), chain[0], nonce=nonce)
    return question.read(der, context.signers, chain, sum(FLAGS[flag] for flag in flags), 60)


@pytest.mark.parametrize("status", list(Status))
def test_a_signed_answer_says_what_became_of_the_certificate(pki: Pki, status: Status) -> None:
    found = read(pki, answer(pki.server, pki.root, status.value))
    assert found.status is status
    assert found.this_update < time.time() < found.next_update
    assert bool(found.revoked_at) is (status is Status.REVOKED)
    assert (found.reason_text == "keyCompromise") is (status is Status.REVOKED)


def test_an_answer_may_name_the_certificate_by_another_hash_than_the_question(pki: Pki) -> None:
    assert read(pki, answer(pki.server, pki.root, digest=hashes.SHA256())).status is Status.GOOD


def test_an_answer_without_a_next_update_has_no_end(pki: Pki) -> None:
    assert read(pki, answer(pki.server, pki.root, days=(-0.1, None))).next_update == 0


BAD: dict[str, tuple[Callable[[Pki], bytes], str]] = {
    "empty": (lambda _: b"", "No OCSP response"),
    "no DER": (lambda _: os.urandom(300), "cannot be parsed"),
    "too long": (lambda _: bytes(ANSWER_MAX + 1), "more than 65536 bytes"),
    "try later": (lambda _: TRY_LATER, "OCSP responder error: 3: trylater"),
    "expired": (
        lambda pki: answer(pki.server, pki.root, days=(-2, -1)),
        "OCSP_check_validity: status expired",
    ),
    "of an unknown end, and old": (
        lambda pki: answer(pki.server, pki.root, days=(-1.1, None)),
        "OCSP_check_validity: status too old",
    ),
    "not yet": (lambda pki: answer(pki.server, pki.root, days=(1, 2)), "OCSP_check_validity: status not yet"),
    "of another": (lambda pki: answer(pki.client, pki.root), "about other certificates"),
    "of a stranger": (
        lambda pki: answer(pki.server, pki.root, signer=pki.other_server),
        "OCSP_basic_verify: certificate verify error",
    ),
    "of a neighbour": (
        lambda pki: answer(pki.server, pki.root, signer=pki.client),
        "OCSP_basic_verify: .*missing ocspsigning usage",
    ),
    "forged": (lambda pki: answer(pki.server, pki.root)[:-8] + bytes(8), "OCSP_basic_verify: "),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_believed_says_nothing(pki: Pki, kind: str) -> None:
    make, reason = BAD[kind]
    with pytest.raises(BadAnswer, match=reason):
        read(pki, make(pki))


@pytest.mark.parametrize("length", [1, 20, 60, 200])
def test_an_answer_that_was_cut_says_nothing(pki: Pki, length: int) -> None:
    with pytest.raises(BadAnswer, match="cannot be parsed"):
        read(pki, answer(pki.server, pki.root)[:length])


def test_no_octet_of_an_answer_can_be_changed_to_another_effect(pki: Pki) -> None:
    der = answer(pki.server, pki.root, "revoked")
    right = read(pki, der)
    for position in range(len(der)):
        for bit in (0x01, 0x80):
            spoilt = der[:position] + bytes((der[position] ^ bit,)) + der[position + 1 :]
            try:
                assert read(pki, spoilt) == right, (
                    position,
                    bit,
                )  # what nobody signs, and nothing depends on
            except BadAnswer:
                continue


def test_a_nonce_has_to_come_back(pki: Pki) -> None:
    context = Context(server=False)
    context.trust([cert(pki.root)])
    question = Question(cert(pki.server), cert(pki.root), nonce=True)
    right = answer(pki.server, pki.root, nonce=nonce_of(question.der))
    for der in (answer(pki.server, pki.root), answer(pki.server, pki.root, nonce=os.urandom(16))):
        with pytest.raises(BadAnswer, match="Invalid or unsupported nonce"):
            question.read(der, context.signers, [cert(pki.root)], 0, 60)
    assert question.read(right, context.signers, [cert(pki.root)], 0, 60).status is Status.GOOD


@dataclass(frozen=True)
class FlagCase:
    """An answer that a flag turns from believed to not believed, or back."""

    der: bytes
    plainly: bool
    about: Identity | None = None
    above: tuple[Authority, ...] = ()
    also: tuple[Certificate, ...] = ()


@pytest.fixture(scope="module")
def cases(pki: Pki) -> dict[str, FlagCase]:
    root, middle, server = pki.root, pki.intermediate, pki.server
    delegate = pki.issue("delegate", usages=SIGNER)
    low = pki.issue("low-delegate", issuer=middle, usages=SIGNER)
    chain = (middle, root)
    trusted = subprocess.run(
        [need_program("openssl"), "x509", "-addtrust", "OCSPSigning", "-in", str(pki.other_root.ca)],
        capture_output=True,
        check=True,
    ).stdout
    explicit = (Certificate.from_pem(trusted),)
    by_delegate = answer(server, root, signer=delegate)
    return {
        "NOINTERN": FlagCase(by_delegate, True),
        "NOCHAIN": FlagCase(answer(pki.chained, middle, signer=low), True, pki.chained, chain),
        "NOVERIFY": FlagCase(answer(server, root, signer=pki.other_server), False),
        "NOEXPLICIT": FlagCase(answer(server, root, signer=pki.other_server), True, also=explicit),
        "NOCASIGN": FlagCase(answer(server, root), True),
        "NODELEGATED": FlagCase(by_delegate, True),
        "NOCHECKS": FlagCase(answer(server, root, signer=pki.client), False),
        "TRUSTOTHER": FlagCase(answer(pki.chained, middle, signer=root), False, pki.chained, chain),
        "NOSIGS": FlagCase(_spoilt(answer(server, root)), False),
    }


def _spoilt(der: bytes) -> bytes:
    """With the last octet of the signature changed."""
    return der[:-1] + bytes((der[-1] ^ 1,))


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_changes_what_is_believed(pki: Pki, cases: dict[str, FlagCase], flag: str) -> None:
    case = cases[flag]

    def believed(*flags: str) -> bool:
        try:
            return (
                read(pki, case.der, *flags, about=case.about, above=case.above, also=case.also).status
                is Status.GOOD
            )
        except BadAnswer:
            return False

    assert (believed(), believed(flag)) == (case.plainly, not case.plainly)


def test_the_peer_itself_may_not_answer_for_itself_with_any_flag_that_leaves_checks_on(pki: Pki) -> None:
    der = answer(pki.server, pki.root, signer=pki.server)
    for flags in ((), ("TRUSTOTHER",), ("NOINTERN",), ("NOCHAIN",), ("TRUSTOTHER", "NOINTERN")):
        with pytest.raises(BadAnswer):
            read(pki, der, *flags)


def test_a_certificate_names_its_responders_in_an_order(pki: Pki) -> None:
    urls = ("http://127.0.0.1:2/b", "http://127.0.0.1:1/a")
    assert tuple(responders(cert(pki.issue("two-responders", responders=urls)))) == urls
    assert tuple(responders(cert(pki.server))) == ()


def test_a_staple_is_handed_out_until_its_end() -> None:
    staple = Staple()
    assert staple.current is None
    staple.put(b"answer", int(time.time()) + 100)
    assert staple.current is not None
    assert staple.current[0] == b"answer"
    staple.put(b"old", int(time.time()) - 2)  # the clock of C may be a tick behind
    assert staple.current is None
    staple.put(b"answer", int(time.time()) + 100)
    staple.take_away()
    assert staple.current is None
    with pytest.raises(ValueError, match="does not fit"):
        staple.put(bytes(ANSWER_MAX + 1), 1 << 40)


def test_a_staple_is_seen_by_every_process_whole() -> None:
    """One process writes without a pause; what another reads is one answer or the other."""
    staple, end = Staple(), int(time.time()) + 1000
    answers = (b"a" * 3000, b"b" * 5000)
    staple.put(answers[0], end)
    child = os.fork()
    if child == 0:
        try:
            for turn in range(20_000):
                staple.put(answers[turn % 2], end)
        finally:
            os._exit(0)
    seen = set()
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        current = staple.current
        if current is not None:  # the writer was in the way of every attempt
            seen.add(current[0])
    assert seen <= set(answers)
    assert staple.current == (answers[1], end)
