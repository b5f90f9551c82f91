"""Patterns of server names."""

from __future__ import annotations

import random

import pytest

from culvert.tls.nametable import NameTable

PATTERNS = ("www.example.com", "*.example.com", "*ample.com", "WWW.Example.ORG", "*", "www.example.net")


def table(*patterns: str) -> NameTable[int]:
    made: NameTable[int] = NameTable()
    for number, pattern in enumerate(patterns):
        made.add(pattern, number)
    return made


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("www.example.com", "www.example.com"),
        ("WWW.EXAMPLE.COM", "www.example.com"),
        ("mail.example.com", "*.example.com"),
        ("a.b.example.com", "*.example.com"),
        (".example.com", "*.example.com"),
        ("example.com", "*ample.com"),
        ("ample.com", "*ample.com"),
        ("www.example.org", "WWW.Example.ORG"),
        ("www.example.com.", "*"),
        ("www.example.net", "*"),  # the exact name stands behind
        ("xn--bcher-kva.example", "*"),
        ("", "*"),
        ("x" * 255, "*"),
    ],
)
def test_the_first_pattern_that_fits_counts(name: str, pattern: str) -> None:
    match = table(*PATTERNS).find(name.encode())
    assert match is not None
    assert match.pattern == pattern
    assert PATTERNS[match.target] == pattern


@pytest.mark.parametrize(
    "name", ["", "example.com", "www.example.com.", "xwww.example.com", "www.example.comx", "x" * 255]
)
def test_what_no_pattern_fits_is_not_found(name: str) -> None:
    assert table("www.example.com", "*.example.net").find(name.encode()) is None


def test_only_a_star_in_front_is_one() -> None:
    assert table("www.*.com").find(b"www.x.com") is None
    assert table("www.*.com").find(b"www.*.com") is not None


def test_case_is_that_of_ascii_only() -> None:
    assert table("bücher.example").find("bücher.EXAMPLE".encode()) is not None
    assert table("bücher.example").find("BÜCHER.example".encode()) is None


def test_a_pattern_that_stands_before_is_told() -> None:
    made = table("a.example", "*.example")
    assert not made.add("A.example", 7)
    assert not made.add("*.EXAMPLE", 7)
    assert made.add("b.example", 7)
    assert len(made) == 5


def test_it_finds_what_a_search_one_by_one_finds() -> None:
    chosen = random.Random(7)
    for _ in range(300):
        labels = ["a", "bb", "a.bb", "b", "a.b", ""]
        patterns = [chosen.choice(("", "*", "*.")) + chosen.choice(labels) for _ in range(8)]
        name = ".".join(chosen.choices(labels, k=2))
        wanted = next((each for each in patterns if _fits(each, name)), None)
        match = table(*patterns).find(name.encode())
        assert (match.pattern if match else None) == wanted, (patterns, name)


def _fits(pattern: str, name: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*") else name == pattern
