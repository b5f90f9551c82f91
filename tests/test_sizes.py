"""The limits of CONTRIBUTING.md: functions do one thing, files can be read in one go."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = [
    path
    for room in ("src", "native", "bench", "fuzz", "scripts", "tests")
    for path in (ROOT / room).rglob("*.py")
]
C = [path for room in ("native", "bench") for path in (ROOT / room).rglob("*.[ch]")]

LONGEST_FUNCTION = 70
LONG_FUNCTION = 40
LONGEST_FILE = 700
LONG_FILE = 400
SHARE_OF_SHORT_ONES = 0.95
MEDIAN_FUNCTION = 12
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "misc", "manager", "common", "base"}


class Function(NamedTuple):
    """A function and how many lines it takes, from its first decorator or word to its end."""

    path: Path
    name: str
    lines: int

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.name}: {self.lines} lines"


def python_functions(path: Path) -> Iterator[Function]:
    """Yield every function and method of a Python file, inner ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Function(path, node.name, node.end_lineno - node.lineno + 1)


def c_functions(path: Path) -> Iterator[Function]:
    """Yield the functions of a C file that keeps to our form: it begins and ends in the first column."""
    start, head = 0, ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if re.match(r"[a-z].*\(", line) and not line.rstrip().endswith(";"):
            start, head = number, line
        elif line == "}" and start:
            yield Function(path, head.split("(")[0].split()[-1].lstrip("*"), number - start + 1)
            start = 0


def of_the_product() -> list[Function]:
    """Return the functions that are shipped."""
    return [
        function
        for path in PYTHON
        if path.is_relative_to(ROOT / "src")
        for function in python_functions(path)
    ]


def test_no_python_function_is_longer_than_a_page() -> None:
    every = chain.from_iterable(map(python_functions, PYTHON))
    assert [str(function) for function in every if function.lines > LONGEST_FUNCTION] == []


def test_c_functions_are_short() -> None:
    every = chain.from_iterable(map(c_functions, C))
    assert [str(function) for function in every if function.lines > LONG_FUNCTION] == []


def test_most_functions_do_one_thing() -> None:
    lines = [function.lines for function in of_the_product()]
    assert sum(count <= LONG_FUNCTION for count in lines) / len(lines) >= SHARE_OF_SHORT_ONES
    assert statistics.median(lines) <= MEDIAN_FUNCTION


@pytest.mark.parametrize("path", [*PYTHON, *C], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


def test_most_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in [*PYTHON, *C]}
    long_ones = {name: length for name, length in lengths.items() if length > LONG_FILE}
    assert len(long_ones) <= len(lengths) * (1 - SHARE_OF_SHORT_ONES), long_ones


def test_files_are_named_after_what_they_hold() -> None:
    assert [path for path in PYTHON if path.stem in NAMES_THAT_SAY_NOTHING] == []


def test_c_functions_are_found(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text(
        "static int one(int a,\n  int b)\n{\n  return a;\n}\n\nint two(void);\nvoid *three(void) {\n}\n"
    )
    assert [(function.name, function.lines) for function in c_functions(source)] == [("one", 5), ("three", 2)]
