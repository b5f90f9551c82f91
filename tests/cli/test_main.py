"""The command line: which word does what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from culvert.cli import main as cli
from culvert.daemon.source import DescriptorSource, FileSource
from culvert.errors import ConfigErrors


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the daemon would be started with."""
    seen: list[object] = []

    def run(find_source: Callable[[], object]) -> int:
        seen.append(find_source())
        return 7

    monkeypatch.setattr(cli, "_run", run)
    return seen


@pytest.mark.parametrize("name", ["c.conf", "-unknown", "-Foo", "DEMO"])
def test_what_is_no_word_is_a_file(
    started: list[object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert cli.main([name, "ignored"]) == 7
    assert started == [FileSource(str(tmp_path / name))]


@pytest.mark.parametrize("flag", ["-fd", "-FD", "-Fd"])
def test_a_descriptor_is_a_source(started: list[object], flag: str) -> None:
    assert cli.main([flag, "5", "ignored"]) == 7
    assert started == [DescriptorSource(5)]


@pytest.mark.parametrize("words", [["-fd"], ["-fd", "x"], ["-fd", "-1"], ["-fd", "²"]])
def test_a_wrong_descriptor_is_refused(started: list[object], words: list[str]) -> None:
    with pytest.raises(ConfigErrors, match="file descriptor"):
        cli.main(words)
    assert started == []


def test_our_own_default_file_comes_before_stunnels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = tmp_path / "culvert.conf", tmp_path / "stunnel.conf"
    monkeypatch.setattr(cli, "DEFAULT_FILES", (str(ours), str(theirs)))
    assert cli.default_file() == str(ours)
    theirs.touch()
    assert cli.default_file() == str(theirs)
    ours.touch()
    assert cli.default_file() == str(ours)


def test_without_words_the_default_file_is_run(
    started: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stunnel.conf").touch()
    monkeypatch.setattr(cli, "DEFAULT_FILES", (str(tmp_path / "stunnel.conf"),))
    assert cli.main([]) == 7
    assert started == [FileSource(str(tmp_path / "stunnel.conf"))]


@pytest.mark.parametrize("word", ["help", "-h", "--help"])
def test_help_is_about_the_command_line(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 0
    assert "culvert check FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "word", ["-help", "-HELP", "-version", "version", "--version", "-sockets", "-options"]
)
def test_information_goes_to_standard_error(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert " = " in told.err or "Socket option defaults:" in told.err


def test_a_word_has_its_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--help"]) == 0
    assert "culvert check" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["-install", "-uninstall", "-start", "-stop", "-reload", "-reopen", "-exit", "-quiet", "-STOP"]
)
def test_a_flag_of_the_windows_program_is_refused_in_one_sentence(
    started: list[object], capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert cli.main([flag]) == 1
    assert started == []
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{flag.lower()} is a flag of the Windows program; here " in said
