"""The lines of a start about a service's TLS."""

from __future__ import annotations

from typing import Any

import pytest

from culvert import tls
from tests.pki import Pki
from tests.tls.pairs import server


def lines(pki: Pki, **options: Any) -> list[tuple[int, str]]:
    return list(tls.build(server(pki, **options)).start_lines())


def test_the_files_of_an_identity_are_named(pki: Pki) -> None:
    said = lines(pki, cert=(str(pki.server.cert),), key=str(pki.server.key))
    wanted = [
        (6, f"Certificate loaded from: {pki.server.cert}"),
        (6, f"Private key loaded from: {pki.server.key}"),
        (7, "Private key check succeeded"),
    ]
    assert [each for each in said if each in wanted] == wanted


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, (6, "stunnel default security level set: 2")),
        ({"security_level": 3}, (6, "User-specified security level set: 3")),
        ({}, (6, "Session resumption enabled")),
        ({"session_resume": False}, (6, "Session resumption disabled")),
        ({"ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"}, (7, "Ciphers: ECDHE-ECDSA-AES128-GCM-SHA256")),
        (
            {"ciphersuites": "TLS_AES_128_GCM_SHA256"},
            (7, "TLSv1.3 ciphersuites: TLS_AES_128_GCM_SHA256"),
        ),
    ],
)
def test_what_was_settled_is_said(pki: Pki, options: dict[str, Any], line: tuple[int, str]) -> None:
    assert line in lines(pki, debug=7, **options)


def test_nothing_is_composed_that_nobody_reads(pki: Pki) -> None:
    assert not any("level set" in text or "Ciphers" in text for _, text in lines(pki, debug=5))
