"""Engines: who inherits what, and where each value of a repeated option stands."""

from __future__ import annotations

import pytest

from culvert.config import load_text
from culvert.config.model import Service
from culvert.errors import ConfigErrors, Where

ENGINES = "engine = one\nengine = two\n"
ENDS = "accept = 127.0.0.1:1\nconnect = 127.0.0.1:2\nclient = yes\n"


def service(top: str, section: str = "") -> Service:
    return load_text(f"{ENGINES}{top}[web]\n{ENDS}{section}", "conf").services[0]


@pytest.mark.parametrize(
    ("top", "section", "chosen"),
    [
        ("", "", (None, None)),
        ("engineNum = 1\n", "", (1, None)),
        ("engineId = one\n", "", (None, "one")),
        ("", "engineNum = 2\n", (2, None)),
        ("engineNum = 1\n", "engineNum = 2\n", (2, None)),
        ("engineNum = 1\n", "engineId = two\n", (None, "two")),
        ("engineId = one\n", "engineNum = 2\n", (2, None)),
        ("", "engineId = one\nengineNum = 2\n", (2, None)),
        ("", "engineNum = 2\nengineId = one\n", (None, "one")),
    ],
)
def test_an_engine_is_one_choice_and_the_last_line_makes_it(
    top: str, section: str, chosen: tuple[int | None, str | None]
) -> None:
    made = service(top, section)
    assert (made.engine_num, made.engine_id) == chosen


@pytest.mark.parametrize(
    ("top", "section", "names", "lines"),
    [
        ("CAengine = a\n", "", ("a",), (3,)),
        ("", "CAengine = b\n", ("b",), (8,)),
        ("CAengine = a\n", "CAengine = b\nCAengine = c\n", ("a", "b", "c"), (3, 9, 10)),
    ],
)
def test_authorities_of_engines_add_up(
    top: str, section: str, names: tuple[str, ...], lines: tuple[int, ...]
) -> None:
    made = service(top + "engineNum = 1\n", section)
    assert made.ca_engine == names
    assert tuple(made.where_value("ca_engine", n) for n in range(len(names))) == tuple(
        Where("conf", line) for line in lines
    )


def test_a_list_of_a_section_has_the_lines_of_the_section() -> None:
    made = service("config = A:1\nconfig = B:2\n", "config = C:3\n")
    assert (made.config, made.where_value("config", 0)) == (("C:3",), Where("conf", 9))


@pytest.mark.parametrize(
    ("top", "section"),
    [("engineNum = 3\n", ""), ("", "engineId = three\n"), ("engineId = three\n", "")],
)
def test_an_engine_that_no_line_opens_is_refused(top: str, section: str) -> None:
    with pytest.raises(
        ConfigErrors, match=r"^conf:[37]: engine(Num: Illegal engine number|Id: Engine ID not)"
    ):
        service(top, section)


def test_what_auto_opens_is_not_known_yet() -> None:
    load_text(f"engine = auto\n[web]\n{ENDS}engineNum = 3\n")
