"""The log lines that operators match on."""

from __future__ import annotations

import re

import pytest

from culvert import tls
from culvert.openssl import Certificate, Context
from culvert.openssl._lib import ffi, lib
from culvert.tls import failure_line, failure_lines, lines
from tests.openssl.memory import Ours, carry, failing, shake
from tests.pki import Pki
from tests.tls.pairs import Log, client, connect, part, server

HTTP_REQUEST, VERIFY_FAILED, UNKNOWN_CA, EOF = 0x0A00009C, 0x0A000086, 0x0A000418, 0x0A000126


@pytest.fixture(autouse=True, scope="module")
def _texts_of_errors_are_loaded() -> None:
    """OpenSSL loads them with the first context of the process."""
    Context(server=True)


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
            (6, "Client certificate not requested"),
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


VERSIONS = ["TLSv1.2", "TLSv1.3"]
REQUEST = re.compile("Received trusted client CA|Client certificate not requested")


def told_of_the_request(near: tls.TlsPolicy, far: tls.TlsPolicy) -> list[tuple[int, str]]:
    ends = connect(near, far)
    found = [line for line in near.handshake_lines(ends[0].session) if REQUEST.match(line[1])]
    assert not any(REQUEST.match(text) for _, text in far.handshake_lines(ends[1].session))
    part(*ends)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_tells_whose_certificates_the_server_takes(pki: Pki, version: str) -> None:
    near = tls.build(client(ssl_version_max=version))
    both = pki.write("lines.ca.pem", pki.root.pem + pki.other_root.pem)
    far = tls.build(server(pki, verify=0, ca_file=str(both)))
    names = [Certificate.from_pem(each.pem).subject for each in (pki.root, pki.other_root)]
    assert told_of_the_request(near, far) == [(6, f"Received trusted client CA: {name}") for name in names]
    assert told_of_the_request(near, far) == []  # resumed: nobody asks


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_tells_that_the_server_takes_any_certificate(pki: Pki, version: str) -> None:
    near, far = tls.build(client(ssl_version_max=version)), tls.build(server(pki, verify=0))
    assert told_of_the_request(near, far) == [(6, "Received trusted client CA list is empty")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_tells_that_nobody_asked_for_its_certificate(pki: Pki, version: str) -> None:
    near, far = tls.build(client(ssl_version_max=version)), tls.build(server(pki))
    assert told_of_the_request(near, far) == [(6, "Client certificate not requested")]


def test_only_the_first_of_very_many_authorities_are_told(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "AUTHORITIES_TOLD", 1)
    both = pki.write("many.ca.pem", pki.root.pem + pki.other_root.pem)
    far = tls.build(server(pki, verify=0, ca_file=str(both)))
    assert len(told_of_the_request(tls.build(client()), far)) == 1


def progress(policy: tls.TlsPolicy, other: tls.TlsPolicy) -> list[tuple[int, str]]:
    """What a policy reports while a connection comes and goes."""
    log = Log()
    server_side = policy.server
    mine, others = Ours(policy.session("there:443", log)), Ours(other.session("there:443"))
    near, far = (others, mine) if server_side else (mine, others)
    shake(near, far)
    part(near, far)
    return [line for line in log.lines if line[1].startswith(("TLS state", "TLS alert"))]


@pytest.mark.parametrize("version", VERSIONS)
def test_states_and_alerts_are_told_where_debug_is_7(pki: Pki, version: str) -> None:
    near = tls.build(client(debug=7, ssl_version_max=version))
    far = tls.build(server(pki, debug=7))
    for policy, other, role in ((far, near, "accept"), (near, far, "connect")):
        told = progress(policy, other)
        assert {level for level, _ in told} == {7}
        texts = [text for _, text in told]
        assert f"TLS state ({role}): SSLv3/TLS read {'client' if policy.server else 'server'} hello" in texts
        assert "TLS alert (write): warning: close notify" in texts
        assert all(text.startswith((f"TLS state ({role}): ", "TLS alert (")) for text in texts)


def test_the_alert_of_a_peer_is_told(pki: Pki) -> None:
    log, far_log = Log(), Log()
    near = Ours(tls.build(client(debug=7)).session("there:443", log))
    far = Ours(tls.build(server(pki, debug=7)).session(None, far_log))
    shake(near, far)
    far.shutdown()
    carry(near, far)
    assert near.read() == b""
    assert "TLS alert (read): warning: close notify" in log.texts
    for end in (near, far):
        end.close()


def test_a_fatal_alert_is_told_by_both(pki: Pki) -> None:
    log, far_log = Log(), Log()
    trusting = client(debug=7, verify_chain=True, ca_file=str(pki.other_ca))
    near = Ours(tls.build(trusting).session("there:443", log))
    far = Ours(tls.build(server(pki, debug=7)).session(None, far_log))
    assert "certificate verify failed" in failing(near, far)
    assert "TLS alert (write): fatal: unknown CA" in log.texts
    assert "TLS alert (read): fatal: unknown CA" in far_log.texts
    for end in (near, far):
        end.close()


def test_below_debug_7_nobody_is_called(pki: Pki) -> None:
    near, far = tls.build(client(debug=6)), tls.build(server(pki, debug=6))
    assert progress(far, near) == []
    assert progress(near, far) == []
    for policy in (near, far):
        session = policy.session("there:443", Log())
        assert lib.SSL_get_info_callback(session._ssl) == ffi.NULL
        session.close()


def test_a_report_that_raises_loses_its_line_and_nothing_else(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_level: int, _text: str) -> None:
        raise ZeroDivisionError("a fault of ours")

    far = tls.build(server(pki, debug=7))
    near, end = Ours(tls.build(client()).session("there:443")), Ours(far.session(None, broken))
    shake(near, end)
    assert near.done
    assert end.done
    assert "a line of the log is lost: ZeroDivisionError" in caplog.text
    part(near, end)
