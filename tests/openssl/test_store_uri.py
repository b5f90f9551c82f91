"""Certificates by URI: files of several formats, folders, and what cannot be read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    pkcs12,
)

from culvert.errors import TlsError
from culvert.openssl.store_uri import certificates_at
from tests.pki import Pki


def bundle(pki: Pki, path: Path, password: bytes | None = None) -> Path:
    cas = [pki.root.certificate, pki.other_root.certificate]
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"roots", None, None, cas, encryption))
    return path


def subjects(uri: str) -> list[str]:
    found, unread = certificates_at(uri)
    assert not unread
    return sorted(each.subject.rpartition("=")[2] for each in found)


def test_a_file_is_read_with_and_without_its_scheme(pki: Pki) -> None:
    both = pki.write("two-roots.pem", pki.root.pem + pki.other_root.pem)
    for uri in (f"file:{both}", f"file://{both}", str(both)):
        assert subjects(uri) == ["other-root", "root"]


def test_der_and_pkcs12_are_read(pki: Pki, tmp_path: Path) -> None:
    der = tmp_path / "root.der"
    der.write_bytes(pki.root.certificate.public_bytes(Encoding.DER))
    assert subjects(f"file:{der}") == ["root"]
    assert subjects(f"file:{bundle(pki, tmp_path / 'roots.p12')}") == ["other-root", "root"]


def test_a_folder_is_read_and_what_cannot_be_is_told(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(pki.root.pem)
    (tmp_path / "b.pem").write_bytes(pki.other_root.pem)
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
    assert set(subjects(f"file:{tmp_path}")) == {"other-root", "root"}
    (tmp_path / "note.txt").write_text("no certificate, and passed over")
    (tmp_path / "gone.pem").symlink_to("nowhere")
    found, unread = certificates_at(f"file:{tmp_path}")
    assert found
    assert [each.partition(": ")[0].endswith("gone.pem") for each in unread] == [True]


@pytest.mark.parametrize("uri", ["file:/nowhere/ca.pem", "gopher:ca.pem", "pkcs11:token=none"])
def test_what_cannot_be_opened_is_an_error(uri: str) -> None:
    with pytest.raises(TlsError):
        certificates_at(uri)


def test_nobody_is_asked_for_a_pass_phrase(pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(TlsError):
        certificates_at(f"file:{bundle(pki, tmp_path / 'secret.p12', b'phrase')}")
