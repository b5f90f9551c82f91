"""The log lines that operators match on."""

from __future__ import annotations

import re

import pytest

from culvert import tls
from culvert.tls import failure_line, failure_lines
from tests.pki import Pki
from tests.tls.pairs import client, connect, part, server

HTTP_REQUEST, VERIFY_FAILED, UNKNOWN_CA, EOF = 0x0A00009C, 0x0A000086, 0x0A000418, 0x0A000126


@pytest.mark.parametrize(
    ("codes", "line"),
    [
        ((HTTP_REQUEST,), "SSL_accept: 0A00009C: error:0A00009C:SSL routines::http request"),
        ((VERIFY_FAILED,), "SSL_accept: 0A000086: error:0A000086:SSL routines::certificate verify failed"),
        (
            (UNKNOWN_CA,),
            "SSL_accept: 0A000418: error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48",
        ),
        ((EOF,), "SSL_accept: 0A000126: error:0A000126:SSL routines::unexpected eof while reading"),
        ((), "SSL_accept: Peer suddenly disconnected"),
    ],
)
def test_a_failure_is_told_as_stunnel_tells_it(codes: tuple[int, ...], line: str) -> None:
    assert failure_line("SSL_accept", codes) == line
    assert list(failure_lines(True, codes)) == [(3, line)]


def test_a_client_names_its_own_call() -> None:
    ((level, text),) = failure_lines(False, (VERIFY_FAILED,))
    assert level == 3
    assert text.startswith("SSL_connect: ")


def test_an_error_of_the_socket_is_told_by_its_number() -> None:
    assert list(failure_lines(True, (), 104)) == [(3, "SSL_accept: Connection reset by peer (104)")]


def test_the_rest_of_the_queue_comes_first_and_backwards() -> None:
    lines = [text for _, text in failure_lines(True, (HTTP_REQUEST, VERIFY_FAILED, EOF, EOF))]
    assert [line.split(":")[0] for line in lines] == ["error queue", "error queue", "SSL_accept"]
    assert "unexpected eof" in lines[0]


def test_the_address_stands_at_the_end_when_it_is_known() -> None:
    ((_, text),) = failure_lines(True, (HTTP_REQUEST,), client="192.0.2.1:5000")
    assert text.endswith("http request: client 192.0.2.1:5000")


def matching(lines: list[tuple[int, str]], patterns: list[tuple[int, str]]) -> None:
    assert len(lines) == len(patterns), lines
    for (level, text), (wanted, pattern) in zip(lines, patterns, strict=True):
        assert level == wanted, text
        assert re.fullmatch(pattern, text), (text, pattern)


def test_a_servers_handshake_reads_as_stunnels(pki: Pki) -> None:
    far = tls.build(server(pki))
    ends = connect(tls.build(client()), far)
    matching(
        list(far.before_lines(ends[1].session)),
        [
            (6, "Peer certificate not required"),
            (7, "SNI: no virtual services defined"),
        ],
    )
    matching(
        list(far.handshake_lines(ends[1].session)),
        [
            (6, "Session id: [0-9A-F]{64}"),
            (6, "TLS accepted: new session negotiated"),
            (6, r"TLSv1\.3 ciphersuite: TLS_AES_256_GCM_SHA384 \(256-bit encryption\)"),
            (6, "Peer temporary key: X25519, 253 bits"),
            (6, r"Negotiated TLSv1\.3 group: x25519"),
            (7, "Compression: null, expansion: null"),
        ],
    )
    part(*ends)


def test_a_clients_handshake_reads_as_stunnels(pki: Pki) -> None:
    near = tls.build(client(curves="P-256", sni="there", verify_chain=True, ca_file=str(pki.ca)))
    far = tls.build(server(pki))
    first = connect(near, far)
    matching(
        list(near.handshake_lines(first[0].session)),
        [
            (6, "Session id: [0-9A-F]{64}"),
            (6, "TLS connected: new session negotiated"),
            (6, r"TLSv1\.3 ciphersuite: TLS_AES_256_GCM_SHA384 \(256-bit encryption\)"),
            (6, "Peer temporary key: ECDH, P-256, 256 bits"),
            (6, r"Negotiated TLSv1\.3 group: secp256r1"),
            (7, "Compression: null, expansion: null"),
            (7, r"Peer certificate was cached \([0-9]+ bytes\)"),
        ],
    )
    part(*first)
    session = near.session("there:443")
    matching(
        list(near.before_lines(session)),
        [
            (6, "Peer certificate required"),
            (6, "SNI: sending servername: there"),
            (6, "Attempting to resume: [0-9A-F]{64}"),
        ],
    )
    session.close()
    second = near.session("elsewhere:443")
    assert (7, "No previous session to resume") in list(near.before_lines(second))
    second.close()


def test_a_resumed_session_is_told(pki: Pki) -> None:
    near, far = tls.build(client()), tls.build(server(pki))
    part(*connect(near, far))
    ends = connect(near, far)
    assert (6, "TLS accepted: previous session reused") in list(far.handshake_lines(ends[1].session))
    assert (6, "TLS connected: previous session reused") in list(near.handshake_lines(ends[0].session))
    part(*ends)


def test_a_missing_client_certificate_is_told(pki: Pki) -> None:
    far = tls.build(server(pki, verify=0))
    ends = connect(tls.build(client(sni="")), far)
    assert (6, "No peer certificate received") in list(far.handshake_lines(ends[1].session))
    part(*ends)


def test_a_client_without_a_name_says_so() -> None:
    policy = tls.build(client(sni=""))
    session = policy.session()
    assert (6, "SNI: extension disabled") in list(policy.before_lines(session))
    session.close()
