"""Every file of examples/ is a configuration that starts, once its certificates exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from culvert.config.load import load_file
from tests.pki import Pki
from tests.tokens import PIN, Token, token

__all__ = ["token"]

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.conf"))
FOLDER = "/etc/culvert/"


@pytest.fixture
def place(tmp_path: Path, pki: Pki) -> Path:
    """Return a folder with what the examples expect in FOLDER."""
    for name, identity in (("server", pki.server), ("client", pki.client)):
        (tmp_path / f"{name}.pem").write_bytes(identity.chain.read_bytes())
        (tmp_path / f"{name}.key").touch(mode=0o600)
        (tmp_path / f"{name}.key").write_bytes(identity.key.read_bytes())
    (tmp_path / "ca.pem").write_bytes(pki.root.ca.read_bytes())
    return tmp_path


def moved(example: Path, place: Path) -> Path:
    """Copy an example, with FOLDER named ``place``."""
    copy = place / example.name
    copy.write_text(example.read_text().replace(FOLDER, f"{place}/"))
    copy.chmod(0o600)
    return copy


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_without_a_warning(example: Path, place: Path) -> None:
    configuration = load_file(moved(example, place))
    assert configuration.services
    assert configuration.warnings == ()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_passes_the_check(
    example: Path, place: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = moved(example, place)
    if "pkcs11:" in file.read_text():
        token: Token = request.getfixturevalue("token")
        monkeypatch.setenv("SOFTHSM2_CONF", str(token.configuration))
        text = file.read_text().replace("/usr/lib/softhsm/libsofthsm2.so", token.module)
        file.write_text(text.replace(";engineCtrl = PIN:123456", f"engineCtrl = PIN:{PIN}"))
    command = [sys.executable, "-m", "culvert", "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_examples_are_there() -> None:
    assert len(EXAMPLES) >= 6
