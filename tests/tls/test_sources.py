"""Certificates and keys that are not PEM: PKCS#12, with and without a pass phrase, and URIs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, pkcs12

from culvert import tls
from culvert.config import load_text
from culvert.errors import ConfigErrors, TlsError, Where
from culvert.openssl.asking import answering
from culvert.tls import library
from culvert.tls.passphrases import TRIES, Passphrases
from culvert.tls.sources import shown
from tests.openssl.memory import Ours, Theirs, shake
from tests.pki import Identity, Pki, private_pem
from tests.proxies import need_program
from tests.tls.pairs import part, python_client, server
from tests.tls.test_passphrases import PHRASE, Operator

AT = Where("tunnel.conf", 7)


def sealed(pki: Pki, identity: Identity, phrase: str | None, *above: x509.Certificate) -> str:
    """A PKCS#12 file; without a phrase its seal is of the empty one."""
    key: Any = identity.private_key
    lock = BestAvailableEncryption(phrase.encode()) if phrase else NoEncryption()
    data = pkcs12.serialize_key_and_certificates(b"name", key, identity.certificate, above, lock)
    return str(pki.write(f"{identity.name}-{len(above)}{phrase or ''}.p12", data))


def chain_sent(pki: Pki, policy: tls.TlsPolicy) -> str:
    """The subject that a client has verified up to the root."""
    ends = Theirs(python_client(pki), name="localhost"), Ours(policy.session())
    shake(*ends)
    certificate = ends[0].object.getpeercert()
    assert certificate is not None
    part(*ends)
    return str(dict(pair[0] for pair in certificate["subject"])["commonName"])  # type: ignore[misc]


def test_a_pkcs12_file_gives_key_certificate_and_chain(pki: Pki) -> None:
    file = sealed(pki, pki.chained, PHRASE, pki.intermediate.certificate)
    operator = Operator("wrong", PHRASE)
    assert chain_sent(pki, tls.build(server(pki, cert=(file,)), Passphrases(operator))) == "chained"
    assert operator.asked == [f"Pass phrase for {file}: "] * 2


def test_an_empty_phrase_is_tried_before_anybody_is_asked(pki: Pki) -> None:
    file = sealed(pki, pki.server, None)
    assert chain_sent(pki, tls.build(server(pki, cert=(file,)), Passphrases(Operator()))) == "server"


def test_a_phrase_that_is_known_opens_a_pkcs12_file_and_a_reload(pki: Pki) -> None:
    passphrases = Passphrases(Operator(PHRASE))
    locked = pki.write("known.pem", private_pem(pki.server.private_key, PHRASE.encode()) + pki.server.pem)
    tls.build(server(pki, cert=(str(locked),)), passphrases)
    for _ in range(2):
        tls.build(server(pki, cert=(sealed(pki, pki.server, PHRASE),)), passphrases)


def test_a_pkcs12_file_may_be_the_key_alone(pki: Pki) -> None:
    service = server(pki, cert=(str(pki.server.cert),), key=sealed(pki, pki.server, PHRASE))
    assert chain_sent(pki, tls.build(service, Passphrases(Operator(PHRASE)))) == "server"


def test_three_phrases_are_taken_for_a_pkcs12_file(pki: Pki) -> None:
    operator = Operator(*["wrong"] * TRIES, PHRASE)
    with pytest.raises(ConfigErrors, match="the pass phrase was wrong 3 times"):
        tls.build(server(pki, cert=(sealed(pki, pki.server, PHRASE),)), Passphrases(operator))
    assert operator.answers == [PHRASE]


def test_uris_of_files_are_read_by_openssl(pki: Pki) -> None:
    key = pki.write("uri.key.pem", private_pem(pki.server.private_key, PHRASE.encode()))
    operator = Operator("wrong", PHRASE)
    service = server(pki, cert=(f"file:{pki.server.cert}",), key=f"file:{key}")
    passphrases = Passphrases(operator)
    for _ in range(2):  # the second time as a reload would
        assert chain_sent(pki, tls.build(service, passphrases)) == "server"
    assert operator.asked == [f"Enter pass phrase for file:{key}: "] * 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cert": ("file:/nowhere/x.pem",)}, "cert: Failed to load certificate: file:/nowhere/x.pem: "),
        (
            {"cert": ("gopher:x",)},
            "gopher:x: OpenSSL has no loader for gopher: URIs, a `provider` can bring one",
        ),
        ({"cert": ("pkcs11:pin-value=1234;object=x",)}, "pin-value=***;object=x: OpenSSL has no loader"),
        ({"engine_num": 1}, "engineNum: Illegal engine number"),
        ({"engine_id": "pkcs11"}, "engineId: Engine ID not found"),
        ({"ca_engine": ("x",), "engine_num": 1, "verify_chain": True}, "engineNum: Illegal engine number"),
    ],
)
def test_what_is_not_there_is_refused_at_its_line(pki: Pki, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        tls.build(server(pki, positions=dict.fromkeys(options, AT), **options))
    assert reason in str(caught.value)
    assert "1234" not in str(caught.value)
    assert str(caught.value).startswith("tunnel.conf:7: ")


def test_something_else_in_der_is_no_pkcs12_file(pki: Pki) -> None:
    file = pki.write("garbage.p12", b"\x30\x82\x01\x00" + bytes(256))
    with pytest.raises(ConfigErrors, match=r"no BEGIN CERTIFICATE line \(PEM or PKCS#12 is needed"):
        tls.build(server(pki, cert=(str(file),)))


def test_an_old_pkcs12_file_needs_the_legacy_provider(pki: Pki, tmp_path: Path) -> None:
    """In a process of its own: a provider stays loaded."""
    old = tmp_path / "old.p12"
    export = ("pkcs12", "-export", "-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-passout", "pass:")
    identity = ("-in", str(pki.server.cert), "-inkey", str(pki.server.key), "-out", str(old))
    subprocess.run([need_program("openssl"), *export, *identity], check=True, capture_output=True)
    file = tmp_path / "culvert.conf"
    section = f"[web]\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\ncert = {old}\n"
    for top, status in (("", 2), ("provider = legacy\n", 0)):
        file.write_text(top + section)
        old.chmod(0o600)
        done = checked(file)
        assert done.returncode == status, done.stdout
        assert ("`provider = legacy` knows it" in done.stdout) is (status == 2)


def checked(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "culvert", "check", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("pkcs11:object=a;pin-value=1234?module-name=b", "pkcs11:object=a;pin-value=***?module-name=b"),
        ("pkcs11:object=a?pin-value=1234&x=y", "pkcs11:object=a?pin-value=***&x=y"),
        ("/etc/key.pem", "/etc/key.pem"),
    ],
)
def test_a_pin_in_a_uri_is_never_shown(text: str, harmless: str) -> None:
    assert shown(text) == harmless


def test_a_pin_is_given_to_its_own_question_only_and_a_wrong_one_is_not_given_again() -> None:
    operator = Operator("1234", "5678", "9999")
    passphrases = Passphrases(operator)
    given: list[bytes | None] = []

    def load(prompt: str, right: bytes) -> bytes:
        def attempt(answer: tls_answer) -> bytes:
            given.append(answer(prompt))
            if given[-1] != right:
                raise TlsError("log in", ("PIN incorrect",))
            return right

        return passphrases.load(attempt)

    load("PIN for one", b"1234")
    load("PIN for one", b"1234")
    load("PIN for two", b"5678")
    load("PIN for one", b"9999")  # the token has another PIN now: the old one is tried once
    assert given == [b"1234", b"1234", b"5678", b"1234", b"9999"]
    assert len(operator.asked) == 3


tls_answer = Any


def test_nobody_is_asked_when_the_failure_is_of_another_kind() -> None:
    def attempt(_answer: tls_answer) -> bytes:
        raise TlsError("find it", ("object not found",))

    with pytest.raises(TlsError, match="object not found"):
        Passphrases(Operator()).load(attempt)


def test_an_answer_that_raises_makes_openssl_fail(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    from culvert.openssl.store import read_uri

    def answer(_prompt: str) -> bytes:
        raise RuntimeError("secret")

    key = pki.write("raising.key.pem", private_pem(pki.server.private_key, PHRASE.encode()))
    with pytest.raises(TlsError):
        read_uri(f"file:{key}", answer)
    assert "a question for a pass phrase was not answered: RuntimeError" in caplog.text
    assert "secret" not in caplog.text
    with answering(answer) as (method, _):
        assert method


def test_config_lines_and_their_values_have_their_places() -> None:
    text = "cert = a\n[web]\naccept = 1\nconnect = 2\ncert = b\ncert = c\n"
    (service,) = load_text(text, "conf").services
    assert [service.where_value("cert", n) for n in range(3)] == [
        Where("conf", 5),
        Where("conf", 6),
        Where("conf", 6),
    ]
    assert library.in_force().engines == ()
