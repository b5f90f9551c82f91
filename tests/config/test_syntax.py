"""Lines, includes, and everything that a file can do to a parser."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from culvert.config import load_bytes, load_file
from culvert.config.syntax import MAX_LINE, Reader, Section, Setting, Spoilt
from culvert.errors import ConfigErrors, Where


def _lines(data: bytes) -> list[tuple[str, ...]]:
    """The lines without their positions; no error may be among them."""
    reader = Reader()
    lines = list(reader.read_bytes(data, "conf"))
    assert reader.errors == []
    return [tuple(line[1:]) for line in lines]


def _reasons(data: bytes) -> list[str]:
    reader = Reader()
    list(reader.read_bytes(data, "conf"))
    return [str(error) for error in reader.errors]


# One line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"a = b", ("a", "b")),
        (b"  a=b\t", ("a", "b")),
        (b"\v\fa\t=\tb c \r", ("a", "b c")),
        (b"a = b = c", ("a", "b = c")),
        (b"a =", ("a", "")),
        (b"a = b ; no comment", ("a", "b ; no comment")),
        (b'a = "b"', ("a", '"b"')),
        (b"a = b\\", ("a", "b\\")),
        (b"a = %d/$HOME", ("a", "%d/$HOME")),
        (b"a\r = \rb\r", ("a", "b")),
        (b"acc\rept = 127.0.\r0.1\r\r", ("accept", "127.0.0.1")),
        (b"[web]", ("web",)),
        (b"  [web]  ", ("web",)),
        (b"[ a b ]", (" a b ",)),
        (b"[]", ("",)),
        (b"[a=b]", ("a=b",)),
        (b"[a]]", ("a]",)),
    ],
)
def test_a_line_is_taken_apart(line: bytes, expected: tuple[str, ...]) -> None:
    assert _lines(line) == [expected]
    assert _lines(line + b"\n") == [expected]


@pytest.mark.parametrize("line", [b"", b"   ", b"\r", b"; a = b", b"# a = b", b"\t#", b";", b"\0a = b"])
def test_blank_lines_and_comments_are_nothing(line: bytes) -> None:
    assert _lines(line + b"\n") == []


@pytest.mark.parametrize("line", [b"[", b"[web", b"web]", b"a b", b"]", b"\xff"])
def test_a_line_without_an_equals_sign_is_an_error(line: bytes) -> None:
    (reason,) = _reasons(line)
    assert reason.startswith("conf:1: No '=' found")


def test_what_may_be_a_secret_is_not_repeated() -> None:
    assert _reasons(b"ticketKeySecret 0011223344") == ["conf:1: No '=' found behind \"ticketKeySecret\""]


def test_positions_count_every_line_of_the_file() -> None:
    lines = list(Reader().read_bytes(b"\n; x\r\n[web]\n\na = b", "conf"))
    assert [line.at for line in lines] == [Where("conf", 3), Where("conf", 5)]
    assert [type(line) for line in lines] == [Section, Setting]


def test_a_line_that_is_no_line_tells_its_first_word() -> None:
    (line,) = Reader().read_bytes(b"accept 443", "conf")
    assert line == Spoilt(Where("conf", 1), "accept")


def test_bytes_that_are_no_utf_8_are_kept() -> None:
    ((_name, value),) = _lines(b"cert = /tmp/\xff\xfe.pem")
    assert os.fsencode(value) == b"/tmp/\xff\xfe.pem"


def test_a_nul_byte_ends_the_line_and_is_told() -> None:
    reader = Reader()
    assert [tuple(line[1:]) for line in reader.read_bytes(b"a = b\0c = d\n", "conf")] == [("a", "b")]
    assert [str(each) for each in reader.warnings] == [
        "conf:1: a NUL byte ends the line, 5 bytes behind it do not count"
    ]


# Long lines


def test_the_longest_line_is_read_whole() -> None:
    value = b"x" * (MAX_LINE - len(b"a = "))
    assert _lines(b"a = " + value) == [("a", value.decode())]


def test_a_longer_line_is_an_error_and_not_two_lines() -> None:
    assert _reasons(b"a = " + b"x" * MAX_LINE + b"\nb = c\n") == [
        f"conf:1: the line has {MAX_LINE + 4} bytes, at most {MAX_LINE} are allowed"
    ]


def test_a_comment_may_be_of_any_length() -> None:
    assert _lines(b" ; " + b"x" * 100_000 + b"\na = b") == [("a", "b")]


def test_a_line_of_a_megabyte_is_one_error() -> None:
    assert len(_reasons(b"x" * 1_000_000)) == 1
    assert len(_reasons(b"connect = " + b"x" * 1_000_000 + b"\nok = 1")) == 1


# Byte order marks


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfa = b", ["UTF-8 byte order mark detected"]),
        (b"a = b", ["UTF-8 byte order mark not detected"]),
        (b"", []),
    ],
)
def test_a_byte_order_mark_is_skipped_and_told(data: bytes, expected: list[str]) -> None:
    reader = Reader()
    assert [line[1:] for line in reader.read_bytes(data, "conf")] == ([("a", "b")] if data else [])
    assert [message.text for message in reader.messages] == expected


def test_a_byte_order_mark_in_another_place_is_no_blank() -> None:
    assert _lines(b"a = b\n\xef\xbb\xbfc = d") == [("a", "b"), ("\ufeffc", "d")]


# Includes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    return tmp_path


def _read(folder: Path, text: str) -> tuple[list[str], Reader]:
    path, reader = folder / "main.conf", Reader()
    path.write_text(text)
    lines = [str(line[1]) for line in reader.read(str(path))]
    return [line for line in lines if line.lower() != "include"], reader


def test_an_include_reads_every_regular_file_in_the_order_of_their_names(folder: Path) -> None:
    for name in ("b.conf", ".hidden", "a.conf", "x~", "B.conf"):
        (folder / "conf.d" / name).write_text(f"{name} = 1\n")
    (folder / "conf.d" / "link").symlink_to("a.conf")
    (folder / "conf.d" / "broken link").symlink_to("nowhere")
    (folder / "conf.d" / "folder").mkdir()
    lines, reader = _read(folder, f"first = 1\nInclude = {folder}/conf.d\nlast = 1\n")
    assert lines == ["first", ".hidden", "B.conf", "a.conf", "b.conf", "a.conf", "x~", "last"]
    told = [message.text for message in reader.messages if message.level == 7]
    assert told == [f'"{folder}/conf.d/{name}" is not a file' for name in ("broken link", "folder")]
    assert reader.errors == []


def test_the_parent_goes_on_in_the_section_that_an_included_file_left_open(folder: Path) -> None:
    (folder / "conf.d" / "web").write_text("[web]\naccept = 127.0.0.1:443\ncert = web.pem\n")
    (folder / "main.conf").write_text(f"include = {folder}/conf.d\nconnect = 127.0.0.1:80\n")
    (service,) = load_file(folder / "main.conf").services
    assert (service.name, len(service.connect)) == ("web", 1)


def test_an_included_section_ends_the_global_part_of_the_parent(folder: Path) -> None:
    (folder / "conf.d" / "web").write_text("[web]\naccept = 127.0.0.1:443\nconnect = 80\ncert = web.pem\n")
    (folder / "main.conf").write_text(f"include = {folder}/conf.d\npid = /run/x\n")
    with pytest.raises(ConfigErrors, match=r"main.conf:2: pid: Specified option name is not valid here"):
        load_file(folder / "main.conf")


def test_errors_of_included_files_name_their_own_lines(folder: Path) -> None:
    (folder / "conf.d" / "web").write_text("\nwrong = 1\n")
    (folder / "main.conf").write_text(f"bad = 1\ninclude = {folder}/conf.d\nworse = 1\n[web]\n")
    with pytest.raises(ConfigErrors) as refused:
        load_file(folder / "main.conf")
    places = [f"{Path(each.at.path).name}:{each.at.line}" for each in refused.value.errors if each.at]
    assert places == ["main.conf:1", "main.conf:3", "main.conf:4", "main.conf:4", "web:2"]


@pytest.mark.parametrize("value", ["", "/nowhere/at/all", "/dev/null", "\x00"])
def test_what_cannot_be_included_is_an_error(value: str) -> None:
    reader = Reader()
    list(reader.read_bytes(f"include = {value}\n".encode(), "conf"))
    assert len(reader.errors) == 1
    assert reader.errors[0].at == Where("conf", 1)


def test_an_included_file_that_cannot_be_read_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    (folder / "conf.d" / "secret").touch()
    monkeypatch.setattr("culvert.config.syntax._contents", refuse)
    reader = Reader()
    list(reader.read_bytes(f"include = {folder}/conf.d\n".encode(), "conf"))
    (error,) = reader.errors
    assert error.at == Where("conf", 1)
    assert error.reason.endswith('secret": Permission denied')


def test_a_directory_that_includes_itself_is_found_at_the_first_turn(folder: Path) -> None:
    (folder / "conf.d" / "again").write_text(f"include = {folder}/conf.d\n")
    _lines, reader = _read(folder, f"include = {folder}/conf.d\n")
    (error,) = reader.errors
    assert (error.at, error.reason) == (
        Where(f"{folder}/conf.d/again", 1),
        f'"{folder}/conf.d/again" would include itself',
    )


def test_many_files_that_include_each_other_are_one_error(folder: Path) -> None:
    for number in range(20):  # 20! ways through them
        (folder / "conf.d" / f"{number:02}").write_text(f"include = {folder}/conf.d\n")
    _lines, reader = _read(folder, f"include = {folder}/conf.d\n")
    assert len(reader.errors) == 1


def _chain(folder: Path, depth: int) -> Path:
    """A file that includes a directory whose file includes a directory, `depth` files in all."""
    for level in range(depth):
        (folder / str(level)).mkdir(parents=True)
        (folder / str(level) / "file").write_text(f"x{level} = 1\ninclude = {folder}/{level + 1}\n")
    (folder / str(depth)).mkdir()
    return folder / "0" / "file"


def test_a_hundred_files_may_be_open_at_once(tmp_path: Path) -> None:
    reader = Reader()
    lines = [line for line in reader.read(str(_chain(tmp_path, 100))) if str(line[1]).startswith("x")]
    assert (len(lines), reader.errors) == (100, [])


@pytest.mark.parametrize("depth", [101, pytest.param(10_000, marks=pytest.mark.slow)])
def test_more_than_a_hundred_files_open_at_once_are_an_error(tmp_path: Path, depth: int) -> None:
    reader = Reader()
    list(reader.read(str(_chain(tmp_path, depth))))
    (error,) = reader.errors
    assert error.at == Where(f"{tmp_path}/99/file", 2)
    assert "Include stack overflow" in error.reason
    assert "(maximum depth 100); recursive includes suspected" in error.reason


def test_includes_that_double_at_each_level_come_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("culvert.config.syntax.MAX_FILES", 1_000)
    for level in range(30):  # 2 ** 30 files without a limit
        (tmp_path / str(level)).mkdir()
        for name in "ab":
            (tmp_path / str(level) / name).write_text(f"include = {tmp_path}/{level + 1}\n")
    (tmp_path / "30").mkdir()
    reader = Reader()
    list(reader.read(str(tmp_path / "0" / "a")))
    (error,) = reader.errors
    assert "more than 1000 files" in error.reason


def test_a_file_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("culvert.config.syntax.MAX_FILE", 1_000_000)
    reader = Reader()
    assert list(reader.read("/dev/zero")) == []
    assert "longer than 1000000 bytes" in str(reader.errors[0])


@pytest.mark.parametrize("path", ["/", "/nowhere/at/all", "a\0b"])
def test_a_main_file_that_cannot_be_read_is_an_error(path: str) -> None:
    with pytest.raises(ConfigErrors, match="Cannot open configuration file"):
        load_file(path)


# Everything at once


@pytest.mark.parametrize(
    "data",
    [b"", b"\n" * 10_000, b"=\n" * 5_000, b"[x]\n" * 5_000, b"\0" * 100_000, b"=" * 16_000, b"[" * 16_000],
    ids=["nothing", "blank lines", "equals signs", "sections", "zeros", "one line", "brackets"],
)
def test_odd_files_are_read_or_refused_in_reasonable_time(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ConfigErrors):
        load_bytes(data)
    assert time.process_time() - started < 5
