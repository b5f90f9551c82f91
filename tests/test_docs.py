"""What the pages say of the program, where it can be looked up."""

from __future__ import annotations

import re
from pathlib import Path

from culvert.config.model import GLOBAL, SERVICE
from culvert.config.options import WINDOWS, Option

DOCS = Path(__file__).resolve().parent.parent / "docs"
EVERY = {each.name: each for each in (*GLOBAL, *SERVICE)}


def section(page: str, heading: str) -> str:
    """The text of one section of a page."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## )", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def is_missing(option: Option) -> bool:
    return not option.available and option.missing != WINDOWS


def test_the_page_for_movers_names_what_is_not_there_and_nothing_that_is() -> None:
    first = section("migration.md", "What is not there").strip().split("\n\n")[0]
    named = {name for name in re.findall(r"`(\w+)", first) if name in EVERY}
    assert named == {name for name, option in EVERY.items() if is_missing(option)}


def test_the_page_for_movers_names_every_option_of_our_own() -> None:
    named = set(re.findall(r"`(\w+)", section("migration.md", "Options of our own")))
    assert {name for name, option in EVERY.items() if option.since == "Culvert"} <= named
