"""What became of a process."""

from __future__ import annotations

import signal

import pytest

from culvert.observe.fate import fate


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "finished with code 0"), (256, "finished with code 1"), (9, "terminated on SIGKILL")],
)
def test_a_fate_is_told_as_stunnel_does(status: int, words: str) -> None:
    assert fate(status) == words


def test_a_fate_by_a_nameless_signal_has_its_number() -> None:
    assert fate(signal.SIGRTMIN + 3) == f"terminated on signal {signal.SIGRTMIN + 3}"
