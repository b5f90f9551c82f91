from __future__ import annotations

import pytest

from bench.generator import Facts
from bench.measures import CROWDS, MEASURES, Measure, measure_named
from bench.rounds import Result, crowd_name
from bench.summary import paired_ratio, spread, summarize, worst

NAMES = ["culvert", "stunnel", "haproxy", "hitch"]


def result_of(key: str, *rounds: tuple[float, float, float, float]) -> Result:
    return Result(measure_named(key), [dict(zip(NAMES, row, strict=True)) for row in rounds])


def test_a_ratio_is_made_within_each_round() -> None:
    # The machine was ten times slower in the second round; neither median alone would show 0.5 three times.
    result = result_of("kept", (1, 2, 2, 2), (10, 20, 20, 20), (2, 4, 4, 4))
    ratio = paired_ratio(result, "culvert", "stunnel")
    assert ratio is not None
    assert (ratio.low, ratio.median, ratio.high) == (0.5, 0.5, 0.5)


def test_the_best_rival_is_the_one_that_culvert_compares_worst_with() -> None:
    row = summarize(result_of("kept", (9, 30, 20, 10)), NAMES)
    best = row.verdicts[1]
    assert best.ratio is not None
    assert best.ratio.median == pytest.approx(0.9)
    assert best.word == "PASS"


def test_a_ratio_above_the_limit_is_over() -> None:
    row = summarize(result_of("kept", (20, 30, 20, 10)), NAMES)
    assert [verdict.word for verdict in row.verdicts] == ["over", "over"]


def test_a_ratio_equal_to_the_limit_passes() -> None:
    row = summarize(result_of("memory", (20, 100, 20, 20)), NAMES)
    assert [verdict.word for verdict in row.verdicts] == ["PASS", "PASS"]


def test_a_rival_that_failed_leaves_the_best_unknown() -> None:
    result = result_of("kept", (9, 30, 20, 10))
    result.failures["hitch"] = "reply: wrong bytes"
    row = summarize(result, NAMES)
    assert row.values["hitch"] is None
    assert [verdict.word for verdict in row.verdicts] == ["PASS", "not measured"]


def test_culvert_failing_leaves_everything_unmeasured() -> None:
    result = result_of("kept", (9, 30, 20, 10))
    result.failures["culvert"] = "handshake: unexpected end"
    assert [verdict.word for verdict in summarize(result, NAMES).verdicts] == ["not measured", "not measured"]


def test_peers_that_were_left_out_do_not_count_as_best() -> None:
    result = Result(measure_named("kept"), [{"culvert": 9, "hitch": 10}])
    row = summarize(result, ["culvert", "hitch"])
    assert [verdict.word for verdict in row.verdicts] == ["not measured", "PASS"]
    assert row.verdicts[1].against == "the best of hitch"


def test_a_crowd_is_compared_with_few_connections() -> None:
    few, many = (crowd_name(crowd) for crowd in CROWDS)
    row = summarize(Result(measure_named("crowd"), [{few: 10.0, many: 12.0}]), NAMES)
    assert row.verdicts[0].ratio is not None
    assert row.verdicts[0].ratio.median == pytest.approx(1.2)
    assert row.verdicts[0].word == "over"


def test_nothing_has_no_spread() -> None:
    assert spread([]) is None
    assert worst([None, None]) is None


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.key)
def test_every_measure_gives_a_row(measure: Measure) -> None:
    row = summarize(Result(measure, [], {"culvert": Facts("", "", "", "")}), NAMES)
    assert not any(row.values.values())
    assert {verdict.word for verdict in row.verdicts} <= {"", "not measured"}
