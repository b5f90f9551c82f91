"""Callbacks that raise: the handshake ends, one line is logged, nothing else is hurt."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

import pytest

from culvert.openssl import Certificate, Context, PrivateKey
from culvert.openssl._callbacks import Finding, Report
from culvert.openssl.session import SavedSession
from tests.openssl.memory import Ours, Theirs, carry, failing, shake
from tests.pki import Pki


class Believer:
    """Accepts everybody."""

    def judge(self, _finding: Finding, _report: Report) -> bool:
        return True


class Confused:
    """Fails at some certificate; ``when`` says at which."""

    def __init__(self, when: Callable[[Finding], bool] = lambda _: True) -> None:
        self._when = when

    def judge(self, finding: Finding, _report: Report) -> bool:
        if self._when(finding):
            raise ZeroDivisionError("a fault of ours")
        return True


class Store:
    """A session store that can be made to fail in one of its methods."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.held: dict[bytes, bytes] = {}

    def _check(self, method: str) -> None:
        if method == self.broken:
            raise ZeroDivisionError("a fault of ours")

    def keep(self, key: bytes, session: bytes) -> None:
        self._check("keep")
        self.held[key] = session

    def find(self, key: bytes) -> bytes | None:
        self._check("find")
        return self.held.get(key)

    def forget(self, key: bytes) -> None:
        self._check("forget")
        self.held.pop(key, None)


class Forgetful:
    """A client's memory that fails."""

    def keep(self, _destination: int, _session: SavedSession) -> None:
        raise ZeroDivisionError("a fault of ours")

    def forget(self, _destination: int, _key: bytes) -> None:
        raise ZeroDivisionError("a fault of ours")


def serving(pki: Pki, store: Store | None = None) -> Context:
    context = Context(server=True)
    leaf = Certificate.from_pem(pki.server.pem)
    context.use_identity(leaf, PrivateKey.from_pem(pki.server.key_pem))
    context.set_session_context(b"test")
    context.trust([Certificate.from_pem(pki.root.pem)])
    if store is not None:
        context.share_sessions(store)
    return context


def python_client(pki: Pki, *, tickets: bool = True, old: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(str(pki.client.both))
    if old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    return context


def only_line(caplog: pytest.LogCaptureFixture) -> str:
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.ERROR
    return caplog.records[0].getMessage()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "when", [lambda _: True, lambda f: f.depth == 0, lambda f: f.depth > 0], ids=["all", "leaf", "above"]
)
def test_a_verifier_that_raises_ends_the_handshake(
    pki: Pki, caplog: pytest.LogCaptureFixture, old: bool, when: Callable[[Finding], bool]
) -> None:
    context = serving(pki)
    context.verify(Confused(when), require=True)
    server, client = Ours(context.session()), Theirs(python_client(pki, old=old), name="localhost")
    assert "certificate verify failed" in failing(client, server)
    assert "ZeroDivisionError: a fault of ours" in only_line(caplog)
    server.close()


def test_a_report_that_raises_ends_the_handshake(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    class Talkative(Believer):
        def judge(self, finding: Finding, report: Report) -> bool:
            report(5, "a line")
            return super().judge(finding, report)

    def full(_level: int, _text: str) -> None:
        raise OSError("the disk is full")

    context = serving(pki)
    context.verify(Talkative(), require=True)
    server, client = Ours(context.session(full)), Theirs(python_client(pki), name="localhost")
    assert "certificate verify failed" in failing(client, server)
    assert "OSError" in only_line(caplog)
    server.close()


def test_one_verification_that_fails_does_not_hurt_the_next(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = [True]
    context = serving(pki)
    context.verify(Confused(lambda _: faulty.pop() if faulty else False), require=True)
    broken, client = Ours(context.session()), Theirs(python_client(pki), name="localhost")
    failing(client, broken)
    healthy, client = Ours(context.session()), Theirs(python_client(pki), name="localhost")
    shake(client, healthy)
    assert healthy.session.peer_certificate is not None
    only_line(caplog)
    broken.close()
    healthy.close()


def test_a_leaf_that_was_never_accepted_is_refused(pki: Pki) -> None:
    class Deaf:
        """Never says yes to the leaf, only to those above it."""

        def judge(self, finding: Finding, _report: Report) -> bool:
            return finding.depth > 0

    context = serving(pki)
    context.verify(Deaf(), require=True)
    server, client = Ours(context.session()), Theirs(python_client(pki), name="localhost")
    assert "certificate verify failed" in failing(client, server)
    server.close()


def test_a_session_that_nobody_holds_is_refused(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    context = serving(pki)
    context.verify(Believer(), require=True)
    server, client = Ours(context.session()), Theirs(python_client(pki), name="localhost")
    orphan = context.session()
    orphan._ssl, server.session._ssl = server.session._ssl, orphan._ssl
    kept, server.session = server.session, orphan  # the Session of this SSL goes away
    del kept
    assert "certificate verify failed" in failing(client, server)
    assert "KeyError" in only_line(caplog)
    server.close()


@pytest.mark.parametrize("old", [False, True])
def test_a_look_up_that_raises_ends_the_handshake(
    pki: Pki, caplog: pytest.LogCaptureFixture, old: bool
) -> None:
    store = Store()
    context = serving(pki, store)
    context.set_options(1 << 14)  # NO_TICKET
    context.verify(Believer(), require=True)
    settings = python_client(pki, old=old)
    first, client = Ours(context.session()), Theirs(settings, name="localhost")
    shake(client, first)
    saved = client.object.session
    assert store.held
    store.broken = "find"
    second, again = Ours(context.session()), Theirs(settings, name="localhost", session=saved)
    assert failing(again, second).startswith(("no suitable", "no shared"))
    assert "ZeroDivisionError" in only_line(caplog)
    store.broken = ""
    third, last = Ours(context.session()), Theirs(settings, name="localhost")
    shake(last, third)
    for end in (first, second, third):
        store.broken = ""
        end.close()


def test_a_session_that_cannot_be_stored_is_only_never_resumed(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store("keep")
    context = serving(pki, store)
    settings = python_client(pki, tickets=False, old=True)
    server, client = Ours(context.session()), Theirs(settings, name="localhost")
    shake(client, server)
    assert "ZeroDivisionError" in only_line(caplog)
    saved = client.object.session
    store.broken = ""
    again, client = Ours(context.session()), Theirs(settings, name="localhost", session=saved)
    shake(client, again)
    assert not again.session.resumed
    server.close()
    again.close()


def test_a_session_that_cannot_be_forgotten_is_logged_once(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store("forget")
    context = serving(pki, store)
    settings = python_client(pki, tickets=False, old=True)
    server, client = Ours(context.session()), Theirs(settings, name="localhost")
    shake(client, server)
    server.close()  # without close_notify: OpenSSL drops the session
    assert "ZeroDivisionError" in only_line(caplog)


def test_a_connection_that_was_cut_takes_its_session_along(pki: Pki) -> None:
    store = Store()
    context = serving(pki, store)
    settings = python_client(pki, tickets=False, old=True)
    cut, client = Ours(context.session()), Theirs(settings, name="localhost")
    shake(client, cut)
    assert len(store.held) == 1
    cut.close()
    assert not store.held


def test_stateless_tickets_never_reach_python(pki: Pki) -> None:
    store = Store("keep")  # would be logged
    store.broken = "keep"
    context = serving(pki, store)
    server, client = Ours(context.session()), Theirs(python_client(pki), name="localhost")
    shake(client, server)
    assert client.object.version() == "TLSv1.3"
    assert not store.held
    server.close()


def test_a_clients_memory_that_raises_is_logged_once(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(str(pki.server.both))
    theirs.num_tickets = 1
    context = Context(server=False)
    context.remember_sessions(Forgetful())
    client, server = Ours(context.session(destination=1)), Theirs(theirs, server=True)
    shake(client, server)
    assert "ZeroDivisionError" in only_line(caplog)
    client.close()


def test_a_context_that_is_gone_stores_nothing_and_harms_nothing(pki: Pki) -> None:
    store = Store()
    context = serving(pki, store)
    settings = python_client(pki, tickets=False, old=True)
    server, client = Ours(context.session()), Theirs(settings, name="localhost")
    server.session.context = Context(server=True)  # as after a reload: only OpenSSL still holds the old one
    del context
    shake(client, server)
    assert not store.held
    carry(client, server)
    server.close()
