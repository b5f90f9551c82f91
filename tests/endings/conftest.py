"""The proxy that these tests are about, and tunnels through it.

TUNNEL_UNDER_TEST names another proxy than Culvert (stunnel, hitch, haproxy): to see that a test fails where
it should.  ENDINGS_RUNS is the number of runs for each cell of the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.pki import Pki
from tests.proxies import Crossing, Kind, Variant, need

MakeCrossing = Callable[..., Crossing]


@pytest.fixture(scope="session")
def kind() -> Kind:
    """The proxy under test."""
    chosen = Kind(os.environ.get("TUNNEL_UNDER_TEST", "culvert"))
    need(chosen)
    return chosen


@pytest.fixture
def tunnel(kind: Kind, pki: Pki) -> Iterator[MakeCrossing]:
    """Start tunnels: ``tunnel(variant, TIMEOUTidle="1")``; they end with the test."""
    with ExitStack() as stack:

        def start(variant: Variant, **options: str) -> Crossing:
            return stack.enter_context(Crossing(kind, variant, pki.server.both, options=options))

        yield start
