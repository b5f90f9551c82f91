"""Files that nobody but their owner should read: warned of, or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from culvert.config import load_file, load_text
from culvert.config.checks import check_services
from culvert.config.model import Service
from culvert.config.values import Address
from culvert.errors import ConfigErrors
from tests.pki import Pki


def _warnings(lines: str) -> list[str]:
    text = f"[web]\naccept = 127.0.0.1:443\nconnect = 127.0.0.1:80\n{lines}"
    return [str(each) for each in load_text(text, "conf").warnings]


@pytest.mark.parametrize(
    ("mode", "tail"),
    [
        (0o600, None),
        (0o400, None),
        (0o604, ""),
        (0o640, ": its group can use the private key"),
        (0o620, ": its group can use the private key"),
        (0o666, ""),
    ],
)
@pytest.mark.parametrize("option", ["key", "cert"])
def test_a_private_key_that_others_can_use(
    pki: Pki, tmp_path: Path, option: str, mode: int, tail: str | None
) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(pki.server.both.read_bytes())
    path.chmod(mode)
    told = _warnings(f"cert = {path if option == 'cert' else pki.server.cert}\n{option} = {path}\n")
    line = 5
    expected = [] if tail is None else [f"conf:{line}: {option}: Insecure file permissions on {path}{tail}"]
    assert [each for each in told if "permissions" in each] == expected


def test_a_certificate_without_a_key_may_be_read_by_all(pki: Pki) -> None:
    os.chmod(pki.server.cert, 0o644)
    assert _warnings(f"cert = {pki.server.cert}\nkey = {pki.server.key}\n") == []


@pytest.mark.parametrize("path", ["pkcs11:token=x", "/nowhere/at/all", "/"])
def test_a_key_that_is_no_file_is_for_others_to_judge(path: str) -> None:
    assert _warnings(f"cert = web.pem\nkey = {path}\n") == []


def test_keys_in_every_format_are_recognised(pki: Pki, tmp_path: Path) -> None:
    key, certificate = pki.server.private_key, pki.server.certificate
    files = {
        "key.der": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "old.der": key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "both.p12": pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, NoEncryption()),
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o644)
        assert _warnings(f"cert = {path}\n") == [f"conf:4: cert: Insecure file permissions on {path}"], name
        assert _warnings(f"cert = file:{path}\n")
    (tmp_path / "cert.der").write_bytes(certificate.public_bytes(Encoding.DER))
    assert _warnings(f"cert = {tmp_path}/cert.der\n") == []


def _secrets(folder: Path, mode: int) -> Path:
    path = folder / "psk.txt"
    path.write_text("alice:0123456789abcdef0123456789abcdef\n")
    path.chmod(mode)
    return path


def test_a_file_of_shared_keys_is_a_secret_too(tmp_path: Path) -> None:
    path = _secrets(tmp_path, 0o644)
    assert _warnings(f"PSKsecrets = {path}\n") == [f"conf:4: PSKsecrets: Insecure file permissions on {path}"]
    path.chmod(0o640)
    assert _warnings(f"PSKsecrets = {path}\n")[0].endswith("its group can use the keys")
    path.chmod(0o600)
    assert _warnings(f"PSKsecrets = {path}\n") == []


SECRET = "00112233445566778899aabbccddeeff"


@pytest.mark.parametrize(
    ("lines", "secret"),
    [
        (f"ticketKeySecret = {SECRET}\nticketMacSecret = {SECRET}\n", True),
        ("sessiond = redis://:word@127.0.0.1\n", True),
        ("sessiond = redis://127.0.0.1\n", False),
        ("sessiond = 127.0.0.1:1\n", False),
    ],
)
def test_a_configuration_with_a_secret_in_it_is_one_too(tmp_path: Path, lines: str, secret: bool) -> None:
    path = tmp_path / "culvert.conf"
    path.write_text(f"cert = web.pem\n[web]\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n{lines}")
    for mode in (0o644, 0o640, 0o600):
        path.chmod(mode)
        told = [each.reason for each in load_file(path).warnings]
        assert any("Insecure file permissions on" in each for each in told) is (secret and mode != 0o600)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620])
def test_a_strict_service_refuses_them(pki: Pki, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(pki.server.both.read_bytes())
    path.chmod(mode)
    lines = f"cert = {path}\nPSKsecrets = {_secrets(tmp_path, mode)}\n"
    with pytest.raises(ConfigErrors) as refused:
        _warnings(lines + "strict = yes\n")
    assert [each.option for each in refused.value.errors] == ["cert", "PSKsecrets"]
    assert all("only its owner may have any" in each.reason for each in refused.value.errors)
    assert len(_warnings(lines + "strict = no\n")) == 2


def test_a_default_of_strict_holds_for_every_section_that_does_not_say_otherwise(
    pki: Pki, tmp_path: Path
) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(pki.server.both.read_bytes())
    path.chmod(0o640)
    text = f"strict = yes\ncert = {path}\n[a]\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"
    with pytest.raises(ConfigErrors):
        load_text(text)
    assert load_text(f"{text}strict = no\n").warnings


def test_a_program_can_be_strict_too(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    path.write_bytes(pki.server.both.read_bytes())
    path.chmod(0o644)
    near, far = (Address(host="127.0.0.1", port=port) for port in ("1", "2"))
    service = Service(name="s", accept=(near,), connect=(far,), cert=(str(path),), strict=True)
    (error,) = check_services([service])
    assert error.option == "cert"
