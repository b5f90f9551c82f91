"""Options that only a start obeys: a reload says so once, and goes on as it was started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from culvert.config import load_text
from culvert.daemon.restart import FIXED, say_what_waits
from tests.daemon.scene import (
    ask_once,
    configuration,
    connect,
    culvert,
    echoing,
    reload,
    rewrite,
    workers,
)
from tests.interop.beside import until
from tests.pki import Pki
from tests.proxies.running import Proxy

SECTION = "[web]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"
CHANGES = {
    "foreground": ("yes", "no"),
    "pid": ("/run/a", "/run/b"),
    "chroot": ("/", "/usr"),
    "setuid": ("nobody", "daemon"),
    "setgid": ("nogroup", "daemon"),
}


def said(started: str, before: str, fresh: str) -> list[str]:
    lines: list[str] = []
    one, two, three = (load_text(text + SECTION, "conf").options for text in (started, before, fresh))
    say_what_waits(one, two, three, lambda level, text: lines.append(f"{level} {text}"))
    return lines


def test_the_options_of_a_start_are_known() -> None:
    assert {each.name for each in FIXED} == set(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_told_when_it_comes_and_not_again(name: str) -> None:
    old, new = (f"{name} = {value}\n" for value in CHANGES[name])
    was, wanted = CHANGES[name]
    assert said(old, old, new) == [f"5 conf:1: {name}: {wanted} needs a restart; {was} stays in force"]
    assert said(old, new, new) == said(old, new, old) == said(old, old, old) == []


def test_a_line_that_is_gone_is_told_too() -> None:
    assert said("pid = /run/a\n", "pid = /run/a\n", "") == [
        "5 pid: none needs a restart; /run/a stays in force"
    ]


def test_whether_the_foreground_is_quiet_can_change() -> None:
    assert said("foreground = yes\n", "foreground = yes\n", "foreground = quiet\n") == []


@pytest.mark.integration
def test_a_reload_keeps_the_pid_file_and_says_that_a_restart_is_needed(pki: Pki, tmp_path: Path) -> None:
    with echoing() as echo:
        text = configuration(pki, echo.port, more=f"pid = {tmp_path}/first")
        with culvert(text, tmp_path) as proxy:
            rewrite(proxy, text.replace("/first", "/second").replace("foreground = yes", "foreground = no"))
            for _ in range(2):
                reload(proxy)
            ask_once(pki, proxy.address)
            told = proxy.wait_line(
                r"LOG5\[ui\]: .*culvert.conf:\d+: pid: .*/second needs a restart; .*/first"
            )
            assert proxy.output.count(told) == proxy.output.count("foreground: no needs a restart") == 1
            assert (tmp_path / "first").read_text() == f"{proxy.process.pid}\n"
            assert not (tmp_path / "second").exists()
            proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(15) == 0
        assert not (tmp_path / "first").exists()


@pytest.mark.integration
def test_all_other_options_of_the_daemon_change_at_a_reload(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "seed").write_bytes(bytes(100))
    section = f"""\
[env]
accept = 127.0.0.1:@PORT@
cert = {pki.server.both}
exec = /bin/sh
execArgs = sh -c 'echo $COLOUR; exec cat'
"""
    first = f"""\
foreground = yes
syslog = no
debug = debug
workers = 1
output = {tmp_path}/first.log
readyFile = {tmp_path}/first.ready
setEnv = COLOUR=red
"""
    second = f"""\
foreground = quiet
syslog = no
debug = info
workers = 2
output = {tmp_path}/second.log
log = overwrite
readyFile = {tmp_path}/second.ready
setEnv = COLOUR=green
provider = legacy
fips = no
RNDfile = {tmp_path}/seed
RNDbytes = 17
RNDoverwrite = no
watch = yes
quarantine = yes
exitWhenIdle = 1
"""
    (tmp_path / "second.log").write_text("an older line\n")
    with culvert(first + section, tmp_path) as proxy:
        assert _colour(pki, proxy) == b"red\n"
        rewrite(proxy, second + section)
        proxy.process.send_signal(signal.SIGHUP)
        log = tmp_path / "second.log"
        until(lambda: "Accepting new connections" in log.read_text(), "no reload")
        assert not (tmp_path / "first.ready").exists()
        assert (tmp_path / "second.ready").exists()
        with connect(pki, proxy.address) as tunnel:
            assert tunnel.recv(100) == b"green\n"
            assert len(workers(proxy)) >= 2
        proxy.process.wait(15)  # for it is idle
        said = log.read_text()
    assert "an older line" not in said
    assert "No connection for 1 seconds: terminating" in said
    assert "LOG6" in said
    assert "LOG7" not in said
    assert "Terminat" not in proxy.output  # standard error is quiet
    assert f"Snagged 17 random bytes from {tmp_path}/seed" in proxy.output + said
    assert "needs a restart" not in proxy.output + said


def _colour(pki: Pki, proxy: Proxy) -> bytes:
    with connect(pki, proxy.address) as tunnel:
        return tunnel.recv(100)
