"""Owner, group and mode of a Unix socket that is listened on."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from culvert.config import load_text
from culvert.config.model import Service
from culvert.errors import ConfigErrors
from culvert.net.listeners import Pool

NOBODY = 65534
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def service(accept: Path | str, lines: str) -> Service:
    text = f"[web]\nclient = yes\naccept = {accept}\nconnect = 1\n{lines}"
    return load_text(text).services[0]


@pytest.mark.parametrize(
    ("lines", "uid", "gid", "mode"),
    [
        ("acceptMode = 600\n", os.geteuid(), os.getegid(), 0o600),
        ("acceptMode = 0666\n", os.geteuid(), os.getegid(), 0o666),
        pytest.param("setuid = nobody\n", NOBODY, 0, None, marks=ROOT),
        pytest.param("setgid = nogroup\nacceptMode = 660\n", 0, NOBODY, 0o660, marks=ROOT),
        pytest.param("setuid = 7\nacceptOwner = nobody:nogroup\n", NOBODY, NOBODY, None, marks=ROOT),
        pytest.param("acceptOwner = :7\n", 0, 7, None, marks=ROOT),
        pytest.param("acceptOwner = 7\n", 7, 0, None, marks=ROOT),
    ],
)
def test_the_path_is_whose_and_what_the_file_says(
    tmp_path: Path, lines: str, uid: int, gid: int, mode: int | None
) -> None:
    pool = Pool()
    try:
        pool.open(service(tmp_path / "door", lines), 1)
        facts = os.stat(tmp_path / "door")
        assert (facts.st_uid, facts.st_gid) == (uid, gid)
        assert mode is None or stat.S_IMODE(facts.st_mode) == mode
    finally:
        pool.close()


def test_a_reload_changes_the_mode_of_a_socket_that_stays(tmp_path: Path) -> None:
    pool = Pool()
    try:
        pool.open(service(tmp_path / "door", "acceptMode = 600\n"), 1)
        pool.settle()
        pool.open(service(tmp_path / "door", "acceptMode = 660\n"), 1)
        pool.settle()
        assert stat.S_IMODE(os.stat(tmp_path / "door").st_mode) == 0o660
    finally:
        pool.close()


def test_an_abstract_name_is_listened_on_and_leaves_nothing() -> None:
    name = f"culvert-{os.getpid()}"
    pool = Pool()
    try:
        pool.open(service(f"@{name}", ""), 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"\0{name}")
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("accept", "line", "reason"),
    [
        ("127.0.0.1:1", "acceptMode = 600", "acceptMode: there is no Unix socket with a path"),
        ("@name", "acceptOwner = root", "acceptOwner: there is no Unix socket with a path"),
        ("/run/x", "acceptMode = 1777", "acceptMode: Illegal mode"),
        ("/run/x", "acceptMode = 68", "acceptMode: Illegal mode"),
        ("/run/x", "acceptOwner = root:", "acceptOwner: a group is needed behind the colon"),
        ("/run/x", "acceptOwner = nobody-here", 'acceptOwner: there is no user "nobody-here" here'),
        ("@", "", "accept: a name is needed behind the @"),
    ],
)
def test_what_cannot_be_is_refused(accept: str, line: str, reason: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        service(accept, f"{line}\n")
    assert reason in str(refused.value)


def test_an_owner_of_nothing_is_warned_of() -> None:
    text = "[web]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 1\nsetuid = nobody\n"
    warnings = load_text(text).warnings
    assert any("setuid has no effect in [web]" in str(each) for each in warnings)
