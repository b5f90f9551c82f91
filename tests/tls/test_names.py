"""The server name that a client sends."""

from __future__ import annotations

from typing import Any

import pytest

from culvert import tls
from culvert.config.values import Address
from culvert.errors import ConfigErrors
from culvert.tls.names import client_name
from tests.pki import Pki
from tests.tls.pairs import client, connect, part, server

PROXY = Address.parse("proxy:3128")
NAMES: list[tuple[dict[str, Any], str | None]] = [
    ({}, "localhost"),
    ({"connect": (Address.parse("443"),)}, "localhost"),
    ({"connect": (Address.parse("/run/backend"),)}, "localhost"),
    ({"connect": (Address.parse("www.example.com:443"),)}, "www.example.com"),
    ({"connect": (Address.parse("a.example.com:1"), Address.parse("b.example.com:2"))}, "a.example.com"),
    ({"connect": (Address.parse("192.0.2.1:443"),)}, None),
    ({"connect": (Address.parse("::1:443"),)}, None),
    ({"connect": (Address.parse("fe80::1%lo:443"),)}, None),
    (
        {"connect": (Address.parse("proxy:3128"),), "protocol_host": "inside.example.com:443"},
        "inside.example.com",
    ),
    ({"protocol_host": "mail"}, "localhost"),
    ({"protocol_host": "192.0.2.1:443"}, None),
    ({"connect": (Address.parse("www.example.com:443"),), "sni": "other.example.com"}, "other.example.com"),
    ({"connect": (Address.parse("www.example.com:443"),), "sni": ""}, None),
    ({"sni": "192.0.2.1"}, "192.0.2.1"),
    ({"sni": ("first.example", "last.example")}, "last.example"),
    ({"sni": "bücher.example"}, "xn--bcher-kva.example"),
    ({"connect": (Address.parse("bücher.example:443"),)}, "xn--bcher-kva.example"),
]


@pytest.mark.parametrize(("options", "name"), NAMES)
def test_the_name_comes_from_the_destination_unless_sni_says_it(
    options: dict[str, Any], name: str | None
) -> None:
    assert client_name(client(**options)) == name


@pytest.mark.parametrize("name", ["www.example.com", None])
def test_the_name_is_what_the_server_receives(pki: Pki, name: str | None) -> None:
    ends = connect(tls.build(client(sni=name or "")), tls.build(server(pki)))
    assert ends[1].session.server_name == name
    part(*ends)


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigErrors, match="a server name has 1 to 255 octets"):
        tls.build(client(sni="x" * 256))


@pytest.mark.parametrize(
    ("protocol", "host", "expected"),
    [
        ("smtp", "my.name", "mail.example.org"),
        ("socks", "behind.example:443", "mail.example.org"),
        ("lmtp", "my.name", "mail.example.org"),
        ("xmpp", "example.org", "example.org"),
        ("xmpp-server", "example.org", "example.org"),
        ("connect", "site.example.org:443", "site.example.org"),
    ],
)
def test_what_a_protocol_calls_its_host(protocol: str, host: str, expected: str) -> None:
    options = {"connect": (Address.parse("mail.example.org:25"),), "protocol": protocol}
    assert client_name(client(**options, protocol_host=host)) == expected


def test_a_name_that_no_server_can_be_asked_for_is_refused() -> None:
    with pytest.raises(ConfigErrors, match="sni: the server name cannot be written in ASCII"):
        tls.build(client(sni="bü..example"))
