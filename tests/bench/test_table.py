from __future__ import annotations

import json

import pytest

from bench.generator import Facts
from bench.measures import CROWDS, measure_named
from bench.report import json_report, text_report
from bench.rounds import Result, crowd_name
from bench.summary import Row, Spread, Verdict, summarize
from bench.table import cells, facts_lines, markdown_table, number, text_table, verdict_text

NAMES = ["culvert", "stunnel", "haproxy", "hitch"]


@pytest.fixture
def row() -> Row:
    result = Result(measure_named("kept"), [dict(zip(NAMES, (16.0, 32.0, 20.0, 18.0), strict=True))])
    return summarize(result, NAMES)


@pytest.fixture
def failed_row() -> Row:
    result = Result(measure_named("kept"), [dict(zip(NAMES, (16.0, 32.0, 20.0, 18.0), strict=True))])
    result.failures["stunnel"] = "reply: wrong bytes (after 3 units)"
    return summarize(result, NAMES)


@pytest.mark.parametrize(
    ("value", "text"), [(1.2345, "1.234"), (15.678, "15.7"), (999.94, "999.9"), (1234.5, "1,234")]
)
def test_figures_have_the_digits_that_their_size_deserves(value: float, text: str) -> None:
    assert number(value) == text


def test_columns_of_the_terminal_table_line_up() -> None:
    lines = text_table([["a", "bb"], ["long", "1"]]).splitlines()
    assert lines == ["a     bb", "long   1"]


def test_markdown_has_a_rule_below_its_header() -> None:
    assert markdown_table([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_no_rows_give_no_table() -> None:
    assert cells([]) == []
    assert text_table([]) == markdown_table([]) == ""


def test_a_limit_that_was_not_kept_is_said_so() -> None:
    assert verdict_text(Verdict(Spread(0.9, 0.8, 1.0), 0.8, "stunnel")) == "0.90 > 0.80 over"


def test_a_ratio_that_is_missing_is_not_hidden() -> None:
    assert verdict_text(Verdict(None, 0.8, "stunnel")) == "- <= 0.80 not measured"


def test_a_failure_stands_in_the_table_and_its_reason_below(failed_row: Row) -> None:
    report = text_report([failed_row], {"cores": "2"}, 1)
    line = next(line for line in report.splitlines() if line.startswith("100-byte"))
    assert " failed " in line
    assert "failed: kept: stunnel: reply: wrong bytes (after 3 units)" in report


def test_the_crowd_is_told_in_a_line_of_its_own() -> None:
    few, many = (crowd_name(crowd) for crowd in CROWDS)
    crowd = summarize(Result(measure_named("crowd"), [{few: 10.0, many: 11.0}]), NAMES)
    report = text_report([crowd], {}, 1)
    assert "100 open: 10.0 us, 10,000 open: 11.0 us; ratio 1.10" in report
    assert "limit <= 1.15: PASS" in report


def test_peers_that_agreed_on_the_same_share_a_line() -> None:
    facts = Facts("TLSv1.3", "AES", "X25519", "EC-256")
    result = Result(measure_named("kept"), [], {"culvert": facts, "hitch": facts})
    assert list(facts_lines([result])) == ["kept: TLSv1.3 AES X25519 EC-256 (culvert, hitch)"]


def test_json_has_every_sample(row: Row) -> None:
    report = json.loads(json_report([row], {"cores": "2"}))
    assert report["measures"][0]["rounds"] == row.result.rounds
    assert report["measures"][0]["verdicts"][0]["verdict"] == "PASS"
