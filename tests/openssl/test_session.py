"""Handshakes in memory, in both roles, against Python's own ssl."""

from __future__ import annotations

import ssl

import pytest

from culvert.errors import TlsError
from culvert.openssl import Certificate, Context, PrivateKey
from tests.openssl.memory import Ours, Theirs, carry, failing, shake, talk
from tests.pki import Identity, Pki

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def serving(identity: Identity) -> Context:
    context = Context(server=True)
    leaf = Certificate.from_pem(identity.pem)
    context.use_identity(leaf, PrivateKey.from_pem(identity.key_pem))
    return context


def browser(pki: Pki, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca))
    if version:
        context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("kind", ["server", "server_rsa"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_session_shakes_hands(pki: Pki, version: ssl.TLSVersion, kind: str) -> None:
    server = Ours(serving(getattr(pki, kind)).session())
    client = Theirs(browser(pki, version), name="localhost")
    shake(client, server)
    assert server.session.version == client.object.version()
    assert server.session.cipher == (client.object.cipher() or ("",))[0]
    assert server.session.cipher_bits in (128, 256)
    assert server.session.server_name == "localhost"
    assert not server.session.resumed
    assert server.session.peer_certificate is None
    server.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_session_shakes_hands(pki: Pki, version: ssl.TLSVersion) -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(str(pki.server.both))
    theirs.minimum_version = theirs.maximum_version = version
    client, server = Ours(Context(server=False).session()), Theirs(theirs, server=True)
    shake(client, server)
    peer = client.session.peer_certificate
    assert peer is not None
    assert peer.subject == "C=PL, O=Culvert Tests, CN=server"
    assert client.session.peer_key == ("X25519", 253)
    client.close()


def test_bytes_travel_both_ways_and_the_end_is_told(pki: Pki) -> None:
    server, client = Ours(serving(pki.server).session()), Theirs(browser(pki), name="localhost")
    shake(client, server)
    talk(client, server, b"x" * 10000)
    talk(server, client, b"y" * 10000)
    server.shutdown()
    carry(client, server)
    assert client.read() == b""
    server.close()


def test_large_records_arrive_in_one_read(pki: Pki) -> None:
    server, client = Ours(serving(pki.server).session()), Theirs(browser(pki), name="localhost")
    shake(client, server)
    data = bytes(range(256)) * 64
    talk(client, server, data)
    server.close()


def test_plain_http_is_told_as_such(pki: Pki) -> None:
    server = Ours(serving(pki.server).session())
    server.receive(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(TlsError) as caught:
        server.handshake()
    assert caught.value.reasons == ("http request",)
    server.close()


def test_an_unknown_authority_is_told_by_its_alert(pki: Pki) -> None:
    server, client = Ours(serving(pki.other_server).session()), Theirs(browser(pki), name="localhost")
    assert "alert unknown ca" in failing(client, server)
    server.close()


def test_a_session_may_be_closed_twice(pki: Pki) -> None:
    session = serving(pki.server).session()
    session.close()
    session.close()


def test_a_closed_session_has_no_facts(pki: Pki) -> None:
    session = serving(pki.server).session()
    session.close()
    with pytest.raises(TlsError, match="gone"):
        _ = session.version


def test_a_session_that_was_taken_over_is_not_freed(pki: Pki) -> None:
    session = serving(pki.server).session()
    session._taken = True
    session.close()
    assert session.version.startswith("TLSv1")
    session._taken = False
    session.close()


def test_a_server_name_that_is_too_long_is_refused() -> None:
    session = Context(server=False).session()
    with pytest.raises(TlsError):
        session.send_name("x" * 256)
    session.close()


def test_a_client_speaks_first() -> None:
    client = Ours(Context(server=False).session())
    client.handshake()
    assert client.to_send().startswith(b"\x16\x03\x01")
    client.close()
