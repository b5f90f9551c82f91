"""Versions, ciphers, groups, switches, levels: what is set is spoken, what is not possible is refused."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from culvert import tls
from culvert.config.tlsnames import KERNEL_TLS, OPTION_NAMES
from culvert.errors import ConfigErrors, Where
from culvert.openssl._lib import OPTIONS
from tests.openssl.memory import Ours, Theirs, failing, shake
from tests.pki import Pki
from tests.tls.pairs import client, connect, part, python_client, server

AT = Where("tunnel.conf", 9)
MISSING = sorted(set(OPTION_NAMES) - set(OPTIONS))


def refusal(pki: Pki, **options: Any) -> str:
    with pytest.raises(ConfigErrors) as caught:
        tls.build(server(pki, positions=dict.fromkeys(options, AT), **options))
    return str(caught.value)


def spoken(pki: Pki, near: dict[str, Any], far: dict[str, Any]) -> str | None:
    """The version that two policies agree on, None when they cannot."""
    ends = Ours(tls.build(client(**near)).session()), Ours(tls.build(server(pki, **far)).session())
    try:
        failing(*ends)
    except AssertionError:
        return ends[1].session.version
    finally:
        for end in ends:
            end.close()
    return None


@pytest.mark.parametrize(
    ("near", "far", "version"),
    [
        ({}, {}, "TLSv1.3"),
        ({"ssl_version_max": "TLSv1.2"}, {}, "TLSv1.2"),
        ({}, {"ssl_version_max": "TLSv1.2"}, "TLSv1.2"),
        ({"ssl_version_min": "TLSv1.3"}, {"ssl_version_max": "TLSv1.2"}, None),
        ({"ssl_version": "TLSv1.2"}, {}, "TLSv1.2"),
        ({"ssl_version": "TLSv1.2"}, {"ssl_version": "TLSv1.3"}, None),
        ({"ssl_version": "TLSv1"}, {}, None),
        ({}, {"options": ("NO_TLSv1_3",)}, "TLSv1.2"),
        ({}, {"options": ("NO_TLSv1_3", "-NO_TLSv1_3")}, "TLSv1.3"),
    ],
)
def test_the_newest_version_within_both_ranges_is_spoken(
    pki: Pki, near: dict[str, Any], far: dict[str, Any], version: str | None
) -> None:
    assert spoken(pki, near, far) == version


def test_old_versions_are_spoken_where_they_are_asked_for(pki: Pki) -> None:
    old = {"ssl_version": "TLSv1", "security_level": 0, "ciphers": "ALL:@SECLEVEL=0"}
    assert spoken(pki, old, {"cert": (str(pki.server_rsa.both),), **old}) == "TLSv1"


def test_ciphers_decide_below_tls_1_3(pki: Pki) -> None:
    far = tls.build(server(pki, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", ssl_version_max="TLSv1.2"))
    ends = connect(tls.build(client()), far)
    assert ends[0].session.cipher == "ECDHE-ECDSA-AES128-GCM-SHA256"
    part(*ends)


def test_ciphersuites_decide_in_tls_1_3(pki: Pki) -> None:
    ends = connect(tls.build(client()), tls.build(server(pki, ciphersuites="TLS_CHACHA20_POLY1305_SHA256")))
    assert ends[0].session.cipher == "TLS_CHACHA20_POLY1305_SHA256"
    part(*ends)


@pytest.mark.parametrize(("curves", "group"), [("P-384", "secp384r1"), ("X448:P-256", "x448")])
def test_the_first_common_group_is_taken(pki: Pki, curves: str, group: str) -> None:
    ends = connect(tls.build(client(curves=curves)), tls.build(server(pki)))
    assert ends[0].session.group == group
    part(*ends)


def test_the_hybrid_group_comes_first_where_openssl_has_it(pki: Pki) -> None:
    ends = connect(tls.build(client()), tls.build(server(pki)))
    try:
        tls.build(client(curves="X25519MLKEM768"))
    except ConfigErrors:
        assert ends[0].session.group == "x25519"
    else:
        assert "MLKEM" in ends[0].session.group.upper()
    part(*ends)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ciphers": "NONSENSE"}, "ciphers: none of these ciphers can be used: no cipher match"),
        ({"ciphersuites": "NONSENSE"}, "ciphersuites: these cipher suites cannot be used: no cipher match"),
        ({"curves": "P-256:NONSENSE"}, "curves: Invalid groups list in 'curves'"),
    ],
)
def test_what_openssl_does_not_know_is_refused_at_its_line(
    pki: Pki, options: dict[str, Any], said: str
) -> None:
    assert refusal(pki, **options).startswith(f"tunnel.conf:9: {said}")


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - KERNEL_TLS))
def test_every_switch_of_this_openssl_can_be_set_and_cleared(pki: Pki, name: str) -> None:
    on = tls.build(server(pki, options=(name,)))
    assert on._context.options & OPTIONS[name] == OPTIONS[name]
    off = tls.build(server(pki, options=(name, f"-{name}")))
    assert not off._context.options & OPTIONS[name]


def test_the_kernels_tls_is_refused_to_a_program_too(pki: Pki) -> None:
    assert refusal(pki, options=("ENABLE_KTLS",)).startswith(
        "tunnel.conf:9: options: ENABLE_KTLS is not available in this version of Culvert: "
    )


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_switch_that_this_openssl_lacks_is_refused(pki: Pki, name: str, sign: str) -> None:
    text = refusal(pki, options=(sign + name,))
    assert text.startswith("tunnel.conf:9: options: OpenSSL 3.")
    assert f" does not know {sign}{name}" in text


def test_compression_is_off_until_it_is_asked_for(pki: Pki) -> None:
    assert tls.build(server(pki))._context.options & OPTIONS["NO_COMPRESSION"]
    asked = tls.build(server(pki, options=("-NO_COMPRESSION",)))
    assert not asked._context.options & OPTIONS["NO_COMPRESSION"]


def test_renegotiation_can_be_refused(pki: Pki) -> None:
    assert tls.build(server(pki, renegotiation=False))._context.options & OPTIONS["NO_RENEGOTIATION"]
    assert not tls.build(server(pki))._context.options & OPTIONS["NO_RENEGOTIATION"]


@pytest.mark.parametrize(("level", "effective"), [(None, 2), (0, 0), (1, 1), (3, 3)])
def test_the_security_level_is_two_unless_the_file_says_otherwise(
    pki: Pki, level: int | None, effective: int
) -> None:
    assert tls.build(server(pki, security_level=level))._context.security_level == effective


def test_a_level_above_the_certificate_is_refused(pki: Pki) -> None:
    assert "cert: the certificate of " in refusal(pki, cert=(str(pki.server_rsa.both),), security_level=3)


def test_one_ticket_is_sent_in_tls_1_3(pki: Pki) -> None:
    far, near = Ours(tls.build(server(pki)).session()), Theirs(python_client(pki), name="localhost")
    shake(near, far)
    assert near.object.session is not None
    assert near.object.session.has_ticket
    part(near, far)


DH = {"ciphers": "DHE-RSA-AES128-GCM-SHA256", "ssl_version_max": "TLSv1.2"}
# RFC 7919, ffdhe2048, as `openssl genpkey -genparam -algorithm DH -pkeyopt group:ffdhe2048` writes it
PARAMETERS = b"""-----BEGIN DH PARAMETERS-----
MIIBDAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAgICAOE=
-----END DH PARAMETERS-----
"""


def dh_bits(pki: Pki, cert: tuple[str, ...]) -> int:
    ends = connect(tls.build(client(ciphers=DH["ciphers"])), tls.build(server(pki, cert=cert, **DH)))
    key = ends[0].session.peer_key
    part(*ends)
    assert key is not None
    assert key[0] == "DH"
    return key[1]


def test_dh_parameters_are_taken_from_the_certificates_file(pki: Pki) -> None:
    path = pki.write("dh.pem", pki.server_rsa.both.read_bytes() + PARAMETERS)
    assert dh_bits(pki, (str(path),)) == 2048


def test_dh_without_parameters_uses_those_of_openssl(pki: Pki) -> None:
    assert dh_bits(pki, (str(pki.server_rsa.both),)) >= 2048


def test_broken_dh_parameters_are_refused_where_they_stand(pki: Pki) -> None:
    broken = b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n"
    path = pki.write("bad-dh.pem", pki.server.both.read_bytes() + broken)
    assert "is not a set of DH parameters" in refusal(pki, cert=(str(path),))


def test_a_client_of_python_that_speaks_old_versions_only_is_refused(pki: Pki) -> None:
    context = python_client(pki, version=ssl.TLSVersion.TLSv1_2)
    far = Ours(tls.build(server(pki, ssl_version_min="TLSv1.3")).session())
    assert failing(Theirs(context, name="localhost"), far) == "unsupported protocol"
    far.close()


ANONYMOUS = {"ciphers": "aNULL:HIGH:@SECLEVEL=0", "security_level": 0, "ssl_version_max": "TLSv1.2"}


def test_anonymous_ciphers_are_spoken_where_nobody_is_verified(pki: Pki) -> None:
    ends = connect(tls.build(client(**ANONYMOUS)), tls.build(server(pki, **ANONYMOUS)))
    assert ends[0].session.peer_certificate is None
    part(*ends)


def test_a_client_that_verifies_never_speaks_an_anonymous_cipher(pki: Pki) -> None:
    near = client(verify_chain=True, ca_file=str(pki.other_ca), **ANONYMOUS)
    ends = Ours(tls.build(near).session()), Ours(tls.build(server(pki, **ANONYMOUS)).session())
    assert failing(*ends) == "certificate verify failed"
    for end in ends:
        end.close()


@pytest.mark.parametrize("rule", ["verify_chain", "verify_peer", "require_cert"])
def test_a_server_that_demands_a_certificate_never_speaks_an_anonymous_cipher(pki: Pki, rule: str) -> None:
    far = server(pki, ca_file=str(pki.ca), **{rule: True}, **ANONYMOUS)
    ends = Ours(tls.build(client(**ANONYMOUS)).session()), Ours(tls.build(far).session())
    assert failing(*ends) == "peer did not return a certificate"
    for end in ends:
        end.close()


def test_a_version_that_the_level_forbids_is_warned_of(pki: Pki) -> None:
    (warning,) = tls.build(server(pki, ssl_version="TLSv1.1")).warnings
    assert "`securityLevel = 0` only" in warning.reason
    assert tls.build(server(pki, ssl_version="TLSv1.1", security_level=0)).warnings == ()


@pytest.mark.parametrize(("options", "chosen"), [((), "AES256"), (("-CIPHER_SERVER_PREFERENCE",), "AES128")])
def test_a_server_chooses_the_cipher_unless_told_otherwise(
    pki: Pki, options: tuple[str, ...], chosen: str
) -> None:
    ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    near = tls.build(client(ciphers=ciphers, ssl_version_max="TLSv1.2"))
    far = tls.build(server(pki, options=options))
    ends = connect(near, far)
    assert chosen in ends[0].session.cipher
    part(*ends)


def test_a_client_without_aes_in_hardware_gets_chacha(pki: Pki) -> None:
    ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384"
    ends = connect(tls.build(client(ciphers=ciphers, ssl_version_max="TLSv1.2")), tls.build(server(pki)))
    assert "CHACHA20" in ends[0].session.cipher
    part(*ends)
