"""The real program and Culvert accept and refuse the same configurations; where not, the corpus says why."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.config.corpus import ACCEPTED, BROKEN, Case
from tests.pki import Pki

pytestmark = [pytest.mark.interop, pytest.mark.slow]

STUNNEL = shutil.which("stunnel4") or shutil.which("stunnel")
PATIENCE = 20.0  # seconds until the verdict
VERDICTS = (b"Configuration successful", b"Configuration failed")


@pytest.fixture(scope="session")
def stunnel() -> str:
    if STUNNEL is None:
        if os.environ.get("CI"):
            pytest.fail("stunnel4 is missing")
        pytest.skip("stunnel4 is missing")
    return STUNNEL


def _accepts(program: str, path: Path) -> bool:
    """Start the program, and stop it as soon as it has said what it thinks of the file."""
    with subprocess.Popen(
        [program, str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        try:
            return VERDICTS[0] in _told(process.stderr.fileno())
        finally:
            process.kill()


def _told(descriptor: int) -> bytes:
    told, deadline = b"", time.monotonic() + PATIENCE
    while not any(verdict in told for verdict in VERDICTS):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"no verdict within {PATIENCE} s: {told!r}"
        data = os.read(descriptor, 65_536)
        if not data:
            break
        told += data
    return told


def _prepared(case: Case, pki: Pki, folder: Path) -> Path:
    text = re.sub(r"\bCERT$", str(pki.server.both), case.text, flags=re.MULTILINE)
    text = re.sub(r"\bCA$", str(pki.root.ca), text, flags=re.MULTILINE)
    path = folder / "stunnel.conf"
    path.write_text(f"foreground = yes\nsyslog = no\n{text}")
    return path


@pytest.mark.parametrize("case", [*BROKEN, *ACCEPTED], ids=lambda case: case.name)
def test_stunnel_says_what_the_corpus_says(stunnel: str, case: Case, pki: Pki, tmp_path: Path) -> None:
    assert _accepts(stunnel, _prepared(case, pki, tmp_path)) == case.accepted_by_the_original


def test_every_difference_has_a_reason() -> None:
    differing = [case for case in BROKEN if case.accepted_by_the_original]
    differing += [case for case in ACCEPTED if not case.accepted_by_the_original]
    assert [case.name for case in differing if ": " not in case.original] == []
