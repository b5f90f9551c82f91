"""Rights and syslog: the same text, run by stunnel and by Culvert.

What differs on purpose stands in DIFFERENT, with the reason; docs/migration.md tells it to operators.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, ask_once
from tests.interop.beside import PATIENCE, both, echo, logged, rewrite, web
from tests.pki import Pki
from tests.proxies import Kind, need, running
from tests.proxies.procfs import tree

__all__ = ["echo"]

pytestmark = [pytest.mark.integration, pytest.mark.interop]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")

# The last line of a start and of a reload; Culvert opens no socket anew and says of both that it accepts.
TAKEN_OVER = {Kind.STUNNEL: r"Service \[web\] .* bound to", Kind.CULVERT: "Accepting new connections"}

DIFFERENT: dict[str, dict[Kind, object]] = {
    # The manual has the group change and says nothing of others; stunnel without `setgid` keeps root's.
    "groups with setuid alone": {Kind.STUNNEL: "kept", Kind.CULVERT: ""},
}


# Rights


@as_root
@both
def test_in_a_jail_as_nobody_it_reloads_and_resolves(
    kind: Kind, pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    need(kind)
    nobody, nogroup = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid
    jail = tmp_path / "jail"
    (jail / "etc").mkdir(parents=True)
    (jail / "etc" / "hosts").write_text("127.0.0.1 far.test\n")
    for name in ("passwd", "group"):  # stunnel looks the names up again
        shutil.copy(f"/etc/{name}", jail / "etc")
    os.chown(jail, nobody, nogroup)
    rights = f"chroot = {jail}\nsetuid = nobody\nsetgid = nogroup"
    top = f"foreground = quiet\n{rights}\npid = /pid\noutput = /log\ndebug = info"
    early = web(pki, echo.port, top)
    with running(kind, early, tmp_path) as proxy:
        log = jail / "log"
        logged(log, "Accepting new connections")
        for pid in tree(proxy.process.pid):
            status = Path(f"/proc/{pid}/status").read_text()
            assert os.readlink(f"/proc/{pid}/root") == str(jail)
            assert re.search(rf"^Uid:{f'	{nobody}' * 4}$", status, re.MULTILINE), status
            assert re.search(rf"^Gid:{f'	{nogroup}' * 4}$", status, re.MULTILINE), status
            assert re.search(rf"^Groups:\s*{nogroup}\s*$", status, re.MULTILINE), status
        assert (jail / "pid").read_text() == f"{proxy.process.pid}\n"
        assert (jail / "pid").stat().st_uid == nobody
        ask_once(pki, proxy.address)
        late = early.replace(
            f"connect = 127.0.0.1:{echo.port}", f"delay = yes\nconnect = far.test:{echo.port}"
        )
        rewrite(proxy, late)
        for file in (proxy.folder / f"{kind.value}.conf", pki.server.both):
            copy = Path(f"{jail}{file}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
            os.chown(copy, nobody, nogroup)
        proxy.process.send_signal(signal.SIGHUP)
        logged(log, TAKEN_OVER[kind], 2)
        ask_once(pki, proxy.address)
        logged(log, rf"LOG5.*Switched to chroot directory: {jail}")
    assert not (jail / "pid").exists()


@as_root
@both
def test_the_groups_that_setuid_leaves(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    before = os.getgroups()
    os.setgroups([7, 9])
    try:
        with running(
            kind, web(pki, echo.port, "foreground = quiet\npid =\nsetuid = nobody"), tmp_path
        ) as proxy:
            status = Path(f"/proc/{tree(proxy.process.pid)[-1]}/status").read_text()
    finally:
        os.setgroups(before)
    found = re.search(r"^Groups:[ \t]*(.*?)[ \t]*$", status, re.MULTILINE)
    assert found is not None
    assert ("kept" if found[1] == "7 9" else found[1]) == DIFFERENT["groups with setuid alone"][kind]


# syslog

IN_A_NAMESPACE = """
set -e
mount --rbind /dev "$1/devices"
mount -t tmpfs none /dev
for name in null zero urandom random tty; do
    touch /dev/$name
    [ ! -e "$1/devices/$name" ] || mount --bind "$1/devices/$name" /dev/$name
done
ln -s "$1/socket" /dev/log
shift
exec "$@"
"""


@as_root
@both
def test_syslog_has_level_facility_and_name(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    """A mount namespace has a /dev/log of its own."""
    need(kind)
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    (tmp_path / "devices").mkdir()
    top = "foreground = quiet\npid =\nservice = named\ndebug = local3.info"
    body = web(pki, echo.port, top).replace("syslog = no", "syslog = yes")
    prefix = ("unshare", "-m", "sh", "-c", IN_A_NAMESPACE, "sh", str(tmp_path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        server.settimeout(PATIENCE)
        heard: list[str] = []

        def listen() -> None:
            """All the time: stunnel waits for a server that does not read."""
            with suppress(TimeoutError):
                while "Connection closed" not in "".join(heard[-1:]):
                    heard.append(server.recv(4096).decode())

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            with running(kind, body, tmp_path, prefix=prefix) as proxy:
                ask_once(pki, proxy.address)
                listener.join()
        finally:
            listener.join()
    local3, info = 19, 6
    priority, stamp = rf"<{local3 * 8 + info - 1}>", r"\w{3} [ \d]\d [\d:]{8}"
    assert re.match(rf"{priority}{stamp} named(\[\d+\])?: LOG5\[0\]: Connection closed: 5 byte", heard[-1]), (
        heard
    )
