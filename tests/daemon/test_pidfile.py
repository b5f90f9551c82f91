"""The pid file."""

from __future__ import annotations

import os
import subprocess
import sys
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
    file.close()


def test_an_old_one_is_replaced_and_a_link_is_not_followed(tmp_path: Path) -> None:
    path, victim = tmp_path / "pid", tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    PidFile(str(path)).close()
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_one_that_has_become_anothers_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = PidFile(str(path))
    path.write_text("1\n")
    assert not file.remove()
    assert path.exists()
    file.close()


def test_one_that_a_running_daemon_holds_stays_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    hold = (
        "import sys; from culvert.daemon.pidfile import PidFile;"
        "PidFile(sys.argv[1]); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(SystemRefusal, match=f"the daemon with process number {holder.pid} runs"):
            PidFile(str(path))
        assert path.read_text() == f"{holder.pid}\n"
        holder.stdin.close()
    PidFile(str(path)).close()  # its holder is gone without removing it


def test_one_with_the_number_of_a_process_that_is_no_daemon_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")
    file = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    file.close()


def test_one_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemRefusal, match=r"Cannot create pid file .*: create: No such file"):
        PidFile(str(tmp_path / "absent" / "pid"))
