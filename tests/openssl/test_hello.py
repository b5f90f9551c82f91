"""What a ClientHello says of sessions; nothing in it is believed before OpenSSL has read it, too."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert import tls
from culvert.config.values import Address
from culvert.openssl._lib import lib
from culvert.openssl.hello import IDS_MAX, shared_key_ids, speaks_tls13
from tests.openssl.memory import Ours, Theirs, carry, shake
from tests.pki import Pki
from tests.tls.pairs import part, python_client, server

ONE, OTHER = bytes(range(32)), bytes(range(32, 64))
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def identity(name: bytes) -> bytes:
    return len(name).to_bytes(2, "big") + name + b"\0\0\0\0"


def extension(*names: bytes, binders: bytes = b"\x00\x21\x20" + bytes(32)) -> bytes:
    listed = b"".join(map(identity, names))
    return len(listed).to_bytes(2, "big") + listed + binders


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((ONE,), (ONE,)),
        ((b"ticket" * 40, ONE), (ONE,)),
        ((ONE, OTHER), (ONE, OTHER)),
        ((b"short",), ()),
        ((ONE,) * 50, (ONE,) * IDS_MAX),
    ],
)
def test_identities_of_the_size_of_an_id_are_found(
    names: tuple[bytes, ...], found: tuple[bytes, ...]
) -> None:
    assert shared_key_ids(extension(*names)) == found


def test_an_extension_that_is_cut_off_has_none() -> None:
    whole = extension(ONE, binders=b"")
    for size in range(len(whole)):
        assert shared_key_ids(whole[:size]) == ()
    assert shared_key_ids(b"\x00\x24" + whole[2:]) == ()


@given(st.binary(max_size=300))
def test_no_extension_is_an_error(octets: bytes) -> None:
    assert all(len(each) == 32 for each in shared_key_ids(octets))
    speaks_tls13(octets)


@pytest.mark.parametrize(
    ("versions", "speaks"),
    [
        ("020304", True),
        ("0403030304", True),
        ("020303", False),
        ("", False),
        ("04030303", False),
        ("00", False),
    ],
)
def test_tls13_is_found_among_the_versions(versions: str, speaks: bool) -> None:
    assert speaks_tls13(bytes.fromhex(versions)) is speaks


class Elsewhere:
    """A remote store that is asked in memory."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []

    def keep(self, key: bytes, session: bytes, seconds: int) -> None:
        self.kept[key] = session

    def forget(self, key: bytes) -> None:
        self.kept.pop(key, None)

    async def fetch(self, key: bytes) -> bytes | None:
        self.asked.append(key)
        return self.kept.get(key)


class Patient(Ours):
    """Stands still while a session is looked up, as the engine does."""

    def handshake(self) -> None:
        result = lib.SSL_do_handshake(self.session._ssl)
        if lib.SSL_get_error(self.session._ssl, result) == lib.SSL_ERROR_WANT_CLIENT_HELLO_CB:
            answering = self.session.answer()
            with pytest.raises(StopIteration):
                answering.send(None)
            result = lib.SSL_do_handshake(self.session._ssl)
        self.done = result == 1
        self._expect(result, "shake hands")


def fleet(pki: Pki, elsewhere: Elsewhere, **options: Any) -> tls.TlsPolicy:
    policy = tls.build(server(pki, sessiond=Address(host="127.0.0.1", port="1"), **options))
    policy.share_sessions(elsewhere)
    return policy


def meet(
    context: ssl.SSLContext, policy: tls.TlsPolicy, saved: ssl.SSLSession | None = None
) -> tuple[bool, ssl.SSLSession | None]:
    near, far = Theirs(context, name="localhost", session=saved), Patient(policy.session())
    shake(near, far)
    again, kept = far.session.resumed, near.object.session
    part(near, far)
    return again, kept


@pytest.mark.parametrize("version", [V12, V13])
def test_a_session_from_elsewhere_is_resumed(pki: Pki, version: ssl.TLSVersion) -> None:
    elsewhere, context = Elsewhere(), python_client(pki, version=version)
    one, other = fleet(pki, elsewhere), fleet(pki, elsewhere)
    _, saved = meet(context, one)
    assert not elsewhere.asked
    assert meet(context, other, saved)[0]
    assert len(elsewhere.asked) == 1


@pytest.mark.parametrize("version", [V12, V13])
def test_what_is_near_by_is_not_asked_for(pki: Pki, version: ssl.TLSVersion) -> None:
    elsewhere, context = Elsewhere(), python_client(pki, version=version)
    one = fleet(pki, elsewhere)
    _, saved = meet(context, one)
    assert meet(context, one, saved)[0]
    assert not elsewhere.asked


def test_a_new_client_is_not_asked_for(pki: Pki) -> None:
    """In TLS 1.3 it names an id, too, which means nothing (RFC 8446, D.4)."""
    elsewhere = Elsewhere()
    assert not meet(python_client(pki), fleet(pki, elsewhere))[0]
    assert not elsewhere.asked


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("forged", ["another session", "nonsense", "cut off", "empty"])
def test_a_false_answer_makes_a_full_handshake(pki: Pki, forged: str, version: ssl.TLSVersion) -> None:
    elsewhere, context = Elsewhere(), python_client(pki, version=version)
    one, other = fleet(pki, elsewhere), fleet(pki, elsewhere)
    meet(context, one)
    (strange,) = elsewhere.kept.values()
    elsewhere.kept.clear()
    _, saved = meet(context, one)
    (key,) = elsewhere.kept
    true = elsewhere.kept[key]
    elsewhere.kept[key] = {
        "another session": strange,
        "nonsense": b"\x30\x82" + bytes(200),
        "cut off": true[:-20],
        "empty": b"",
    }[forged]
    assert not meet(context, other, saved)[0]
    assert elsewhere.asked == [key]


def test_a_session_of_other_rules_is_not_taken_from_elsewhere(pki: Pki) -> None:
    elsewhere, context = Elsewhere(), python_client(pki, version=V12, identity=True)
    one = fleet(pki, elsewhere)
    other = fleet(pki, elsewhere, verify_chain=True, ca_file=str(pki.ca))
    _, saved = meet(context, one)
    assert not meet(context, other, saved)[0]
    assert len(elsewhere.asked) == 1


def test_a_session_that_is_cut_is_forgotten_elsewhere(pki: Pki) -> None:
    elsewhere, context = Elsewhere(), python_client(pki, version=V12)
    one = fleet(pki, elsewhere)
    near, far = Theirs(context, name="localhost"), Patient(one.session())
    shake(near, far)
    assert elsewhere.kept
    far.close()
    assert not elsewhere.kept
    assert not carry(near, Theirs(context))
