"""What clients may choose as their destination: the forms of a loopback address, and the order of rules."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest

from culvert.net.addresses import endpoint
from culvert.net.destinations import Destinations, Network


def judged(rules: Destinations, host: str, scope: int = 0) -> str | None:
    if ":" in host:
        return rules.refusal(endpoint(socket.AF_INET6, (host, 80, 0, scope)))
    return rules.refusal(endpoint(socket.AF_INET, (host, 80)))


def nets(*texts: str) -> list[Network]:
    return [ipaddress.ip_network(each) for each in texts]


def away(_family: int, _number: bytes) -> bool:
    return True


HOME = (
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.169.254", "224.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "febf::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::127.0.0.1", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::1", "2001:0:7f00:1::",
    "2001:0:808:808:0:0:80ff:fffe", "2001:db8::5efe:7f00:1", "2001:db8::200:5efe:7f00:1",
)  # fmt: skip


@pytest.mark.parametrize("host", HOME)
def test_every_form_of_an_address_of_this_machine_is_refused(host: str) -> None:
    assert judged(Destinations(away=away), host)


def test_a_scope_does_not_hide_a_link_local_address() -> None:
    assert judged(Destinations(away=away), "fe80::1", scope=1)


@pytest.mark.parametrize("host", ["8.8.8.8", "10.0.0.1", "2001:db8::1", "fd00::1", "64:ff9b::808:808"])
def test_addresses_of_other_machines_are_open(host: str) -> None:
    assert judged(Destinations(away=away), host) is None


def test_what_the_kernel_calls_its_own_is_refused() -> None:
    rules = Destinations(away=lambda _family, number: number != b"\x0a\x00\x00\x01")
    assert judged(rules, "10.0.0.1") == "an address of this machine"
    assert judged(rules, "64:ff9b::a00:1") == "an address of this machine"
    assert judged(rules, "10.0.0.2") is None


def test_the_kernel_really_is_asked() -> None:
    own = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    addresses = [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(each[0])) for each in own if each[3] != "20"]
    open_to_all = [each for each in addresses if not each.startswith("::1")]
    if not open_to_all:
        pytest.skip("no interface but loopback")
    for each in open_to_all:
        assert judged(Destinations(), each)
    assert judged(Destinations(), "127.0.0.1")
    assert judged(Destinations(allow=nets("127.0.0.0/8")), "127.0.0.9") is None


def test_a_kernel_that_does_not_answer_opens_nothing() -> None:
    def mute(_family: int, _number: bytes) -> bool:
        raise OSError(13, "Permission denied")

    assert "Permission denied" in (judged(Destinations(away=mute), "8.8.8.8") or "")


def test_the_most_specific_network_decides() -> None:
    rules = Destinations(
        allow=nets("10.1.0.0/16", "10.1.2.3"), deny=nets("0.0.0.0/0", "10.1.2.0/24"), away=away
    )
    assert judged(rules, "8.8.8.8") == "0.0.0.0/0 is denied"
    assert judged(rules, "10.1.9.9") is None
    assert judged(rules, "10.1.2.9") == "10.1.2.0/24 is denied"
    assert judged(rules, "10.1.2.3") is None


def test_deny_goes_before_allow_for_the_same_network() -> None:
    assert judged(Destinations(allow=nets("10.0.0.0/8"), deny=nets("10.0.0.0/8"), away=away), "10.1.1.1")


def test_only_a_network_within_opens_what_is_refused_by_default() -> None:
    assert judged(Destinations(allow=nets("0.0.0.0/0", "::/0"), away=away), "127.0.0.1")
    assert judged(Destinations(allow=nets("127.0.0.1"), away=lambda *_: False), "127.0.0.1") is None
    assert judged(Destinations(allow=nets("127.0.0.0/8"), away=away), "127.1.1.1") is None
    assert judged(Destinations(allow=nets("127.0.0.1"), away=away), "127.0.0.2")


def test_an_own_address_is_opened_by_its_name_alone() -> None:
    assert judged(Destinations(allow=nets("10.0.0.0/8"), away=lambda *_: False), "10.0.0.5")
    assert judged(Destinations(allow=nets("10.0.0.5"), away=lambda *_: False), "10.0.0.5") is None


def test_a_denied_network_is_denied_in_every_form() -> None:
    rules = Destinations(deny=nets("10.0.0.0/8"), away=away)
    for host in ("10.1.1.1", "::ffff:10.1.1.1", "64:ff9b::a01:101", "2002:a01:101::"):
        assert judged(rules, host) == "10.0.0.0/8 is denied"
