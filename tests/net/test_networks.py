"""Sets of networks, and the address within a struct sockaddr."""

from __future__ import annotations

import ipaddress

import pytest

from culvert.config.values import Address
from culvert.net import addresses
from culvert.net.networks import Networks, host_of


def host(text: str) -> bytes:
    (endpoint,) = addresses.resolve(Address(host=text, port="1"), passive=False)
    return host_of(endpoint.packed)


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
        ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::/0", "::1", "127.0.0.1"),
        ("10.0.0.0/8 192.0.2.0/25 2001:db8::/64", "192.0.2.127", "192.0.2.128"),
        ("192.0.2.0/24", "::ffff:192.0.2.9", "::192.0.2.9"),
        ("::/96", "::192.0.2.9", "192.0.2.9"),
    ],
)
def test_an_address_is_in_a_network_or_not(networks: str, inside: str, outside: str) -> None:
    found = Networks(map(ipaddress.ip_network, networks.split()))
    assert found.has(host(inside))
    assert not found.has(host(outside))


def test_a_unix_socket_has_no_host() -> None:
    assert host_of(b"\x01\x00") == b""
    assert not Networks([ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]).has(b"")


def test_no_network_has_nothing() -> None:
    assert not Networks(())
    assert not Networks(()).has(host("127.0.0.1"))
