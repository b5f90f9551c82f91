"""Logs and reloads: the same text, run by stunnel and by Culvert.

What differs on purpose stands in DIFFERENT, with the reason; docs/migration.md tells it to operators.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, ask, ask_once, connect, echoing
from tests.interop.beside import both, echo, logged, rewrite, until, web
from tests.pki import Pki
from tests.proxies import Kind, Proxy, need, running
from tests.proxies.procfs import is_listening

__all__ = ["echo"]

pytestmark = [pytest.mark.integration, pytest.mark.interop]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")

# The last line of a start and of a reload; Culvert opens no socket anew and says of both that it accepts.
TAKEN_OVER = {Kind.STUNNEL: r"Service \[web\] .* bound to", Kind.CULVERT: "Accepting new connections"}

DIFFERENT: dict[str, dict[Kind, object]] = {
    # A pid file that the running daemon did not write is not its own to remove.
    "at the end, of a changed pid": {Kind.STUNNEL: "second", Kind.CULVERT: "first"},
    # A reload that fails changes nothing.
    "the old port, when the new one is in use": {Kind.STUNNEL: False, Kind.CULVERT: True},
}


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
        with running(kind, web(pki, echo.port, top), tmp_path / kind.value) as proxy:
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
            with connect(pki, proxy.address) as tunnel:
                ask(tunnel)
                list_connections(proxy, file)


def list_connections(proxy: Proxy, log: Path) -> None:
    """Ask for it until the octets of the one tunnel are counted: stunnel does so after it has sent them."""
    octets = r"5 byte\(s\) sent to TLS, 5 byte\(s\) sent to socket"
    for turn in range(1, 100):
        proxy.process.send_signal(signal.SIGUSR2)
        logged(log, r"LOG0.*Listed \d+ active connection\(s\)", turn)
        if re.search(rf"LOG0.*Active connection \d+: Service \[web\], {octets}\n", log.read_text()):
            return
    raise AssertionError(log.read_text())


@both
def test_a_reload_takes_all_or_nothing(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    top = f"foreground = quiet\npid = {tmp_path}/first\noutput = {tmp_path}/log\ndebug = info"
    good = web(pki, echo.port, top)
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
        changed = web(pki, other.port, top.replace("/first", "/second").replace("= info", "= debug"))
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


@both
def test_a_reload_to_a_port_that_is_in_use(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    need(kind)
    top = f"foreground = quiet\npid =\noutput = {tmp_path}/log"
    with (
        socket.create_server(("127.0.0.1", 0)) as busy,
        running(kind, web(pki, echo.port, top), tmp_path) as proxy,
    ):
        ask_once(pki, proxy.address)
        rewrite(proxy, web(pki, echo.port, top, f"127.0.0.1:{busy.getsockname()[1]}"))
        proxy.process.send_signal(signal.SIGHUP)
        logged(tmp_path / "log", r"Binding service \[web\] to 127\.0\.0\.1:\d+: Address already in use")
        logged(tmp_path / "log", r"Binding service \[web\] failed")
        serves = is_listening(proxy.address)
        assert serves is DIFFERENT["the old port, when the new one is in use"][kind]
        if serves:
            ask_once(pki, proxy.address)


@as_root
@both
def test_what_a_reload_changes_of_the_daemon_itself(kind: Kind, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    """The log moves; user, group, root directory and foreground are those of the start."""
    need(kind)
    top = f"foreground = quiet\npid = {tmp_path}/pid\noutput = {tmp_path}/first\ndebug = debug\nlog = append"
    with running(kind, web(pki, echo.port, top), tmp_path) as proxy:
        ask_once(pki, proxy.address)
        (tmp_path / "second").write_text("an older line\n")
        changes = {"quiet": "no", "first": "second", "= debug": "= info", "append": "overwrite"}
        for old, new in changes.items():
            top = top.replace(old, new)
        top += f"\nchroot = {tmp_path}\nsetuid = nobody\nsetgid = nogroup"
        rewrite(proxy, web(pki, echo.port, top))
        proxy.process.send_signal(signal.SIGHUP)
        ask_until_logged(pki, proxy, tmp_path / "second")
        before = len((tmp_path / "second").read_text())
        ask_once(pki, proxy.address)
        until(lambda: "Connection closed" in (tmp_path / "second").read_text()[before:], "nothing is logged")
        assert "LOG7" not in (tmp_path / "second").read_text()[before:]
        pid = proxy.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        assert os.readlink(f"/proc/{pid}/root") == "/"
        assert re.search(r"^Uid:\t0\t", status, re.MULTILINE), status
        assert re.search(r"^Gid:\t0\t", status, re.MULTILINE), status
        assert proxy.process.poll() is None
        assert (tmp_path / "pid").read_text() == f"{proxy.process.pid}\n"
    said = (tmp_path / "second").read_text()
    assert "an older line" not in said
    told = (tmp_path / "first").read_text() + said
    assert ("setuid: nobody needs a restart" in told) is (kind is Kind.CULVERT)


def ask_until_logged(pki: Pki, proxy: Proxy, log: Path) -> None:
    """Connect until the log tells of it: stunnel says nothing at the end of a reload."""

    def asked() -> bool:
        with suppress(OSError):  # stunnel does not listen for a moment
            ask_once(pki, proxy.address)
        return "Connection closed" in log.read_text()

    until(asked, f"{log} has no connection")
