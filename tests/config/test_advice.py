"""Warnings that depend on the files around a configuration; the others are in the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.config import load_text
from culvert.errors import ConfigErrors
from tests.pki import Pki


def _warnings(lines: str) -> list[str]:
    text = f"[web]\naccept = 127.0.0.1:443\nconnect = 127.0.0.1:80\n{lines}"
    return [str(each) for each in load_text(text, "conf").warnings]


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


HALF = "[web]\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("client = yes\npin = abc\n", "pin = abc"),
        ("client = yes\nverifyChian = yes\n", "verifyChian = yes"),
        ("client = yes\nverifyChain = maybe\nCRLfile = none.pem\n", "verifyChain = maybe"),
        ("cert = web.pem\nsslVersionMin = soon\nsslVersion = all\n", "sslVersionMin = soon"),
        ("cert = web.pem\nclient = perhaps\nprotocolHost = far:1\n", "client = perhaps"),
    ],
)
def test_nothing_is_advised_of_what_could_not_be_read(lines: str, line: str) -> None:
    """The error tells it; what was meant may well be what the advice asks for."""
    with pytest.raises(ConfigErrors) as refused:
        load_text(HALF + lines, "conf")
    place = (HALF + lines).splitlines().index(line) + 1
    assert [each.at.line for each in refused.value.errors if each.at] == [place]
    assert [each.option for each in refused.value.warnings] == []


def test_control_characters_of_a_name_do_not_reach_the_log() -> None:
    text = "[a\x1bb]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"
    assert r"[a\x1bb]" in load_text(text).warnings[0].reason
