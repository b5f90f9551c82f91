"""`culvert check`: what it prints and how it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from culvert.cli import check
from tests.pki import Pki


def _file(folder: Path, text: str) -> str:
    path = folder / "culvert.conf"
    path.write_text(text)
    return str(path)


def _server(pki: Pki) -> str:
    return f"[web]\naccept = 127.0.0.1:443\nconnect = 127.0.0.1:80\ncert = {pki.server.both}\n"


CLIENT = "[out]\nclient = yes\naccept = 127.0.0.1:25\nconnect = 127.0.0.1:465\n"


def test_a_sound_file_ends_with_0(pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(tmp_path, _server(pki))
    assert check.run([path]) == 0
    assert capsys.readouterr().out == f"{path}: fine, 1 service\n"


def test_warnings_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(tmp_path, CLIENT)
    assert check.run([path]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:1: warning: Service [out] needs authentication to prevent MITM attacks",
        f"{path}: 1 warning",
    ]


def test_errors_end_with_2_and_warnings_are_told_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _file(tmp_path, f"colour = green\n{CLIENT}cypher = HIGH\n")
    assert check.run([path]) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:1: error: colour: there is no option of this name",
        f'{path}:6: error: cypher: there is no option of this name (did you mean "ciphers"?)',
        f"{path}:2: warning: Service [out] needs authentication to prevent MITM attacks",
        f"{path}: 2 errors, 1 warning",
    ]


def test_a_certificate_that_cannot_be_used_is_an_error_at_its_line(
    pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _file(tmp_path, _server(pki) + f"key = {pki.client.key}\n")
    assert check.run([path]) == 2
    assert f"{path}:5: error: key:" in capsys.readouterr().out


def test_a_certificate_that_is_not_there_is_an_error_at_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _file(tmp_path, f"cert = {tmp_path}/none.pem\n[web]\naccept = 443\nconnect = 80\n")
    assert check.run([path]) == 2
    assert f"{path}:1: error: cert:" in capsys.readouterr().out


def test_what_openssl_refuses_is_an_error_at_its_line(
    pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _file(tmp_path, _server(pki) + "ciphers = NO-SUCH-CIPHER\ncurves = no-such-group\n")
    assert check.run([path]) == 2
    told = capsys.readouterr().out
    assert f"{path}:5: error: ciphers:" in told
    assert f"{path}:6: error: curves:" in told


def test_a_fault_of_a_default_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sections = "".join(f"[s{n}]\naccept = 127.0.0.1:{n}\nconnect = 80\n" for n in (1, 2, 3))
    assert check.run([_file(tmp_path, f"cert = {tmp_path}/none.pem\n{sections}")]) == 2
    assert capsys.readouterr().out.count("error: cert:") == 1


def test_a_descriptor(pki: Pki, capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, _server(pki).encode())
    os.close(writing)
    assert check.run(["-fd", str(reading)]) == 0
    assert capsys.readouterr().out == f"descriptor {reading}: fine, 1 service\n"


def test_json_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(tmp_path, f"{CLIENT}colour = green\n")
    assert check.run(["--json", path]) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["file"], document["status"]) == (path, 2)
    assert [(each["severity"], each["line"], each["option"]) for each in document["findings"]] == [
        ("error", 5, "colour"),
        ("warning", 1, ""),
    ]


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b"], ["-fd"], ["-fd", "x"], ["-fd", "-1"], ["--strict", "a"], ["-fd", "1", "2"]]
)
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert check.run(arguments) == 2
    assert capsys.readouterr().err


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.run(["--help"]) == 0
    assert "culvert check" in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.run(["/nowhere/at/all"]) == 2
    assert "Cannot open configuration file" in capsys.readouterr().out
