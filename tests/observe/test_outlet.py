"""The daemon's set of sinks, from the first line to a reload."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from culvert.config.model import GlobalOptions
from culvert.errors import SystemRefusal
from culvert.observe.log import LOGGER
from culvert.observe.outlet import Outlet, discard
from culvert.observe.sinks import LogFile, Stderr, Syslog


@pytest.fixture
def outlet() -> Iterator[Outlet]:
    propagate, level = LOGGER.propagate, LOGGER.level
    made = Outlet()
    yield made
    made.close()
    LOGGER.propagate = propagate
    LOGGER.setLevel(level)


def options(path: Path, **more: object) -> GlobalOptions:
    return GlobalOptions(output=str(path), syslog=False, **more)  # type: ignore[arg-type]


def start(outlet: Outlet, wanted: GlobalOptions) -> None:
    outlet.use(wanted, outlet.prepare(wanted))
    outlet.begin_file()


def texts(path: Path) -> list[str]:
    return [line.partition("]: ")[2] for line in path.read_text().splitlines()]


def test_what_was_said_before_the_log_was_known_is_in_it(outlet: Outlet, tmp_path: Path) -> None:
    outlet.log.write(5, "early")
    outlet.log.write(7, "early detail")
    start(outlet, options(tmp_path / "log", debug=6))
    outlet.log.write(6, "late")
    outlet.log.write(7, "late detail")
    assert texts(tmp_path / "log") == ["early", "late"]


def test_each_sink_is_there_when_it_is_asked_for(outlet: Outlet, tmp_path: Path) -> None:
    wanted = GlobalOptions(output=str(tmp_path / "log"), syslog=True, foreground="yes")
    sinks = outlet.prepare(wanted)
    assert [type(each) for each in sinks] == [LogFile, Syslog, Stderr]
    discard(sinks)
    assert outlet.prepare(GlobalOptions(syslog=False, foreground="quiet")) == []


def test_a_log_file_that_cannot_be_opened_changes_nothing(outlet: Outlet, tmp_path: Path) -> None:
    start(outlet, options(tmp_path / "log"))
    with pytest.raises(SystemRefusal):
        outlet.prepare(options(tmp_path / "absent" / "log"))
    outlet.log.write(5, "still here")
    assert texts(tmp_path / "log") == ["still here"]


def test_a_reload_can_go_back_to_the_old_sinks(outlet: Outlet, tmp_path: Path) -> None:
    first, second = options(tmp_path / "first"), options(tmp_path / "second")
    start(outlet, first)
    old = outlet.use(second, outlet.prepare(second))
    outlet.log.write(5, "attempt")
    discard(outlet.use(first, old))
    outlet.log.write(5, "back")
    assert texts(tmp_path / "second") == ["attempt"]
    assert texts(tmp_path / "first") == ["back"]


def test_overwrite_empties_the_file_at_the_start_and_when_it_is_reopened(
    outlet: Outlet, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_text("from yesterday\n")
    start(outlet, options(path, log="overwrite"))
    outlet.log.write(5, "today")
    assert texts(path) == ["today"]
    assert outlet.reopen(may_truncate=False)
    assert texts(path) == ["today"]
    assert outlet.reopen(may_truncate=True)
    assert texts(path) == []


def test_reopening_tells_whether_there_is_a_file(outlet: Outlet) -> None:
    start(outlet, GlobalOptions(syslog=False))
    assert not outlet.reopen(may_truncate=True)


def test_a_failed_reopening_is_logged_to_the_old_file(outlet: Outlet, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    start(outlet, options(folder / "log"))
    os.rename(folder, tmp_path / "moved")
    assert not outlet.reopen(may_truncate=True)
    assert "Cannot open log file" in (tmp_path / "moved" / "log").read_text()
