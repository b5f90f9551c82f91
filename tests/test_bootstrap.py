"""scripts/bootstrap, with stand-ins for the programs that would change the machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "bootstrap"
DPKG_QUERY = """#!/bin/sh
case " $MISSING " in *" $4 "*) exit 1 ;; esac
printf installed
"""
SUDO = """#!/bin/sh
echo "$*" >>"$CALLS"
[ -z "$FAILING" ] || { echo 'no such archive'; exit 100; }
"""
ID = """#!/bin/sh
echo 1000
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder of stand-ins; sudo only notes what it was asked to run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("dpkg-query", DPKG_QUERY), ("sudo", SUDO), ("id", ID)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def bootstrap(
    programs: Path, what: str, missing: str, **more: str
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run the script where ``missing`` is not installed; return how it ended and what ran as root."""
    calls = programs / "calls"
    environment = {
        "PATH": f"{programs}:{os.defpath}",
        "MISSING": missing,
        "CALLS": str(calls),
        "FAILING": "",
        **more,
    }
    done = subprocess.run(
        ["sh", str(SCRIPT), what], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return done, calls.read_text() if calls.exists() else ""


def test_a_machine_that_has_everything_is_left_alone(programs: Path) -> None:
    done, calls = bootstrap(programs, "peers", "")
    assert (done.returncode, done.stdout, done.stderr, calls) == (0, "", "", "")


def test_only_what_is_missing_is_installed_and_nobody_is_asked(programs: Path) -> None:
    done, calls = bootstrap(programs, "build", "libssl-dev haproxy")
    installs = [line for line in calls.splitlines() if " install " in line]
    assert done.returncode == 0
    assert len(installs) == 1
    assert installs[0].startswith("env DEBIAN_FRONTEND=noninteractive apt-get ")
    assert installs[0].endswith(" --no-install-recommends libssl-dev")


def test_peers_are_installed_when_they_are_asked_for(programs: Path) -> None:
    _, calls = bootstrap(programs, "peers", "haproxy")
    assert [line.rsplit(" ", 1)[1] for line in calls.splitlines() if " install " in line] == ["haproxy"]


def test_a_failure_shows_what_the_installer_said(programs: Path) -> None:
    done, _ = bootstrap(programs, "build", "gcc", FAILING="yes")
    assert done.returncode == 1
    assert "no such archive" in done.stderr
    assert "apt-get update failed" in done.stderr


def test_without_the_right_to_install_it_says_what_is_needed(programs: Path) -> None:
    (programs / "sudo").unlink()
    done, _ = bootstrap(programs, "build", "gcc", PATH=f"{programs}:{without_sudo(programs)}")
    assert done.returncode == 1
    assert done.stderr.endswith("please install: gcc\n")


def without_sudo(programs: Path) -> Path:
    """Return a folder with the few programs that the script needs, and no sudo."""
    folder = programs / "plain"
    folder.mkdir()
    for name in ("sh", "grep", "cat", "mktemp", "rm", "sed"):
        (folder / name).symlink_to(
            f"/usr/bin/{name}" if Path(f"/usr/bin/{name}").exists() else f"/bin/{name}"
        )
    return folder
