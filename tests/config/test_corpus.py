"""The golden corpora: every error and every warning, word for word."""

from __future__ import annotations

import pytest

from culvert.config import load_text
from culvert.errors import ConfigErrors
from tests.config.corpus import ACCEPTED, BROKEN, Case


def _named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", BROKEN, ids=_named)
def test_a_broken_configuration_is_refused_with_exactly_these_errors(case: Case) -> None:
    with pytest.raises(ConfigErrors) as refused:
        load_text(case.text, "conf")
    assert str(refused.value).split("\n") == list(case.lines)


@pytest.mark.parametrize("case", ACCEPTED, ids=_named)
def test_a_sound_configuration_is_accepted_with_exactly_these_warnings(case: Case) -> None:
    assert [str(each) for each in load_text(case.text, "conf").warnings] == list(case.lines)


def test_the_corpus_is_large_and_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in (*BROKEN, *ACCEPTED)]
    assert len(BROKEN) >= 60
    assert len(set(names)) == len(names)
    assert all(case.lines for case in BROKEN)
