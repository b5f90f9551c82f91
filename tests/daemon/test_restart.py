"""Options that only a start obeys: a reload says so once, and goes on as it was started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from culvert.config import load_text
from culvert.daemon.restart import FIXED, say_what_waits
from tests.daemon.scene import ask_once, configuration, culvert, echoing, reload, rewrite
from tests.pki import Pki

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
