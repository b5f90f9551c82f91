"""Pins: alone they take the place of every authority; beside other rules, all must hold."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.pki import Pki
from tests.tls.judging import BOTH, judged

# The peer, whose pins are set, further rules, and whether the peer is let in.
CASES: list[tuple[str | None, tuple[str, ...], dict[str, Any], bool]] = [
    ("self_signed", ("self_signed",), {}, True),
    ("self_signed", ("server", "self_signed"), {}, True),
    ("self_signed", ("server",), {}, False),
    ("other_server", ("other_server",), {}, True),
    ("other_server", ("server",), {}, False),
    ("expired", ("expired",), {}, False),
    ("not_yet_valid", ("not_yet_valid",), {}, False),
    ("server_rsa", ("server_rsa",), {}, True),
    ("server", ("server",), {"verify_chain": True}, True),
    ("other_server", ("other_server",), {"verify_chain": True}, False),
    ("server", ("client",), {"verify_chain": True}, False),
    ("server", ("server",), {"verify_peer": True}, False),
    ("self_signed", ("self_signed",), {"check_host": ("localhost",)}, True),
    ("self_signed", ("self_signed",), {"check_host": ("elsewhere",)}, False),
]


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize(("peer", "pinned", "more", "good"), CASES)
def test_a_pin_must_be_of_the_peers_own_key(
    pki: Pki, mode: str, peer: str, pinned: tuple[str, ...], more: dict[str, Any], good: bool
) -> None:
    pins = tuple(getattr(pki, each).pin for each in pinned)
    if "verify_chain" in more or "verify_peer" in more:
        more = {**more, "ca_file": str(pki.ca)}
    reason, log = judged(pki, mode, getattr(pki, peer), pin=pins, **more)
    assert (reason is None) == good, log.texts


def test_the_key_of_an_authority_is_no_pin_of_its_peers(pki: Pki) -> None:
    root = pki.root.private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = f"sha256/{base64.b64encode(hashlib.sha256(root).digest()).decode()}"
    reason, _ = judged(pki, "server", pki.chained, pin=(pin,), verify_chain=True, ca_file=str(pki.ca))
    assert reason == "certificate verify failed"


def test_a_client_without_a_certificate_is_refused_where_there_is_a_pin(pki: Pki) -> None:
    reason, _ = judged(pki, "server", None, pin=(pki.client.pin,))
    assert reason == "peer did not return a certificate"


def test_the_log_says_what_the_pin_would_have_been(pki: Pki) -> None:
    _, log = judged(pki, "client", pki.server, pin=(pki.client.pin,))
    whose = "the one of C=PL, O=Culvert Tests, CN=server"
    line = f"CERT: Public key matches no pin: {whose} would be {pki.server.pin}"
    assert (4, line) in log.lines
    _, log = judged(pki, "client", pki.server, pin=(pki.server.pin,))
    assert (6, f"CERT: Public key matched with the pin {pki.server.pin}") in log.lines


def test_a_client_with_a_key_and_a_pin_still_looks_at_certificates(pki: Pki, tmp_path: Path) -> None:
    """A server without the key may show a certificate, and that must have the pin."""
    secrets = tmp_path / "psk.txt"
    secrets.write_text("alice:0123456789abcdef0123456789abcdef\n")
    for pinned, good in ((pki.server, True), (pki.client, False)):
        reason, _ = judged(pki, "client", pki.server, pin=(pinned.pin,), psk_secrets=str(secrets))
        assert (reason is None) == good
