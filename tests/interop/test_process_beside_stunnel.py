"""The daemon as a process: the same text, run by stunnel and by Culvert, is seen alike by shell and system.

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
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, ask, ask_once, connect, echoing, gone
from tests.interop.beside import PATIENCE, both, logged, until
from tests.pki import Pki
from tests.proxies import Kind, Proxy, need, running
from tests.proxies.procfs import is_listening, tree
from tests.proxies.running import SOURCES, reserved_port

pytestmark = [pytest.mark.integration, pytest.mark.interop]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")

# The last line of a start and of a reload; Culvert opens no socket anew and says of both that it accepts.
TAKEN_OVER = {Kind.STUNNEL: r"Service \[web\] .* bound to", Kind.CULVERT: "Accepting new connections"}

DIFFERENT: dict[str, dict[Kind, object]] = {
    # What cannot be had after the start is told to whoever called: stunnel is in the background by then.
    "a pid file that cannot be made": {Kind.STUNNEL: 0, Kind.CULVERT: 1},
    # The manual has the group change and says nothing of others; stunnel without `setgid` keeps root's.
    "groups with setuid alone": {Kind.STUNNEL: "kept", Kind.CULVERT: ""},
    # A pid file that the running daemon did not write is not its own to remove.
    "at the end, of a changed pid": {Kind.STUNNEL: "second", Kind.CULVERT: "first"},
    # Whoever restarts the daemon need not break what its clients are in the middle of.
    "a tunnel at work, after TERM": {Kind.STUNNEL: "is cut", Kind.CULVERT: "finishes"},
    # The first daemon could not be found by its file any more.
    "a second daemon with the pid file of the first": {Kind.STUNNEL: 0, Kind.CULVERT: 1},
    # A reload that fails changes nothing.
    "the old port, when the new one is in use": {Kind.STUNNEL: False, Kind.CULVERT: True},
}


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


def text(pki: Pki, backend: int, top: str, accept: str = "127.0.0.1:@PORT@") -> str:
    section = f"accept = {accept}\nconnect = 127.0.0.1:{backend}\ncert = {pki.server.both}"
    return f"syslog = no\n{top}\n[web]\n{section}\n"


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(SOURCES), **os.environ}


# In the foreground


@both
@pytest.mark.parametrize(
    ("foreground", "number", "last"),
    [
        ("yes", signal.SIGTERM, r"LOG5\[ui\]: Terminated"),
        ("quiet", signal.SIGINT, r"LOG3\[ui\]: Received SIGINT; terminating"),
        ("yes", signal.SIGQUIT, r"LOG3\[ui\]: Received SIGQUIT; terminating"),
    ],
)
def test_in_the_foreground_a_signal_ends_it_with_0(
    kind: Kind, foreground: str, number: signal.Signals, last: str, pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    need(kind)
    top = f"foreground = {foreground}\npid = {tmp_path}/pid\noutput = {tmp_path}/log\ndebug = debug"
    with running(kind, text(pki, echo.port, top), tmp_path) as proxy:
        ask_once(pki, proxy.address)
        until((tmp_path / "pid").exists, "no pid file")
        assert (tmp_path / "pid").read_text() == f"{proxy.process.pid}\n"
        proxy.process.send_signal(number)
        assert proxy.process.wait(PATIENCE) == 0
        assert not (tmp_path / "pid").exists()
        logged(tmp_path / "log", last)
        logged(tmp_path / "log", r"LOG7\[ui\]: Removed pid file ")
    said = proxy.output
    assert bool(re.search(r"^\S+ \S+ LOG5\[ui\]: Configuration successful$", said, re.MULTILINE)) is (
        foreground == "yes"
    ), said
    assert foreground == "yes" or said == ""


# In the background


@contextmanager
def background(
    kind: Kind, body: str, folder: Path, *, words: Sequence[str] = (), descriptor: int | None = None
) -> Iterator[tuple[subprocess.CompletedProcess[str], Path]]:
    """Call it, wait until it listens at the pid file's time, and end it by the number in the file."""
    need(kind)
    folder.mkdir(exist_ok=True)
    file = folder / "c.conf"
    file.write_text(body)
    command = kind.command(file)
    done = subprocess.run(
        [*command[:-1], *(words or command[-1:])],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        pass_fds=() if descriptor is None else (descriptor,),
        env=environment(),
    )
    pid_file = folder / "pid"
    try:
        yield done, pid_file
    finally:
        if pid_file.exists() and (number := pid_file.read_text().strip()):
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGTERM)
            assert gone(int(number))


@both
@pytest.mark.parametrize("how", ["FILE", "-fd N"])
def test_in_the_background(kind: Kind, how: str, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with reserved_port() as port:
        body = text(pki, echo.port, f"pid = {tmp_path}/pid\noutput = {tmp_path}/log", f"127.0.0.1:{port}")
        reader, writer = os.pipe()
        os.write(writer, body.encode())
        os.close(writer)
        words = () if how == "FILE" else ("-fd", str(reader))
        with background(kind, body, tmp_path, words=words, descriptor=reader) as (done, pid_file):
            os.close(reader)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "no pid file")
            until(lambda: is_listening(("127.0.0.1", port)), "it does not listen")
            ask_once(pki, ("127.0.0.1", port))
            pid = int(pid_file.read_text())
            assert os.getsid(pid) == pid
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
            assert pid_file.stat().st_mode & 0o777 == 0o644
            if how == "-fd N":  # what came from a descriptor cannot be read again
                os.kill(pid, signal.SIGHUP)
                logged(tmp_path / "log", r"LOG3\[main\]: Failed to reload the configuration file")
                ask_once(pki, ("127.0.0.1", port))
            os.kill(pid, signal.SIGTERM)
            assert gone(pid)
            assert not pid_file.exists()
            logged(tmp_path / "log", r"LOG5\[main\]: Terminated")


@both
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cret = x", r"\[!\] .*c\.conf:\d+: .*cret"),
        ("TIMEOUTidle = soon", r"\[!\] .*c\.conf:\d+: .*Illegal idle timeout"),
        ("cert = /nowhere/cert.pem", r"\[.\] .*/nowhere/cert\.pem"),
        (
            "accept = 127.0.0.1:@BUSY@",
            r"\[\.\] Binding service \[web\] to 127\.0\.0\.1:\d+: Address already in use",
        ),
    ],
)
def test_what_stops_the_start_is_told_and_the_status_is_1(
    kind: Kind, line: str, said: str, pki: Pki, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        line = line.replace("@BUSY@", str(busy.getsockname()[1]))
        body = text(pki, 1, f"pid = {tmp_path}/pid", "127.0.0.1:0").replace("accept = 127.0.0.1:0\n", "")
        body += line if "accept" in line else f"accept = @\n{line}".replace("@", f"{tmp_path}/socket")
        with background(kind, body + "\n", tmp_path) as (done, pid_file):
            assert (done.returncode, done.stdout) == (1, "")
            assert re.search(said, done.stderr), done.stderr
            assert not pid_file.exists()


@both
def test_a_pid_file_that_cannot_be_made_stops_it(kind: Kind, pki: Pki, tmp_path: Path) -> None:
    with reserved_port() as port:
        body = text(pki, 1, f"pid = /nowhere/pid\noutput = {tmp_path}/log", f"127.0.0.1:{port}")
        with background(kind, body, tmp_path) as (done, _):
            assert done.returncode == DIFFERENT["a pid file that cannot be made"][kind]
            logged(tmp_path / "log", r"LOG3.*Cannot create pid file /nowhere/pid")
            until(lambda: not is_listening(("127.0.0.1", port)), "it goes on")


# Logs and reload


@both
def test_log_files_are_appended_to_or_overwritten_and_reopened(
    kind: Kind, pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    need(kind)
    for log in ("append", "overwrite"):
        file = tmp_path / log
        file.write_text("before\n")
        top = f"foreground = quiet\npid =\noutput = {file}\nlog = {log}\ndebug = info"
        with running(kind, text(pki, echo.port, top), tmp_path / kind.value) as proxy:
            logged(file, "Accepting new connections")
            assert file.read_text().startswith("before\n") is (log == "append")
            file.rename(tmp_path / "rotated")
            ask_once(pki, proxy.address)
            logged(tmp_path / "rotated", "Connection closed: 5 byte.s. sent to TLS, 5 byte.s. sent to socket")
            proxy.process.send_signal(signal.SIGUSR1)
            logged(file, r"LOG5\[ui\]: Log file reopened")
            ask_once(pki, proxy.address)
            logged(file, "Connection closed: 5 byte")
            assert "before" not in file.read_text()
            proxy.process.send_signal(signal.SIGUSR2)
            logged(file, "Active connections:|Listed 0 active connection")


def rewrite(proxy: Proxy, body: str) -> None:
    (proxy.folder / f"{proxy.kind.value}.conf").write_text(body.replace("@PORT@", str(proxy.port)))


@both
def test_a_reload_takes_all_or_nothing(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    top = f"foreground = quiet\npid = {tmp_path}/first\noutput = {tmp_path}/log\ndebug = info"
    good = text(pki, echo.port, top)
    with running(kind, good, tmp_path) as proxy, echoing() as other:
        log = tmp_path / "log"
        ask_once(pki, proxy.address)
        logged(log, "Accepting new connections")
        for broken in ("cret = x", "cert = /nowhere/cert.pem", "CAfile = /nowhere/ca.pem\nverifyChain = yes"):
            rewrite(proxy, f"{good}{broken}\n")
            before = log.read_text().count("Failed to reload the configuration file")
            proxy.process.send_signal(signal.SIGHUP)
            logged(log, r"LOG3\[ui\]: Failed to reload the configuration file", before + 1)
            ask_once(pki, proxy.address)
        changed = text(pki, other.port, top.replace("/first", "/second").replace("= info", "= debug"))
        rewrite(proxy, changed)
        proxy.process.send_signal(signal.SIGHUP)
        logged(log, TAKEN_OVER[kind], 2)
        ask_once(pki, proxy.address)
        logged(log, rf"LOG6.*s_connect: connected 127\.0\.0\.1:{other.port}|LOG[56].*connected remote server")
        logged(log, "LOG7")
        assert (tmp_path / "first").exists()
        assert not (tmp_path / "second").exists()
        (tmp_path / "second").write_text("another's\n")
    removed = next(name for name in ("first", "second") if not (tmp_path / name).exists())
    assert removed == DIFFERENT["at the end, of a changed pid"][kind]


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
    early = text(pki, echo.port, top)
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
            kind, text(pki, echo.port, "foreground = quiet\npid =\nsetuid = nobody"), tmp_path
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
    body = text(pki, echo.port, top).replace("syslog = no", "syslog = yes")
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


# Sockets that somebody else has opened

AS_ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


@both
def test_a_socket_of_systemd_is_used_whatever_its_address_and_kept_at_a_reload(
    kind: Kind, pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    need(kind)
    top = f"foreground = quiet\npid =\noutput = {tmp_path}/log\ndebug = info"
    file = tmp_path / "c.conf"
    file.write_text(text(pki, echo.port, top, "127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as given:
        place, number = given.getsockname(), given.fileno()
        with subprocess.Popen(
            [sys.executable, "-c", AS_ACTIVATED, str(number), *kind.command(file)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(number,),
            env=environment(),
        ) as process:
            try:
                ask_once(pki, place)
                logged(tmp_path / "log", r"LOG6.*Systemd socket activation: 1 descriptors received")
                process.send_signal(signal.SIGHUP)
                logged(tmp_path / "log", "Configuration successful", 2)
                ask_once(pki, place)
            finally:
                process.terminate()
                assert process.wait(PATIENCE) == 0


@both
def test_the_size_of_a_stack_is_accepted(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    """Culvert has no threads to give it to, and says so."""
    need(kind)
    top = f"foreground = quiet\npid =\noutput = {tmp_path}/log\nstack = 131072"
    with running(kind, text(pki, echo.port, top), tmp_path) as proxy:
        ask_once(pki, proxy.address)
        if kind is Kind.CULVERT:
            logged(tmp_path / "log", "stack: it has no effect: connections are not threads")


# Where the two differ in what becomes of others


@both
def test_a_tunnel_at_work_when_the_end_is_asked_for(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    top = f"foreground = quiet\npid =\noutput = {tmp_path}/log"
    with (
        running(kind, text(pki, echo.port, top), tmp_path) as proxy,
        connect(pki, proxy.address) as tunnel,
    ):
        ask(tunnel)
        proxy.process.send_signal(signal.SIGTERM)
        logged(tmp_path / "log", r"LOG5\[ui\]: Terminated")
        until(lambda: not is_listening(proxy.address), "it listens still")
        try:
            for _ in range(1000):
                ask(tunnel)
            seen = "finishes"
        except (OSError, AssertionError):
            seen = "is cut"
    assert seen == DIFFERENT["a tunnel at work, after TERM"][kind]


@both
def test_a_second_daemon_with_the_same_pid_file(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    first = text(pki, echo.port, f"foreground = quiet\npid = {tmp_path}/pid")
    with running(kind, first, tmp_path / "first") as proxy, reserved_port() as port:
        until((tmp_path / "pid").exists, "no pid file")
        body = text(pki, echo.port, f"pid = {tmp_path}/pid", f"127.0.0.1:{port}")
        try:
            with background(kind, body, tmp_path / "second") as (done, _):
                ask_once(pki, proxy.address)
        finally:
            if done.returncode == 0:
                until(
                    lambda: _number(tmp_path / "pid") not in (0, proxy.process.pid), "no pid file of its own"
                )
                second = _number(tmp_path / "pid")
                os.kill(second, signal.SIGTERM)
                assert gone(second)
        assert done.returncode == DIFFERENT["a second daemon with the pid file of the first"][kind]


def _number(pid_file: Path) -> int:
    """What stands in it; 0 while it is being replaced."""
    text = pid_file.read_text() if pid_file.exists() else ""
    return int(text) if text.endswith("\n") else 0


@both
def test_a_reload_to_a_port_that_is_in_use(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    top = f"foreground = quiet\npid =\noutput = {tmp_path}/log"
    with (
        socket.create_server(("127.0.0.1", 0)) as busy,
        running(kind, text(pki, echo.port, top), tmp_path) as proxy,
    ):
        ask_once(pki, proxy.address)
        rewrite(proxy, text(pki, echo.port, top, f"127.0.0.1:{busy.getsockname()[1]}"))
        proxy.process.send_signal(signal.SIGHUP)
        logged(tmp_path / "log", r"Binding service \[web\] to 127\.0\.0\.1:\d+: Address already in use")
        logged(tmp_path / "log", r"Binding service \[web\] failed")
        serves = is_listening(proxy.address)
        assert serves is DIFFERENT["the old port, when the new one is in use"][kind]
        if serves:
            ask_once(pki, proxy.address)
