"""Sessions that come of others: as old as the proof that they stand for, where a peer has to give one."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from culvert import tls
from culvert.openssl import Session
from culvert.openssl._lib import ffi, lib
from culvert.openssl.session import decode_pointer, encode_session
from tests.openssl.memory import End, Ours, Theirs, carry, shake
from tests.pki import Pki
from tests.tls.pairs import Log, client, part, python_client, server

EARLIER = 100
"""Seconds."""


def begun(session: Session) -> int:
    """When the session of a connection begins: seconds since 1970."""
    return int(lib.SSL_SESSION_get_time(lib.SSL_get_session(session._ssl)))


def an_older_one(session: Session) -> Any:
    """The session of a connection as it would be, had it been made EARLIER."""
    pointer = decode_pointer(encode_session(lib.SSL_get_session(session._ssl)))
    older = ffi.gc(pointer, lib.SSL_SESSION_free)
    lib.SSL_SESSION_set_time(older, begun(session) - EARLIER)
    return older


def handshakes(
    judge: str, ours: tls.TlsPolicy, others: ssl.SSLContext | tls.TlsPolicy
) -> list[tuple[bool, int]]:
    """Three handshakes, of which the second resumes an older session: what was resumed, and the ages."""
    seen: list[tuple[bool, int]] = []
    saved: ssl.SSLSession | None = None
    older = None
    for _ in range(3):
        end = Ours(ours.session("x:1" if judge == "client" else None, Log()))
        other: End
        if isinstance(others, ssl.SSLContext):
            other = Theirs(others, name="localhost", session=saved)
        else:
            other = Ours(others.session())
        near, far = (end, other) if judge == "client" else (other, end)
        near.handshake()
        carry(near, far)
        far.handshake()
        if len(seen) == 1:
            assert lib.age_note(end.session._ssl, older)
        shake(near, far)
        seen.append((end.session.resumed, begun(end.session) - (seen[0][1] if seen else 0)))
        older = an_older_one(end.session) if older is None else older
        saved = other.object.session if isinstance(other, Theirs) else None
        part(near, far)
    return seen


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("verified", [True, False])
def test_a_client_that_comes_again_and_again_is_verified_again_in_the_end(
    pki: Pki, tickets: bool, verified: bool
) -> None:
    rules: dict[str, Any] = {"verify_chain": True, "ca_file": str(pki.ca)} if verified else {}
    policy = tls.build(server(pki, options=() if tickets else ("NO_TICKET",), **rules))
    near = python_client(pki, version=ssl.TLSVersion.TLSv1_3, identity=True)
    _, second, third = handshakes("server", policy, near)
    assert second[0]
    assert third[0]
    if verified:
        assert second[1] == third[1] == -EARLIER
    else:
        assert second[1] >= 0


@pytest.mark.parametrize("verified", [True, False])
def test_a_server_to_which_a_client_comes_again_and_again_is_verified_again_in_the_end(
    pki: Pki, verified: bool
) -> None:
    rules: dict[str, Any] = {"verify_chain": True, "ca_file": str(pki.ca)} if verified else {}
    policy = tls.build(client(ssl_version="TLSv1.3", **rules))
    _, second, third = handshakes("client", policy, tls.build(server(pki)))
    assert second[0]
    assert third[0]
    if verified:
        assert second[1] == third[1] == -EARLIER
    else:
        assert second[1] >= 0
