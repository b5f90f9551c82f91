"""The page of options is the table."""

from __future__ import annotations

from pathlib import Path

from culvert.config.model import GLOBAL, SERVICE
from culvert.config.page import page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_of_options_is_not_stale() -> None:
    assert (DOCS / "options.md").read_text() == page(), "python -m culvert.config.page > docs/options.md"


def test_every_option_has_its_entry() -> None:
    headings = [line.removeprefix("#### ") for line in page().splitlines() if line.startswith("#### ")]
    assert sorted(set(headings)) == sorted({each.name for each in (*GLOBAL, *SERVICE)})
    assert len(headings) == len(GLOBAL) + len(SERVICE) - 1  # include has one for both


def test_what_is_not_available_says_so() -> None:
    missing = [each for each in (*GLOBAL, *SERVICE) if "not available" in each.missing]
    assert page().count("It is not available in this version of Culvert") == len(missing)
