"""No cell of the table of endings is wrong: every run, in every variant, ends as the truth demands."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.endings.cases import CASES, Case
from tests.endings.matrix import VARIANTS, cases_of, judge, run_cell
from tests.pki import Pki
from tests.proxies import Crossing, Kind, Variant

pytestmark = [pytest.mark.integration]

RUNS = int(os.environ.get("ENDINGS_RUNS", "20"))
CELLS = [
    pytest.param(variant, case, id=f"{variant}-{case.name}", marks=pytest.mark.xdist_group(str(variant)))
    for variant in VARIANTS
    for case in cases_of(variant)
]


@pytest.fixture(scope="module")
def crossing(request: pytest.FixtureRequest, kind: Kind, pki: Pki) -> Iterator[Crossing]:
    """One proxy for all the cases of a variant."""
    with Crossing(kind, request.param, pki.server.both) as made:
        yield made


@pytest.mark.parametrize(("crossing", "case"), CELLS, indirect=["crossing"])
def test_every_run_of_a_cell_ends_truthfully(crossing: Crossing, case: Case) -> None:
    cell = run_cell(crossing, case, RUNS)
    assert cell.right == RUNS, f"{case.story}: {cell}\n{crossing.proxy.output[-4000:]}"


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.version == "TLSv1.3"], ids=str)
def test_no_ending_leaves_a_descriptor_behind(kind: Kind, variant: Variant, pki: Pki) -> None:
    quick = [case for case in cases_of(variant) if not case.patient]
    with Crossing(kind, variant, pki.server.both) as crossing:
        judge(crossing, CASES[0])  # what a first connection opens for good is not a leak
        before = crossing.proxy.wait_descriptors(0, seconds=0.5)
        for case in quick:
            judge(crossing, case)
        assert crossing.proxy.wait_descriptors(before) <= before, crossing.proxy.output[-4000:]
