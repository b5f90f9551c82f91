"""Text of the file to Python, type by type."""

from __future__ import annotations

import pytest

from culvert.config.sockets import DEFAULTS, ELSEWHERE, NAMES, SocketOption, merge, parse
from culvert.config.table.endpoints import RETRY, TRANSPARENT
from culvert.config.table.levels import DEBUG, FACILITIES, LEVELS, DebugLevel
from culvert.config.tlsnames import KERNEL_TLS, OPTION_NAMES, TLS_OPTION, VERSION
from culvert.config.values import (
    ADDRESS,
    YES_NO,
    Address,
    BadValue,
    Kind,
    nearest,
    number,
    render,
    seconds,
    secret_bytes,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("443", Address(port="443")),
        ("https", Address(port="https")),
        ("localhost:443", Address("localhost", "443")),
        ("192.0.2.1:imaps", Address("192.0.2.1", "imaps")),
        ("::1:443", Address("::1", "443")),
        ("fe80::1%lo:443", Address("fe80::1%lo", "443")),
        ("[::1]:443", Address("::1", "443")),
        ("*:443", Address("*", "443")),
        ("/run/socket", Address(path="/run/socket")),
        ("/run/a:b c", Address(path="/run/a:b c")),
    ],
)
def test_an_address(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["443", "localhost:443", "::1:443", "/run/socket"])
def test_an_address_is_shown_as_it_is_written(text: str) -> None:
    assert Address.parse(text).text == str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "::1",
        "[]:443",
        "host:",
        "host:65536",
        "host:-1",
        "host: 443",
        "two words:443",
        "a/b",
        "/" + "x" * 107,
    ],
)
def test_no_address(text: str) -> None:
    with pytest.raises(BadValue):
        Address.parse(text)


def test_the_length_of_a_socket_path_is_counted_in_bytes() -> None:
    assert Address.parse("/" + "x" * 106).path
    with pytest.raises(BadValue, match="Unix socket path is too long"):
        Address.parse("/" + "ю" * 54)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("+5", 5), ("-5", -5), (" 7", 7), ("007", 7)])
def test_a_number(text: str, value: int) -> None:
    assert number("no").parse(text) == value


@pytest.mark.parametrize(
    "text", ["", "x", "5 ", "5s", "0x5", "1_0", "١", "1e3", "5.0", "--5", "9" * 19, "9" * 10_000]
)
def test_no_number(text: str) -> None:
    with pytest.raises(BadValue, match=r"^no"):
        number("no").parse(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("5", 5.0), ("-1", None), ("-99", None)])
def test_seconds(text: str, value: float | None) -> None:
    assert seconds("no").parse(text) == value


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("YES", True), ("No", False)])
def test_a_switch(text: str, value: bool) -> None:
    assert YES_NO.parse(text) is value


@pytest.mark.parametrize("text", ["", "true", "1", "on", "y", "yes no"])
def test_no_switch(text: str) -> None:
    with pytest.raises(BadValue, match="either 'yes' or 'no'"):
        YES_NO.parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", DebugLevel(7, None)),
        ("INFO", DebugLevel(6, None)),
        ("local7.err", DebugLevel(3, "local7")),
        ("Mail.0", DebugLevel(0, "mail")),
    ],
)
def test_a_level_with_or_without_a_facility(text: str, value: DebugLevel) -> None:
    assert DEBUG.parse(text) == value


@pytest.mark.parametrize(
    "text", ["", "8", "-1", "error", "warn", "daemon.", ".info", "daemon.mail", "local8.info", "07"]
)
def test_no_level(text: str) -> None:
    with pytest.raises(BadValue, match=r"Illegal (debug level|syslog facility)"):
        DEBUG.parse(text)


def test_levels_and_facilities_are_those_of_syslog() -> None:
    assert len(LEVELS) == 8
    assert len(FACILITIES) == len(set(FACILITIES)) == 21


@pytest.mark.parametrize(
    ("text", "value"),
    [("all", None), ("ALL", None), ("tlsv1.2", "TLSv1.2"), ("SSLv3", "SSLv3"), ("TLSv1", "TLSv1")],
)
def test_a_protocol_version(text: str, value: str | None) -> None:
    assert VERSION.parse(text) == value


@pytest.mark.parametrize("text", ["", "SSLv2", "TLSv1.4", "1.2"])
def test_no_protocol_version(text: str) -> None:
    with pytest.raises(BadValue, match="Invalid protocol version"):
        VERSION.parse(text)


@pytest.mark.parametrize(
    ("text", "value"), [("NO_TICKET", "NO_TICKET"), ("-no_sslv3", "-NO_SSLv3"), ("no_tlsv1_1", "NO_TLSv1_1")]
)
def test_a_switch_of_openssl(text: str, value: str) -> None:
    assert TLS_OPTION.parse(text) == value


@pytest.mark.parametrize("text", ["", "-", "--NO_TICKET", "SSL_OP_NO_TICKET", "NO TICKET"])
def test_no_switch_of_openssl(text: str) -> None:
    with pytest.raises(BadValue, match="Illegal TLS option"):
        TLS_OPTION.parse(text)


def test_every_switch_of_openssl_can_be_set_and_cleared() -> None:
    assert len(OPTION_NAMES) == len(set(OPTION_NAMES)) == 61
    for name in OPTION_NAMES:
        assert TLS_OPTION.parse(name) == name
        assert TLS_OPTION.parse(f"-{name}") == f"-{name}"


@pytest.mark.parametrize("name", sorted(KERNEL_TLS))
def test_the_kernels_tls_can_be_cleared_but_not_set(name: str) -> None:
    assert TLS_OPTION.parse(f"-{name}") == f"-{name}"
    with pytest.raises(BadValue, match=f"^{name} is not available .*never by the kernel"):
        TLS_OPTION.parse(name.lower())


@pytest.mark.parametrize(("text", "value"), [("yes", 1.0), ("NO", None), ("0", 0.0), ("250", 0.25)])
def test_a_delay_before_a_retry(text: str, value: float | None) -> None:
    assert RETRY.parse(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("no", "none"), ("none", "none"), ("yes", "source"), ("BOTH", "both")]
)
def test_old_words_of_transparency(text: str, value: str) -> None:
    assert TRANSPARENT.parse(text) == value


@pytest.mark.parametrize("size", [16, 32])
def test_a_secret(size: int) -> None:
    secret = bytes(range(size))
    kind = secret_bytes("ticketKeySecret")
    assert kind.parse(secret.hex()) == kind.parse(secret.hex(":").upper()) == secret
    assert secret.hex() not in kind.render(secret)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "0" * 31,
        "0" * 33,
        "0" * 64 + "00",
        "00::" + "00" * 15,
        "0:0" * 16,
        "00" * 16 + ":",
        ":" + "00" * 16,
    ],
)
def test_no_secret(text: str) -> None:
    with pytest.raises(BadValue, match="16 or 32"):
        secret_bytes("ticketKeySecret").parse(text)


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("a:SO_REUSEADDR=yes", SocketOption("a", "SO_REUSEADDR", 1)),
        ("l:TCP_NODELAY=0", SocketOption("l", "TCP_NODELAY", 0)),
        ("r:SO_RCVBUF=65536", SocketOption("r", "SO_RCVBUF", 65_536)),
        ("r:SO_LINGER=1:60", SocketOption("r", "SO_LINGER", (1, 60))),
        ("r:SO_LINGER=0", SocketOption("r", "SO_LINGER", (0, 0))),
        ("l:SO_RCVTIMEO=5:250000", SocketOption("l", "SO_RCVTIMEO", (5, 250_000))),
        ("l:SO_SNDTIMEO=5", SocketOption("l", "SO_SNDTIMEO", (5, 0))),
        ("a:SO_BINDTODEVICE=lo", SocketOption("a", "SO_BINDTODEVICE", "lo")),
        ("r : TCP_USER_TIMEOUT = 5".replace(" : ", ":"), SocketOption("r", "TCP_USER_TIMEOUT", 5)),
    ],
)
def test_a_socket_option(text: str, option: SocketOption) -> None:
    assert parse(text) == option
    assert parse(str(option)) == option


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a:",
        "a:b",
        "A:TCP_NODELAY=1",
        "l:TCP_NODELAY=2",
        "l:SO_RCVBUF=",
        "l:SO_LINGER=2",
        "l:SO_LINGER=1:-1",
    ]
    + ["l:SO_RCVTIMEO=5:1000000", "l:SO_BINDTODEVICE=", "l:SO_RCVBUF=4294967296"]
    + [f"a:{name}=1" for name in ELSEWHERE],
)
def test_no_socket_option(text: str) -> None:
    with pytest.raises(BadValue):
        parse(text)


def test_every_socket_option_of_the_manual_is_known() -> None:
    assert len(NAMES) == 32
    assert set(ELSEWHERE) <= set(NAMES)


def test_merging_keeps_what_is_not_named() -> None:
    changed = merge([SocketOption("r", "TCP_NODELAY", 0), SocketOption("r", "SO_RCVBUF", 1)])
    assert len(changed) == len(DEFAULTS) + 1
    assert SocketOption("r", "TCP_NODELAY", 0) in changed
    assert SocketOption("l", "TCP_NODELAY", 1) in changed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ((), ""),
        (True, "yes"),
        (False, "no"),
        (300.0, "300"),
        (0, "0"),
        (("a", "b"), "a, b"),
        ("x", "x"),
    ],
)
def test_values_are_shown_in_the_notation_of_the_file(value: object, text: str) -> None:
    assert render(value) == text


@pytest.mark.parametrize(
    ("word", "near"),
    [("acept", "accept"), ("ACCEPTS", "accept"), ("conect", "connect"), ("zzz", None), ("", None)],
)
def test_the_nearest_word(word: str, near: str | None) -> None:
    assert nearest(word, ("accept", "connect")) == near


def test_a_kind_says_how_it_is_written() -> None:
    kinds: list[Kind] = [YES_NO, ADDRESS, VERSION, DEBUG, RETRY]
    assert all(kind.shown for kind in kinds)
