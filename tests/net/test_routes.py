"""The kernel's answer to whose an address is."""

from __future__ import annotations

import socket

import pytest

from culvert.net import routes


@pytest.mark.parametrize(
    ("host", "away"),
    [
        ("127.0.0.1", False),
        ("127.1.2.3", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("ff02::1", False),
    ],
)
def test_addresses_of_this_machine_do_not_lead_away(host: str, away: bool) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    assert routes.leads_away(family, socket.inet_pton(family, host)) is away


def test_an_address_without_a_route_or_with_one_leads_away() -> None:
    assert routes.leads_away(socket.AF_INET, socket.inet_aton("198.51.100.1"))


def test_an_answer_that_is_none_is_an_error() -> None:
    with pytest.raises(OSError, match="not understood"):
        routes._answer(routes._HEADER.pack(16, 99, 0, 1, 0) + bytes(12))
    with pytest.raises(OSError, match="does not tell"):
        routes._answer(routes._HEADER.pack(36, 2, 0, 1, 0) + routes._ERROR.pack(-1) + bytes(16))
