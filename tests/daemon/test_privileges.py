"""`chroot`, `setuid` and `setgid`: what the processes may do once the ports are open.  Needs root."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, ask_once, configuration, culvert, echoing, reload, rewrite
from tests.pki import Pki
from tests.proxies.procfs import tree
from tests.proxies.running import Proxy

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights"),
]

NOBODY = pwd.getpwnam("nobody").pw_uid
NOGROUP = grp.getgrnam("nogroup").gr_gid


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


@pytest.fixture
def jail(tmp_path: Path) -> Path:
    """A directory for `chroot` that `nobody` may write to, with a host table."""
    folder = tmp_path / "jail"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "hosts").write_text("127.0.0.1 far.test\n")
    os.chown(folder, NOBODY, NOGROUP)
    return folder


def identities(proxy: Proxy) -> set[tuple[str, str, str]]:
    """User, group and supplementary groups of every process of the daemon, as the kernel tells them."""
    found = set()
    for pid in tree(proxy.process.pid):
        lines = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        found.add((lines["Uid"].strip(), lines["Gid"].strip(), lines["Groups"].strip()))
    return found


def same(number: int) -> str:
    """Four times the same number: real, effective, saved, file system."""
    return "\t".join([str(number)] * 4)


def test_every_process_is_the_user_and_in_the_group_alone(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    text = configuration(pki, echo.port, more="setuid = nobody\nsetgid = nogroup")
    with culvert(text.replace("workers = 1", "workers = 2"), tmp_path) as proxy:
        assert len(tree(proxy.process.pid)) == 3
        assert identities(proxy) == {(same(NOBODY), same(NOGROUP), str(NOGROUP))}
        ask_once(pki, proxy.address)


def test_without_setgid_the_group_stays_and_the_other_groups_go(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with culvert(configuration(pki, echo.port, more="setuid = nobody"), tmp_path) as proxy:
        assert identities(proxy) == {(same(NOBODY), same(0), "")}


def place_inside(jail: Path, *files: Path) -> None:
    """Put copies of files where the daemon finds them under the same names once the root has changed."""
    for file in files:
        copy = Path(f"{jail}{file}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
        os.chown(copy, NOBODY, NOGROUP)


def test_in_a_new_root_it_reloads_resolves_and_writes_its_files_there(
    pki: Pki, echo: Echo, jail: Path, tmp_path: Path
) -> None:
    more = f"chroot = {jail}\nsetuid = nobody\nsetgid = nogroup\npid = /pid\noutput = /log"
    text = configuration(pki, echo.port, more=more)
    late = text.replace(f"connect = 127.0.0.1:{echo.port}", f"delay = yes\nconnect = far.test:{echo.port}")
    with culvert(text, tmp_path) as proxy:
        assert {os.readlink(f"/proc/{pid}/root") for pid in tree(proxy.process.pid)} == {str(jail)}
        ask_once(pki, proxy.address)
        rewrite(proxy, late)
        place_inside(jail, tmp_path / "culvert.conf", pki.server.both)
        reload(proxy)
        ask_once(pki, proxy.address)
        assert (jail / "pid").read_text() == f"{proxy.process.pid}\n"
        assert (jail / "pid").stat().st_uid == NOBODY
        proxy.wait_line(f"Switched to chroot directory: {jail}")
        proxy.process.send_signal(signal.SIGUSR1)
        proxy.wait_line("Log file reopened")
    assert not (jail / "pid").exists()
    log = (jail / "log").read_text()
    assert log.count("Accepting new connections") == 2
    assert "INTERNAL" not in log
    assert "Traceback" not in log


def test_a_reload_cannot_open_a_low_port_any_more_and_the_old_configuration_goes_on(
    pki: Pki, echo: Echo, jail: Path, tmp_path: Path
) -> None:
    text = configuration(pki, echo.port, more=f"chroot = {jail}\nsetuid = nobody")
    with culvert(text, tmp_path) as proxy:
        rewrite(proxy, text.replace("@PORT@", "7"))
        place_inside(jail, tmp_path / "culvert.conf", pki.server.both)
        reload(proxy, broken=True)
        proxy.wait_line("Binding service .web. to 127.0.0.1:7: Permission denied")
        ask_once(pki, proxy.address)


def test_a_root_that_is_no_directory_stops_the_start(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    text = configuration(pki, echo.port, more=f"chroot = {tmp_path}/absent")
    with (
        pytest.raises(AssertionError, match="absent: No such file or directory"),
        culvert(text, tmp_path / "daemon"),
    ):
        pass
