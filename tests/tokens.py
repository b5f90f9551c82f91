"""A PKCS#11 token of SoftHSM for tests: with the keys and certificates of the test authority in it."""

from __future__ import annotations

import glob
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.pki import Identity, Pki
from tests.proxies import need_program
from tests.proxies.running import need_missing

PIN = "271828"
MODULES = "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so"
ENGINES = ("/usr/lib/*/engines-3/pkcs11.so",)


@dataclass(frozen=True)
class Token:
    """A token that is ready; ``SOFTHSM2_CONF`` has to name its configuration."""

    module: str
    configuration: Path

    def engine(self, pin: str | None = PIN) -> str:
        """The lines of the global part that open it."""
        lines = f"engine = pkcs11\nengineCtrl = MODULE_PATH:{self.module}\n"
        return lines + (f"engineCtrl = PIN:{pin}\n" if pin else "")


def uri(name: str, more: str = "") -> str:
    """Where the identity of this name is."""
    return f"pkcs11:token=culvert;object={name}{more}"


@pytest.fixture(scope="session")
def token(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    """One token for the run: ``server`` 01, ``server-rsa`` 02, ``client`` 03, and the root's certificate."""
    folder = tmp_path_factory.mktemp("softhsm")
    module = _file(MODULES, "libsofthsm2.so")
    _file(ENGINES, "the engine pkcs11")
    configuration = folder / "softhsm2.conf"
    (folder / "tokens").mkdir()
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        _run("softhsm2-util", "--init-token", "--free", "--label", "culvert", "--pin", PIN, "--so-pin", PIN)
        for number, identity in enumerate((pki.server, pki.server_rsa, pki.client), 1):
            _import_key(folder, identity, number)
            _import_certificate(module, identity.cert, identity.name, number)
        _import_certificate(module, pki.root.ca, "root", 9)
        yield Token(module, configuration)


def _file(patterns: tuple[str, ...], name: str) -> str:
    for pattern in patterns:
        for found in glob.glob(pattern):
            return found
    need_missing(name)
    raise AssertionError


def _run(name: str, *arguments: str) -> None:
    subprocess.run([need_program(name), *arguments], check=True, capture_output=True, timeout=30)


def _import_key(folder: Path, identity: Identity, number: int) -> None:
    text = identity.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "key.pem"
    file.write_bytes(text)
    where = ("--token", "culvert", "--pin", PIN, "--label", identity.name, "--id", f"{number:02}")
    _run("softhsm2-util", "--import", str(file), *where)
    file.unlink()


def _import_certificate(module: str, pem: Path, name: str, number: int) -> None:
    der = pem.with_suffix(".der")
    _run("openssl", "x509", "-in", str(pem), "-outform", "der", "-out", str(der))
    login = ("--module", module, "--token-label", "culvert", "--pin", PIN)
    what = ("--type", "cert", "--label", name, "--id", f"{number:02}")
    _run("pkcs11-tool", *login, "--write-object", str(der), *what)
