"""Own certificates: chains in any order, keys that fit, and what is said of those that do not."""

from __future__ import annotations

import itertools
import ssl
from pathlib import Path
from typing import Any

import pytest

from culvert import tls
from culvert.errors import ConfigErrors, Where
from culvert.openssl import Certificate
from culvert.tls.identity import chain_above
from tests.openssl.memory import Ours, Theirs, shake
from tests.pki import Pki
from tests.tls.pairs import part, server

AT = Where("tunnel.conf", 7)


def refusal(pki: Pki, **options: Any) -> str:
    positions = dict.fromkeys(options, AT)
    with pytest.raises(ConfigErrors) as caught:
        tls.build(server(pki, positions=positions, **options))
    return str(caught.value)


def blocks(pki: Pki) -> dict[str, bytes]:
    return {
        "key": pki.chained.key_pem,
        "leaf": pki.chained.pem,
        "intermediate": pki.intermediate.pem,
        "root": pki.root.pem,
        "stranger": pki.other_root.pem,
    }


@pytest.mark.parametrize("order", list(itertools.permutations(["key", "leaf", "intermediate", "root"])))
def test_a_chain_in_any_order_is_sent_in_the_right_one(pki: Pki, order: tuple[str, ...]) -> None:
    path = pki.write("order.pem", b"".join(blocks(pki)[name] for name in order))
    policy = tls.build(server(pki, cert=(str(path),), ssl_version_max="TLSv1.2"))
    far = Ours(policy.session())
    near = Theirs(ssl.create_default_context(cafile=str(pki.ca)), name="localhost")
    near.handshake()
    far.receive(near.to_send())
    far.handshake()
    flight = far.to_send()  # in clear, before TLS 1.3
    chain = [Certificate.from_pem(blocks(pki)[name]).der for name in ("leaf", "intermediate", "root")]
    places = [flight.find(der) for der in chain]
    assert -1 not in places
    assert places == sorted(places)
    far.close()


def test_a_chain_over_several_files_is_put_together(pki: Pki) -> None:
    files = (pki.write("above.pem", pki.intermediate.pem), pki.chained.cert)
    policy = tls.build(server(pki, cert=tuple(map(str, files)), key=str(pki.chained.key)))
    far = Ours(policy.session())
    near = Theirs(ssl.create_default_context(cafile=str(pki.ca)), name="localhost")
    shake(near, far)
    part(near, far)


def test_strangers_are_left_out_of_the_chain(pki: Pki) -> None:
    leaf, intermediate, root, stranger = (
        Certificate.from_pem(blocks(pki)[name]) for name in ("leaf", "intermediate", "root", "stranger")
    )
    above = chain_above(leaf, [stranger, root, leaf, intermediate])
    assert [each.der for each in above] == [intermediate.der, root.der]


def test_two_authorities_of_one_name_are_both_sent(pki: Pki) -> None:
    leaf, intermediate = (Certificate.from_pem(blocks(pki)[name]) for name in ("leaf", "intermediate"))
    again = Certificate.from_pem(pki.authority("intermediate", pki.other_root).pem)
    assert not leaf.issued_by(again)  # another key: its identifier does not fit
    assert len(chain_above(leaf, [again, intermediate])) == 1


def test_a_certificate_that_loops_ends_the_search(pki: Pki) -> None:
    root = Certificate.from_pem(pki.root.pem)
    assert chain_above(root, [root, root]) == ()


def test_the_key_is_taken_from_the_certificates_file_unless_named(pki: Pki) -> None:
    tls.build(server(pki, cert=(str(pki.server.both),)))
    tls.build(server(pki, cert=(str(pki.server.cert),), key=str(pki.server.key)))
    tls.build(server(pki, cert=(str(pki.server.cert),), key=str(pki.server.both)))


def test_a_renewed_certificate_in_front_keeps_the_one_with_the_key_as_leaf(pki: Pki) -> None:
    path = pki.write("mixed.pem", pki.client.pem + pki.server.pem + pki.server.key_pem)
    far = Ours(tls.build(server(pki, cert=(str(path),))).session())
    near = Theirs(ssl.create_default_context(cafile=str(pki.ca)), name="localhost")
    shake(near, far)
    part(near, far)


def test_one_identity_for_each_kind_of_key_is_used(pki: Pki) -> None:
    files = (str(pki.server.both), str(pki.server_rsa.both))
    policy = tls.build(server(pki, cert=files, ssl_version_max="TLSv1.2"))
    for ciphers, kind in (("ECDHE-RSA-AES128-GCM-SHA256", "rsa"), ("ECDHE-ECDSA-AES128-GCM-SHA256", "ec")):
        context = ssl.create_default_context(cafile=str(pki.ca))
        context.set_ciphers(ciphers)
        far, near = Ours(policy.session()), Theirs(context, name="localhost")
        shake(near, far)
        sent = near.object.getpeercert(binary_form=True)
        expected = pki.server_rsa if kind == "rsa" else pki.server
        assert sent == Certificate.from_pem(expected.pem).der
        part(near, far)


def test_a_key_that_does_not_fit_is_refused_at_its_line(pki: Pki) -> None:
    text = refusal(pki, cert=(str(pki.server.cert),), key=str(pki.client.key))
    assert text.startswith("tunnel.conf:7: key: Private key does not match the certificate: ")
    assert str(pki.client.key) in text


def test_a_missing_key_is_refused_with_what_to_do(pki: Pki) -> None:
    text = refusal(pki, cert=(str(pki.server.cert),))
    assert text == (
        f"tunnel.conf:7: cert: Failed to load private key: none is in {pki.server.cert}; "
        "name its file with `key`"
    )


def test_a_key_file_without_a_key_is_refused(pki: Pki) -> None:
    text = refusal(pki, cert=(str(pki.server.cert),), key=str(pki.server.cert))
    assert f"key: Failed to load private key: none is in {pki.server.cert}" in text


def test_a_file_that_cannot_be_read_is_refused_by_name(pki: Pki) -> None:
    text = refusal(pki, cert=("/nowhere/x.pem",))
    assert text == "tunnel.conf:7: cert: cannot read /nowhere/x.pem: No such file or directory"


def test_a_file_without_certificates_is_refused(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "x.p12").write_bytes(b"\x30\x82")
    assert "has no BEGIN CERTIFICATE line" in refusal(pki, cert=(str(tmp_path / "x.p12"),))


def test_a_broken_certificate_is_refused_by_its_line(pki: Pki) -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    path = pki.write("broken.pem", pki.server.key_pem + broken)
    line = pki.server.key_pem.count(b"\n") + 1
    assert f"line {line} of {path} is not a usable certificate" in refusal(pki, cert=(str(path),))


def test_a_broken_key_is_refused_by_its_line(pki: Pki) -> None:
    broken = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    path = pki.write("broken-key.pem", pki.server.pem + broken)
    line = pki.server.pem.count(b"\n") + 1
    assert f"Failed to load private key: line {line} of {path}" in refusal(pki, cert=(str(path),))


def test_a_second_key_of_one_kind_is_refused(pki: Pki) -> None:
    text = refusal(pki, cert=(str(pki.server.both), str(pki.client.both)))
    assert "has a second EC key" in text


def test_a_server_without_a_certificate_is_refused(pki: Pki) -> None:
    assert "TLS server needs a certificate" in refusal(pki, cert=())


def test_every_error_is_told(pki: Pki) -> None:
    text = refusal(pki, cert=("/nowhere/a",), key="/nowhere/b", ciphers="NONSENSE")
    assert [line.split(": ")[1] for line in text.splitlines()] == ["cert", "key", "ciphers"]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("ended", {"days": (-10, -1)}, "has expired ("),
        ("soon", {"days": (-1, 12.5)}, "expires in 12 days ("),
        ("later", {"days": (1, 30)}, "is not valid yet"),
    ],
)
def test_certificates_near_their_end_are_warned_of(
    pki: Pki, name: str, options: dict[str, Any], said: str
) -> None:
    identity = pki.issue(name, **options)
    policy = tls.build(server(pki, cert=(str(identity.both),), positions={"cert": AT}))
    (warning,) = policy.warnings
    assert (warning.at, warning.option) == (AT, "cert")
    assert said in warning.reason


def test_a_good_certificate_is_not_warned_of(pki: Pki) -> None:
    assert tls.build(server(pki)).warnings == ()


def test_a_weak_key_is_refused_where_the_level_forbids_it(pki: Pki) -> None:
    weak = pki.issue("weak-key", kind="rsa1024")
    assert "ee key too small" in refusal(pki, cert=(str(weak.both),))
    policy = tls.build(server(pki, cert=(str(weak.both),), security_level=0))
    assert "has a weak key: RSA, 1024 bits" in policy.warnings[0].reason


def test_a_traditional_key_is_read(pki: Pki) -> None:
    from cryptography.hazmat.primitives import serialization

    key = pki.server_rsa.private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path = pki.write("traditional.pem", key + pki.server_rsa.pem)
    tls.build(server(pki, cert=(str(path),)))
