"""`config`: OpenSSL's own commands take effect, and each one that cannot is refused at its line."""

from __future__ import annotations

from typing import Any

import pytest

from culvert import tls
from culvert.config import load_text
from culvert.config.model import Service
from culvert.errors import ConfigErrors
from tests.openssl.memory import Ours, Theirs, failing, shake
from tests.pki import Pki
from tests.tls.pairs import Log, part, python_client


def service(pki: Pki, *commands: str) -> Service:
    lines = "".join(f"config = {each}\n" for each in commands)
    text = f"[web]\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\ncert = {pki.server.both}\n{lines}"
    return load_text(text, "conf").services[0]


@pytest.mark.parametrize(
    ("commands", "version", "cipher"),
    [
        (("MaxProtocol:TLSv1.2",), "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (("maxprotocol:TLSv1.2", "CipherString:ECDHE+AES128"), "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (("Ciphersuites:TLS_AES_128_GCM_SHA256",), "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ],
)
def test_commands_take_effect_behind_the_options(
    pki: Pki, commands: tuple[str, ...], version: str, cipher: str
) -> None:
    ends = (
        Theirs(python_client(pki), name="localhost"),
        Ours(tls.build(service(pki, *commands)).session()),
    )
    shake(*ends)
    assert (ends[1].session.version, ends[1].session.cipher) == (version, cipher)
    part(*ends)


def test_a_group_that_the_client_lacks_ends_the_handshake(pki: Pki) -> None:
    near = tls.build(Service(name="near", client=True, curves="P-256"))
    far = tls.build(service(pki, "Groups:P-384"))
    ends = Ours(near.session()), Ours(far.session())
    failing(*ends)
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("Nonsense:x", 'OpenSSL config command "Nonsense" was not recognised'),
        ("MinProtocol", 'OpenSSL config command "MinProtocol" requires a parameter'),
        ("MinProtocol:TLSv9", 'OpenSSL config command "MinProtocol" failed: bad value'),
        ("Options:KTLS", "Options:KTLS is not available in this version of Culvert: records are encrypted"),
        ("VerifyMode:Peer", "`verifyChain`, `verifyPeer` and `requireCert` say who is verified"),
        ("verifycafile:/x", "`CAfile` says who is trusted"),
        ("PrivateKey:/x", "`key` says which key is used"),
        ("DHParameters:/x", "DH parameters stand in a file of `cert`"),
    ],
)
def test_what_cannot_be_is_refused_at_its_own_line(pki: Pki, command: str, reason: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        tls.build(service(pki, "NumTickets:2", command, "RecordPadding:512"))
    assert str(caught.value).startswith(f"conf:6: config: {reason}")
    assert len(caught.value.errors) == 1


@pytest.mark.parametrize("demand", [{"verify_chain": True}, {"verify_peer": True}, {"pin": True}])
def test_no_command_brings_ciphers_without_certificates_where_one_is_demanded(
    pki: Pki, demand: dict[str, Any]
) -> None:
    """A server that shows none would be believed."""
    rules = {**demand, "pin": (pki.server.pin,)} if "pin" in demand else {**demand, "ca_file": str(pki.ca)}
    command = ("MaxProtocol:TLSv1.2", "CipherString:ALL:aNULL:@SECLEVEL=0")
    with pytest.raises(ConfigErrors, match=r"config: CipherString.* has ciphers without certificates"):
        tls.build(Service(name="near", client=True, config=command, **rules))
    assert tls.build(Service(name="near", client=True, config=command))


@pytest.mark.parametrize("demand", [{"verify_chain": True}, {"pin": True}])
def test_nor_do_ciphers(pki: Pki, demand: dict[str, Any]) -> None:
    rules = {**demand, "pin": (pki.server.pin,)} if "pin" in demand else {**demand, "ca_file": str(pki.ca)}
    anonymous: dict[str, Any] = {"ssl_version": "TLSv1.2", "ciphers": "aNULL:ALL:@SECLEVEL=0"}
    near = tls.build(Service(name="near", client=True, **anonymous, **rules))
    far = tls.build(Service(name="far", cert=(str(pki.server.both),), **anonymous))
    ends = Ours(near.session("x:1", Log())), Ours(far.session())
    shake(*ends)
    assert ends[0].session.peer_certificate is not None
    part(*ends)
