"""``culvert demo`` as its user meets it, and the two parts of it that can be wrong alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from culvert.cli import demo
from culvert.cli.demo_report import Passage, facts, table

SECONDS = 30
LOG = """\
2026.03.01 10:00:00 LOG5[0]: Service [demo-client] accepted connection from 127.0.0.1:50000
2026.03.01 10:00:00 LOG5[0]: Certificate accepted at depth=0: CN=localhost
2026.03.01 10:00:00 LOG6[0]: TLS connected: new session negotiated
2026.03.01 10:00:00 LOG6[0]: TLSv1.3 ciphersuite: TLS_AES_256_GCM_SHA384 (256-bit encryption)
2026.03.01 10:00:00 LOG6[0]: Peer temporary key: X25519, 253 bits
2026.03.01 10:00:00 LOG5[0]: Connection closed: 54 byte(s) sent to TLS, 148 byte(s) sent to socket
"""


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in a session of its own, with ``folder`` for temporary files."""
    command = [sys.executable, "-m", "culvert", "demo", *arguments]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def lines_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what the command prints up to the line that holds ``text``."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} is not in:\n{read}")


def assert_nothing_is_left(folder: Path) -> None:
    """No file in ``folder``, and no process that was started with one of its files."""
    assert list(folder.iterdir()) == []
    commands = {path.parent.name: command_line(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    assert [number for number, command in commands.items() if bytes(folder) in command] == []


def command_line(path: Path) -> bytes:
    """Return the words of a process, or nothing when it has just ended."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.integration
def test_once_ends_with_zero_after_a_verified_and_a_resumed_request(tmp_path: Path) -> None:
    with running(tmp_path, "--once") as process:
        report, complaint = process.communicate(timeout=SECONDS)
    assert (process.returncode, complaint) == (0, "")
    for fact in ("TLSv1.3", "CN=localhost", "new session negotiated", "previous session reused", "checkHost"):
        assert fact in report
    assert_nothing_is_left(tmp_path)


@pytest.mark.integration
def test_stays_up_and_serves_until_interrupted(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        report = lines_until(process, "Up until Ctrl-C")
        found = re.search(r"curl -o /dev/null (\S+)/bytes/", report)
        assert found is not None
        with urllib.request.urlopen(f"{found[1]}/bytes/1000000", timeout=SECONDS) as reply:
            assert reply.read() == bytes(1_000_000)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert_nothing_is_left(tmp_path)


@pytest.mark.integration
def test_a_request_that_is_refused_ends_with_one_and_the_tunnels_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = demo.CLIENT_FILE.replace("checkHost = {name}", "checkHost = another.example")
    monkeypatch.setattr(demo, "CLIENT_FILE", wrong)
    assert demo.run(["--once"]) == 1
    assert "CERT: Subject checks failed" in capfd.readouterr().err


@pytest.mark.integration
def test_a_tunnel_that_does_not_start_ends_with_one_and_its_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SERVER_FILE", demo.SERVER_FILE + "verifyPear = yes\n")
    assert demo.run(["--once"]) == 1
    assert "verifyPear" in capfd.readouterr().err


def test_unknown_words_are_refused_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(["--twice"]) == 1
    assert capsys.readouterr().err.startswith("culvert demo [--once]\n")


def test_facts_come_from_the_log_lines_of_stunnels_wording() -> None:
    assert facts(LOG.splitlines()) == {
        "protocol": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "group": "X25519",
        "session": "new session negotiated",
        "certificate": "CN=localhost",
        "bytes sent": "54",
        "bytes received": "148",
    }


def test_a_fact_that_was_not_logged_is_a_dash_in_the_table() -> None:
    lines = table([Passage({"protocol": "TLSv1.2"}, 1.0)]).splitlines()
    assert [line.split() for line in lines[1:4]] == [["protocol", "TLSv1.2"], ["cipher", "-"], ["group", "-"]]
