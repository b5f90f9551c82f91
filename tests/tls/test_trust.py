"""CAfile and CApath: what is read, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from culvert import tls
from culvert.errors import ConfigErrors, Where
from tests.pki import Pki
from tests.tls.pairs import client, server

AT = Where("tunnel.conf", 5)


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigErrors) as caught:
        tls.build(client(positions=dict.fromkeys(options, AT), **options))
    return str(caught.value)


def test_a_file_of_authorities_that_is_missing_is_refused() -> None:
    text = refusal(verify_chain=True, ca_file="/nowhere/ca.pem")
    assert text == "tunnel.conf:5: CAfile: cannot read /nowhere/ca.pem: No such file or directory"


@pytest.mark.parametrize("option", ["ca_store", "cert"])
def test_a_pin_in_a_uri_is_in_no_message(option: str) -> None:
    """OpenSSL takes a URI that nobody can load for the name of a file, and tells it in full."""
    uri = "strange:object=x?pin-value=4711"
    said = refusal(**{option: uri if option == "ca_store" else (uri,)})
    assert "pin-value=***" in said
    assert "4711" not in said


def test_a_file_without_authorities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    assert "CAfile: No trusted certificates found" in refusal(
        verify_chain=True, ca_file=str(tmp_path / "ca.pem")
    )


def test_a_broken_authority_is_refused_by_its_line(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(pki.root.pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    line = pki.root.pem.count(b"\n") + 1
    text = refusal(verify_chain=True, ca_file=str(path))
    assert text.startswith(f"tunnel.conf:5: CAfile: line {line} of {path} is not a usable certificate")


def test_a_folder_that_is_missing_is_refused() -> None:
    assert "CApath: cannot read /nowhere: No such file" in refusal(verify_peer=True, ca_path="/nowhere")


def test_verification_without_authorities_is_refused() -> None:
    assert 'verifyChain: Either "CAengine", "CAfile", "CApath" or "CAstore" has to be configured' in refusal(
        verify_chain=True
    )
    assert 'verifyPeer: Either "CAengine", "CAfile", "CApath" or "CAstore" has to be configured' in refusal(
        verify_peer=True
    )


def test_a_folder_without_hashed_names_is_warned_of(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(pki.root.pem)
    policy = tls.build(client(verify_chain=True, ca_path=str(tmp_path), positions={"verify_chain": AT}))
    (warning,) = policy.warnings
    assert warning.at == AT
    assert "every peer will be refused" in warning.reason


def test_a_broken_file_in_a_folder_trusts_nobody_and_is_warned_of(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "01234567.0").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "01234568.0").symlink_to(tmp_path / "gone")
    policy = tls.build(server(pki, verify_chain=True, ca_path=str(tmp_path)))
    reasons = [warning.reason for warning in policy.warnings]
    assert any("01234567.0" in reason for reason in reasons)
    assert any("01234568.0: No such file" in reason for reason in reasons)
