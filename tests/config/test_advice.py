"""Warnings that depend on the files around a configuration; the others are in the corpus."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from culvert.config import load_text
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


def test_one_file_of_many_sections_is_told_once_for_its_line(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(pki.server.both.read_bytes())
    path.chmod(0o644)
    text = f"cert = {path}\n" + "".join(
        f"[s{n}]\naccept = 127.0.0.1:{n}\nconnect = 80\n" for n in range(1, 5)
    )
    assert len(load_text(text).warnings) == 1


def test_what_has_no_effect_is_told_in_the_log() -> None:
    text = "cert = web.pem\nstack = 65536\n[web]\naccept = 127.0.0.1:443\nconnect = 80\n"
    told = [message for message in load_text(text, "conf").messages if "stack" in message.text]
    assert [(message.level, message.text) for message in told] == [
        (5, "conf:2: stack: it has no effect: connections are not threads and have no stack")
    ]


def test_control_characters_of_a_name_do_not_reach_the_log() -> None:
    text = "[a\x1bb]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"
    assert r"[a\x1bb]" in load_text(text).warnings[0].reason
