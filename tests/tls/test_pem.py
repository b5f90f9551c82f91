"""Blocks of PEM files."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.tls import pem
from culvert.tls.pem import blocks_of, read_blocks

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nBBBB\n-----END PRIVATE KEY-----\n"
LOCKED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nBBBB\n-----END ENCRYPTED PRIVATE KEY-----\n"
LOCKED_BEFORE = (
    b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nBBBB\n"
    b"-----END RSA PRIVATE KEY-----\n"
)
PARAMETERS = b"-----BEGIN DH PARAMETERS-----\nCCCC\n-----END DH PARAMETERS-----\n"


def test_blocks_are_found_between_other_text() -> None:
    found = blocks_of(b"subject=x\n" + CERTIFICATE + b"\nBag Attributes\n" + KEY + b"tail")
    assert [(block.label, block.line) for block in found] == [("CERTIFICATE", 2), ("PRIVATE KEY", 7)]
    assert [block.data for block in found] == [CERTIFICATE, KEY]


def test_line_ends_of_any_system_are_read() -> None:
    found = blocks_of(CERTIFICATE.replace(b"\n", b"\r\n") + KEY)
    assert [block.data for block in found] == [CERTIFICATE, KEY]


def test_a_last_line_without_its_end_is_read() -> None:
    assert blocks_of(CERTIFICATE.rstrip())[0].data == CERTIFICATE


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"\x30\x82\x01\x00",
        b"x-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_no_block_is_passed_over(text: bytes) -> None:
    assert blocks_of(text) == ()


def test_blocks_know_what_they_are() -> None:
    certificate, key, locked, before, parameters = blocks_of(
        CERTIFICATE + KEY + LOCKED + LOCKED_BEFORE + PARAMETERS
    )
    assert certificate.is_certificate
    assert not certificate.is_key
    assert all(block.is_key for block in (key, locked, before))
    assert [block.is_encrypted for block in (key, locked, before)] == [False, True, True]
    assert parameters.is_parameters
    assert not parameters.is_key


def test_an_absurd_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pem, "FILE_MAX", 1 << 20)
    path = tmp_path / "large"
    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(OSError, match="larger than 1 MiB"):
        read_blocks(str(path))
