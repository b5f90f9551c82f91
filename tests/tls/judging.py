"""One handshake of two policies, and what the side that judges had to say."""

from __future__ import annotations

from typing import Any

from culvert import tls
from tests.openssl.memory import Ours, failing
from tests.pki import Identity, Pki
from tests.tls.pairs import Log, client, server

BOTH = ("server", "client")
"""The mode of the side that judges."""


def judged(pki: Pki, mode: str, peer: Identity | None, **rules: Any) -> tuple[str | None, Log]:
    """Why a service with these rules refused a peer, None when it did not; and its log."""
    shown = {"cert": (str(peer.both),)} if peer else {}
    judge = server(pki, **rules) if mode == "server" else client(**rules)
    other = client(**shown) if mode == "server" else server(pki, **shown)
    return outcome(mode, tls.build(judge), tls.build(other))


def outcome(mode: str, judge: tls.TlsPolicy, other: tls.TlsPolicy) -> tuple[str | None, Log]:
    """The same for policies."""
    log = Log()
    ours = Ours(judge.session("there" if mode == "client" else None, log))
    theirs = Ours(other.session("there" if mode == "server" else None))
    ends = (theirs, ours) if mode == "server" else (ours, theirs)
    try:
        return failing(*ends), log
    except AssertionError:
        return None, log
    finally:
        ours.close()
        theirs.close()
