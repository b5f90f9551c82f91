"""What scanners find in a server with an ECDSA and an RSA certificate, and defaults else: nothing.

testssl takes minutes, so it runs only with `make scan` (CULVERT_SCAN=1 in the environment).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.interop.conftest import run
from tests.pki import Pki
from tests.proxies import Kind, Proxy, running
from tests.signs import Sign

pytestmark = [pytest.mark.interop, pytest.mark.integration]

TOP = "foreground = yes\nsyslog = no\ndebug = err\n"
HARMLESS = {"OK", "INFO", "LOW", "DEBUG"}
OF_THE_SCANNER = {"engine_problem", "RC4", "scanTime", "old_fart"}
"""Warnings about what testssl's own OpenSSL cannot do."""


@pytest.fixture
def scanned(pki: Pki, tmp_path: Path) -> Iterator[Proxy]:
    """A default server; its certificates name a responder, as those of public authorities do."""
    identities = [
        pki.issue(f"scanned-{kind}", kind=kind, names=("localhost",), responders=("http://127.0.0.1:9/",))
        for kind in ("ec", "rsa")
    ]
    with ExitStack() as stack:
        sign = Sign(b"220 nothing that a scanner knows\r\n")
        stack.callback(sign.close)
        text = f"{TOP}[web]\naccept = 127.0.0.1:@PORT@\nconnect = 127.0.0.1:{sign.port}\n"
        text += "".join(f"cert = {each.both}\n" for each in identities)
        yield stack.enter_context(running(Kind.CULVERT, text, tmp_path / "culvert"))


def test_sslscan_finds_nothing_weak(scanned: Proxy) -> None:
    done = run("sslscan", "--xml=-", "--no-colour", "--ipv4", f"localhost:{scanned.port}")
    found = ElementTree.fromstring(done.stdout)  # of a program that we have started
    enabled = {each.get("version") for each in found.iter("protocol") if each.get("enabled") == "1"}
    assert enabled == {"1.2", "1.3"}
    assert all(each.get("vulnerable") == "0" for each in found.iter("heartbleed"))
    assert all(each.get("supported") == "0" for each in found.iter("compression"))
    assert all(each.get("supported") == "0" for each in found.iter("renegotiation"))
    ciphers = list(found.iter("cipher"))
    assert {each.get("strength") for each in ciphers} <= {"strong", "acceptable"}
    assert all(int(each.get("bits", "0")) >= 128 for each in ciphers)
    first = [each.get("cipher", "") for each in ciphers if each.get("status") == "preferred"]
    assert first == ["TLS_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"]
    assert {each.text for each in found.iter("expired")} == {"false"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.environ.get("CULVERT_SCAN"), reason="takes minutes: make scan")
def test_testssl_finds_nothing_above_low(scanned: Proxy, pki: Pki, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    program = "testssl" if _is_there("testssl") else "testssl.sh"
    done = run(
        program, "--quiet", "--color", "0", "--warnings", "batch", "--ip", "127.0.0.1",
        "--add-ca", pki.ca, "--jsonfile", report, f"localhost:{scanned.port}", seconds=850.0,
    )  # fmt: skip
    print(done.stdout.decode("utf-8", "replace"))
    findings = json.loads(report.read_text())
    told = {each["id"]: each["finding"] for each in findings}
    assert told["TLS1_3"].startswith("offered")
    assert [each for each in findings if each["severity"] not in HARMLESS and _is_ours(each)] == []
    grade = told.get("overall_grade")  # from testssl 3.2 on
    assert grade is None or grade.startswith("A")


def _is_ours(finding: dict[str, str]) -> bool:
    return finding["id"] not in OF_THE_SCANNER


def _is_there(name: str) -> bool:
    return any((Path(folder) / name).exists() for folder in os.environ.get("PATH", "").split(":"))
