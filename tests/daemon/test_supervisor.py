"""What the supervisor does where it has a fault itself."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from culvert.daemon import generation
from culvert.daemon.supervisor import Supervisor
from culvert.observe.log import for_library


@pytest.fixture
def supervisor(caplog: pytest.LogCaptureFixture) -> Iterator[Supervisor]:
    """One that serves, as far as a reload is concerned."""
    caplog.set_level(logging.DEBUG, "culvert")
    made = object.__new__(Supervisor)
    made._log, made._kill_at, made._notifier = for_library(), None, Mock()
    made._generation = made._source = made._pool = made._outlet = Mock()
    yield made
    gc.unfreeze()


def test_a_fault_in_a_reload_ends_the_reload_alone(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = supervisor._generation
    monkeypatch.setattr(generation, "prepare", Mock(side_effect=ZeroDivisionError))
    supervisor._reload()
    assert "INTERNAL ERROR" in caplog.text
    assert caplog.messages[-1] == "Failed to reload the configuration file"
    assert supervisor._generation is before
