"""The pid file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from culvert.daemon.pidfile import PidFile
from culvert.errors import SystemRefusal


def test_it_has_the_number_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert file.remove()
    assert not path.exists()


def test_an_old_one_is_replaced_and_a_link_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "pid", tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    PidFile(str(path))
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_one_that_has_become_anothers_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = PidFile(str(path))
    path.write_text("1\n")
    assert not file.remove()
    assert path.exists()


def test_one_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemRefusal, match=r"Cannot create pid file .*: create: No such file"):
        PidFile(str(tmp_path / "absent" / "pid"))
