"""Sinks: the form of a line, and that nothing blocks or kills."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from culvert.errors import SystemRefusal
from culvert.observe import sinks
from culvert.observe.sinks import BACKLOG_LINES, Backlog, LogFile, Stderr, Syslog, line
from tests.observe.collecting import Kept, record


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(str(tmp_path / "log"))
    yield made
    made.close()


def content(file: LogFile) -> list[str]:
    return Path(file.path).read_text().splitlines()


def test_a_line_of_a_file_has_time_level_and_identifier() -> None:
    assert re.fullmatch(rb"20\d\d\.\d\d\.\d\d \d\d:\d\d:\d\d LOG5\[7\]: hello\n", line(record()))


def test_bytes_that_are_no_text_are_kept() -> None:
    assert line(record("\udcff")).endswith(b": \xff\n")


# Backlog


def test_lines_wait_and_are_filtered_by_the_final_level() -> None:
    backlog, kept = Backlog(), Kept()
    for level in (7, 6, 5, 3):
        backlog.handle(record(f"level {level}", level))
    backlog.replay([kept], 5)
    backlog.replay([kept], 7)
    assert kept.bodies == ["LOG5[7]: level 5", "LOG3[7]: level 3"]


def test_waiting_lines_keep_their_time(file: LogFile) -> None:
    backlog = Backlog()
    backlog.handle(record())
    backlog.replay([file], 7)
    assert content(file) == [line(record()).decode().rstrip()]


def test_the_backlog_has_a_bound() -> None:
    backlog, kept = Backlog(), Kept()
    for _ in range(BACKLOG_LINES + 5):
        backlog.handle(record())
    backlog.replay([kept], 7)
    assert len(kept.bodies) == BACKLOG_LINES


def test_a_failed_start_is_reported_with_signs() -> None:
    backlog = Backlog()
    for level, text in ((2, "crit"), (3, "err"), (4, "warn"), (5, "note"), (6, "info"), (7, "debug")):
        backlog.handle(record(text, level))
    assert backlog.failure_report() == "[*] crit\n[!] err\n[:] warn\n[.] note\n"


# File


def test_a_file_is_appended_to_and_not_for_everybody_to_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for _ in range(2):
        file = LogFile(str(path))
        file.handle(record())
        file.close()
    assert len(path.read_text().splitlines()) == 2
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemRefusal, match=r"Cannot open log file: .*No such file"):
        LogFile(str(tmp_path / "absent" / "log"))


def test_a_renamed_file_is_followed_until_it_is_reopened(file: LogFile) -> None:
    os.rename(file.path, file.path + ".1")
    file.handle(record("old"))
    file.reopen()
    file.handle(record("new"))
    assert "old" in Path(file.path + ".1").read_text()
    assert [text[-3:] for text in content(file)] == ["new"]


def test_a_file_that_cannot_be_reopened_goes_on(file: LogFile, tmp_path: Path) -> None:
    file.path = str(tmp_path / "absent" / "log")
    with pytest.raises(SystemRefusal):
        file.reopen()
    file.path = str(tmp_path / "log")
    file.handle(record())
    assert len(content(file)) == 1


def test_a_truncated_file_begins_anew(file: LogFile) -> None:
    file.handle(record("old"))
    file.truncate()
    file.handle(record("new"))
    assert len(content(file)) == 1


def test_lines_of_several_processes_do_not_mix(file: LogFile) -> None:
    pids = []
    for letter in "abc":
        pid = os.fork()
        if pid == 0:
            for _ in range(200):
                file.handle(record(letter * 900))
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    texts = [each.rpartition(": ")[2] for each in content(file)]
    assert sorted(texts) == sorted(letter * 900 for letter in "abc" for _ in range(200))


def test_a_full_disk_loses_lines_and_says_how_many(file: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    real, full = os.write, True

    def write(descriptor: int, data: bytes) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    file.handle(record("lost"))
    file.handle(record("lost"))
    full = False
    file.handle(record("kept"))
    assert [text.partition(" LOG")[2] for text in content(file)] == [
        "4[main]: 2 log line(s) lost",
        "5[7]: kept",
    ]


def test_a_line_cut_by_a_full_disk_does_not_take_the_next_one_along(
    file: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:10]))
    file.handle(record("cut"))
    monkeypatch.setattr(os, "write", real)
    file.handle(record("whole"))
    assert content(file)[1].endswith("whole")


def test_a_device_that_is_always_full_is_survived() -> None:
    file = LogFile("/dev/full")
    file.handle(record())
    file.handle(record())
    file.truncate()
    file.close()


def test_a_pipe_that_nobody_empties_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb"):
        file = LogFile(str(path))
        for _ in range(200):
            file.handle(record("x" * 1000))
        file.close()


# Standard error


def test_standard_error_gets_whole_lines(capfd: pytest.CaptureFixture[str]) -> None:
    Stderr().handle(record())
    assert capfd.readouterr().err == line(record()).decode()


def test_a_standard_error_that_nobody_empties_does_not_block() -> None:
    reader, writer = os.pipe()
    saved = os.dup(2)
    os.dup2(writer, 2)
    try:
        sink = Stderr()
        for _ in range(200):
            sink.handle(record("x" * 1000))
    finally:
        os.dup2(saved, 2)
        for descriptor in (reader, writer, saved):
            os.close(descriptor)


# Syslog


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "dev-log"))
        listening.settimeout(5)
        yield listening


@pytest.fixture
def syslog(server: socket.socket) -> Iterator[Syslog]:
    made = Syslog("local3", "stunnel", server.getsockname())
    yield made
    made.close()


def test_syslog_gets_facility_level_ident_and_identifier(syslog: Syslog, server: socket.socket) -> None:
    syslog.handle(record())
    expected = rf"<{19 * 8 + 5}>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d stunnel: LOG5\[7\]: hello"
    assert re.fullmatch(expected, server.recv(2048).decode())


def test_syslog_that_nobody_empties_does_not_block(syslog: Syslog, server: socket.socket) -> None:
    for _ in range(2000):
        syslog.handle(record("x" * 1000))
    assert server.recv(2048)


def test_syslog_that_was_restarted_is_found_again(
    syslog: Syslog, server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "SYSLOG_RETRY_SECONDS", 0.0)
    syslog.handle(record("before"))
    server.close()
    syslog._next_try = 0.0
    syslog.handle(record("lost"))
    os.unlink(tmp_path / "dev-log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(tmp_path / "dev-log"))
        again.settimeout(5)
        syslog.handle(record("after"))
        assert again.recv(2048).endswith(b"1 log line(s) lost")
        assert again.recv(2048).endswith(b"after")


def test_a_missing_syslog_is_survived(tmp_path: Path) -> None:
    sink = Syslog("daemon", "x", str(tmp_path / "absent"))
    sink.handle(record())
    sink.close()


def test_every_facility_of_the_configuration_has_a_code() -> None:
    from culvert.config.table.levels import FACILITIES

    assert {name: sinks.FACILITIES[name] for name in FACILITIES}["local7"] == 23


def test_sinks_are_handlers_of_the_standard_library() -> None:
    assert all(issubclass(each, logging.Handler) for each in (Backlog, LogFile, Stderr, Syslog))
