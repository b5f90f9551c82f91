"""The PROXY protocol: what is written, and what is read and refused."""

from __future__ import annotations

import contextlib

import pytest

from culvert.negotiate import proxy_header
from culvert.negotiate.failures import NegotiationFailed
from culvert.negotiate.proxy import tell_version_1, tell_version_2
from culvert.negotiate.proxy_header import SIGNATURE, Certificate, Header, Pair, Place, Secured
from culvert.negotiate.registry import Terms
from culvert.negotiate.steps import Fact, Outcome, Peer, Script
from tests.negotiate.conversing import converse

IPV4 = Pair(Place("192.0.2.1", 1000), Place("192.0.2.2", 443))
IPV6 = Pair(Place("2001:db8::1", 1000), Place("2001:db8::2", 443))
V1 = {
    "ipv4": (IPV4, b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n"),
    "ipv6": (IPV6, b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n"),
    "none": (None, b"PROXY UNKNOWN\r\n"),
}
V2_IPV4 = SIGNATURE + bytes.fromhex("2111000cc0000201c000020203e801bb")
BARE = Secured(b"TLSv1.3", b"TLS_AES_128_GCM_SHA256", b"", b"", None)


def receiving() -> Script:
    return Outcome(memory=(yield from proxy_header.receive(Peer.NEAR)))


@pytest.mark.parametrize(("pair", "line"), V1.values(), ids=V1)
def test_version_1_is_read_as_it_is_written(pair: Pair | None, line: bytes) -> None:
    assert proxy_header.version_1(pair) == line
    assert proxy_header.read_version_1(line) == Header(1, pair)


def test_an_ipv4_client_of_a_listener_for_both_families_is_one() -> None:
    mapped = Pair(Place("::ffff:192.0.2.1", 1000), Place("::ffff:192.0.2.2", 443))
    assert proxy_header.version_1(mapped) == V1["ipv4"][1]


@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize(
    "octets", [*(line for _pair, line in V1.values()), V2_IPV4, V2_IPV4[:12] + b"\x20\0\0\0"]
)
def test_a_header_is_taken_and_what_follows_is_left(octets: bytes, size: int) -> None:
    talk = converse(receiving(), octets + b"\x16\x03", size=size)
    assert talk.left[Peer.NEAR] == b"\x16\x03"
    assert isinstance(talk.outcome and talk.outcome.memory, Header)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01" + bytes(20),
        b"GET / HTTP/1.1\r\n",
        b"PROXY \r\n" + bytes(9),
        b"PROXY TCP4 " + b"1" * 200,
    ],
)
def test_a_peer_without_a_header_is_refused(octets: bytes) -> None:
    with pytest.raises(NegotiationFailed):
        converse(receiving(), octets)


def test_a_pair_of_two_families_is_unknown() -> None:
    assert proxy_header.version_1(Pair(IPV4.source, IPV6.destination)) == b"PROXY UNKNOWN\r\n"


@pytest.mark.parametrize("pair", [IPV4, IPV6, None], ids=["ipv4", "ipv6", "none"])
@pytest.mark.parametrize("secured", [None, BARE], ids=["clear", "tls"])
def test_version_2_is_read_as_it_is_written(pair: Pair | None, secured: Secured | None) -> None:
    written = proxy_header.version_2(pair, secured)
    fixed, body = written[:16], written[16:]
    assert proxy_header.length_of_version_2(fixed) == len(body)
    assert proxy_header.read_version_2(fixed, body) == Header(2, pair)


def test_version_2_without_tls_is_the_known_octets() -> None:
    assert proxy_header.version_2(IPV4, None) == V2_IPV4


@pytest.mark.parametrize(
    ("certificate", "flags", "verify"),
    [
        (None, 0x01, 1),
        (Certificate(0, b"cn", b"RSA-SHA256", b"RSA2048", b"der", True), 0x07, 0),
        (Certificate(0, b"cn", b"RSA-SHA256", b"RSA2048", b"der", False), 0x05, 0),
        (Certificate(18, b"cn", b"RSA-SHA256", b"RSA2048", b"", True), 0x07, 18),
    ],
    ids=["none", "good", "good before", "bad"],
)
def test_the_verify_code_is_0_for_a_verified_certificate_only(
    certificate: Certificate | None, flags: int, verify: int
) -> None:
    written = proxy_header.version_2(
        None, BARE._replace(certificate=certificate, alpn=b"h2", authority=b"a.b")
    )
    tlvs = extensions(written[16:])
    assert (tlvs[0x01], tlvs[0x02]) == (b"h2", b"a.b")
    assert tlvs[0x20][:5] == bytes((flags,)) + verify.to_bytes(4, "big")
    inner = extensions(tlvs[0x20][5:])
    assert inner[0x21] == b"TLSv1.3"
    assert (0x22 in inner) == (certificate is not None)
    assert inner.get(0x28, b"") == (certificate.der if certificate else b"")


def extensions(octets: bytes) -> dict[int, bytes]:
    found = {}
    while octets:
        size = int.from_bytes(octets[1:3], "big")
        found[octets[0]] = octets[3 : 3 + size]
        octets = octets[3 + size :]
    return found


BROKEN_V1 = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\n",
    b"PROXY  TCP4 192.0.2.1 192.0.2.2 1000 443\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443 \r\n",
    b"PROXY TCP4 192.0.2.01 192.0.2.2 1000 443\r\n",
    b"PROXY TCP4 192.0.2 192.0.2.2 1000 443\r\n",
    b"PROXY TCP6 192.0.2.1 192.0.2.2 1000 443\r\n",
    b"PROXY TCP6 fe80::1%lo fe80::2 1000 443\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 01000 443\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 65536\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1000\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 \xd9\xa1 443\r\n",
    b"proxy TCP4 192.0.2.1 192.0.2.2 1000 443\r\n",
    b"PROXY UDP4 192.0.2.1 192.0.2.2 1000 443\r\n",
    b"PROXY\r\n",
    b"GET / HTTP/1.1\r\n",
    b"PROXY TCP6 " + b"0" * 120 + b"\r\n",
)


@pytest.mark.parametrize("line", BROKEN_V1)
def test_a_line_that_breaks_the_rules_is_refused(line: bytes) -> None:
    with pytest.raises(NegotiationFailed):
        proxy_header.read_version_1(line)


@pytest.mark.parametrize(
    "octets",
    [
        SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),  # version 1 in the binary form
        SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),  # a command that is none
        SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),  # no room for the addresses
        SIGNATURE + b"\x21\x21\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\0\x0e" + bytes(12) + b"\x01\0",  # an extension that is cut short
        SIGNATURE + b"\x21\x11\0\x10" + bytes(12) + b"\x01\0\x05h",
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(12),
        b"\0" * 16,
    ],
)
def test_a_binary_header_that_breaks_the_rules_is_refused(octets: bytes) -> None:
    with pytest.raises(NegotiationFailed):
        converse(receiving(), octets)


@pytest.mark.parametrize(
    "octets",
    [
        SIGNATURE + b"\x20\x11\0\x0c" + bytes(12),  # LOCAL: whatever the addresses are
        SIGNATURE + b"\x21\0\0\0",
        SIGNATURE + b"\x21\x31\0\xd8" + bytes(216),  # Unix
        SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),  # UDP
    ],
)
def test_a_header_without_addresses_leaves_the_peer_as_it_is(octets: bytes) -> None:
    assert proxy_header.read_version_2(octets[:16], octets[16:]).pair is None


def test_the_backend_is_told_first_of_all() -> None:
    facts = {Fact.PEER_ADDRESS: tuple(IPV4.source), Fact.OWN_ADDRESS: tuple(IPV4.destination)}
    assert converse(tell_version_1(Terms()), facts=facts).sent[Peer.FAR] == V1["ipv4"][1]
    sent = converse(tell_version_2(Terms()), facts={**facts, Fact.SECURED: None}).sent[Peer.FAR]
    assert sent == V2_IPV4
    unknown = {Fact.PEER_ADDRESS: None, Fact.OWN_ADDRESS: None}
    assert converse(tell_version_1(Terms()), facts=unknown).sent[Peer.FAR] == V1["none"][1]


@pytest.mark.parametrize(
    "octets", [V1["ipv4"][1], V2_IPV4[:13] + b"\x11\0\x13" + V2_IPV4[16:] + b"\4\0\4none"]
)
def test_a_header_with_any_octet_changed_is_understood_or_refused(octets: bytes) -> None:
    for place in range(len(octets)):
        for octet in {0, 1, 0x7F, 0x80, 0xFF} - {octets[place]}:
            changed = octets[:place] + bytes((octet,)) + octets[place + 1 :] + bytes(300)
            with contextlib.suppress(NegotiationFailed):
                converse(receiving(), changed)
