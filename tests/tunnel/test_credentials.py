"""Credentials that all workers share: the last ones, whole, or none."""

from __future__ import annotations

import os

import pytest

from culvert.tunnel import credentials


@pytest.fixture(autouse=True)
def _own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_memory", None)


def test_without_memory_there_are_none_and_nothing_can_be_kept() -> None:
    assert credentials.stored() == b""
    with pytest.raises(RuntimeError, match="prepared"):
        credentials.keep(b"x")


def test_what_another_process_keeps_is_seen() -> None:
    credentials.prepare()
    assert credentials.stored() == b""
    child = os.fork()
    if not child:
        credentials.keep(b"AUTH")
        os._exit(0)
    os.waitpid(child, 0)
    assert credentials.stored() == b"AUTH"
    credentials.prepare()  # a reload
    assert credentials.stored() == b"AUTH"


def test_the_last_ones_count() -> None:
    credentials.prepare()
    for each in (b"x" * 255, b"", b"short"):
        credentials.keep(each)
        assert credentials.stored() == each


def test_half_of_a_write_is_not_believed() -> None:
    credentials.prepare()
    credentials.keep(b"before")
    assert credentials._memory is not None
    credentials._memory[1:4] = b"aft"
    assert credentials.stored() == b""
