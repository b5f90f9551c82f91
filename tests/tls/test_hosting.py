"""Services that share an address: which certificate, which rules, and whose sessions."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from culvert import tls
from culvert.config.model import Service
from culvert.errors import ConfigErrors, TlsError
from culvert.openssl import Certificate
from culvert.openssl.switching import Switch, name_in
from tests.openssl.memory import Ours, Theirs, failing, shake
from tests.pki import Identity, Pki
from tests.tls.pairs import Log, client, connect, part, python_client, server

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
each_version = pytest.mark.parametrize("version", list(VERSIONS))


class Site:
    """A service and those that share its address, each with a name as pattern."""

    def __init__(self, home: Service, *hosted: Service) -> None:
        builder = tls.Builder((home, *hosted))
        self.policies = {each.name: builder.build(each) for each in (home, *hosted)}
        self.home = self.policies[home.name]
        self.names: list[bytes | None] = []

    def end(self, log: Log | None = None) -> Ours:
        """A server's end for one connection."""
        return Ours(self.home.session(None, log or Log(), self._choose))

    def _choose(self, name: bytes | None) -> Switch | None:
        self.names.append(name)
        chosen = self.policies.get((name or b"").decode(errors="replace"))
        return None if chosen is None else chosen.switch


def hosted(pki: Pki, name: str, identity: Identity | None = None, **options: Any) -> Service:
    files = (str((identity or pki.server).both),)
    return Service(**{"name": name, "sni": (f"server:{name}",), "cert": files, **options})


def browser(
    pki: Pki, name: str | None, version: str, *, session: ssl.SSLSession | None = None, identity: bool = False
) -> Theirs:
    context = python_client(pki, version=VERSIONS[version], identity=identity)
    context.check_hostname = False
    return Theirs(context, name=name, session=session)


def shown(near: Theirs) -> bytes | None:
    return near.object.getpeercert(binary_form=True)


def der(identity: Identity) -> bytes:
    return Certificate.from_pem(identity.pem).der


@each_version
def test_each_name_is_shown_its_certificate(pki: Pki, version: str) -> None:
    site = Site(server(pki), hosted(pki, "a.example", pki.chained), hosted(pki, "b.example", pki.wrong_name))
    for name, identity in (
        ("a.example", pki.chained),
        ("b.example", pki.wrong_name),
        ("c.example", pki.server),
        (None, pki.server),
    ):
        near, far = browser(pki, name, version), site.end()
        if identity is pki.chained:  # verified by the client: its intermediate is sent, too
            assert near.object.context.verify_mode == ssl.CERT_REQUIRED
        shake(near, far)
        assert shown(near) == der(identity)
        part(near, far)
    assert site.names == [b"a.example", b"b.example", b"c.example", None]


@each_version
@pytest.mark.parametrize(("kind", "signature"), [("rsa", "RSA"), ("ec", "ECDSA")])
def test_a_name_may_have_a_certificate_for_each_kind_of_key(
    pki: Pki, version: str, kind: str, signature: str
) -> None:
    both = (str(pki.server.both), str(pki.server_rsa.both))
    site = Site(server(pki), hosted(pki, "a.example", cert=both))
    near = tls.build(client(sni="a.example", ssl_version=version, config=(_only(signature),)))
    ends = Ours(near.session("x:1", Log())), site.end()
    shake(*ends)
    certificate = ends[0].session.peer_certificate
    assert certificate is not None
    assert certificate.der == der(pki.server_rsa if kind == "rsa" else pki.server)
    part(*ends)


def _only(signature: str) -> str:
    return f"SignatureAlgorithms:{'rsa_pss_rsae_sha256' if signature == 'RSA' else 'ECDSA+SHA256'}"


def test_services_that_agree_share_a_context(pki: Pki) -> None:
    site = Site(
        server(pki),
        hosted(pki, "a.example", pki.chained, timeout_idle=1.0),
        hosted(pki, "b.example", pki.wrong_name),
        hosted(pki, "c.example", ssl_version_max="TLSv1.2"),
    )
    contexts = [site.policies[name].switch.context for name in ("a.example", "b.example", "c.example")]  # type: ignore[union-attr]
    assert contexts[0] is contexts[1]
    assert contexts[1] is not contexts[2]


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"ssl_version_max": "TLSv1.2"}, {"version": "TLSv1.2"}),
        ({"ciphersuites": "TLS_CHACHA20_POLY1305_SHA256"}, {"cipher": "TLS_CHACHA20_POLY1305_SHA256"}),
        (
            {"ssl_version_max": "TLSv1.2", "ciphers": "ECDHE-ECDSA-AES128-SHA256"},
            {"cipher": "ECDHE-ECDSA-AES128-SHA256"},
        ),
        ({"curves": "P-384"}, {"peer_key": ("ECDH, P-384", 384)}),
        ({"config": ("Groups:P-384",)}, {"peer_key": ("ECDH, P-384", 384)}),
    ],
    ids=str,
)
def test_a_name_may_be_spoken_to_in_another_way(
    pki: Pki, options: dict[str, Any], facts: dict[str, Any]
) -> None:
    site = Site(server(pki), hosted(pki, "a.example", **options), hosted(pki, "b.example"))
    near = tls.build(client(sni="a.example"))
    ends = Ours(near.session("x:1")), site.end()
    shake(*ends)
    assert {fact: getattr(ends[1].session, fact) for fact in facts} == facts
    part(*ends)


def test_a_name_may_allow_what_the_others_do_not(pki: Pki) -> None:
    site = Site(server(pki, ssl_version_min="TLSv1.3"), hosted(pki, "a.example", ssl_version_max="TLSv1.2"))
    for name, works in (("a.example", True), ("b.example", False)):
        ends = browser(pki, name, "TLSv1.2"), site.end()
        if works:
            shake(*ends)
        else:
            assert failing(*ends)
        ends[1].close()


@each_version
def test_a_name_may_ask_for_certificates_where_the_others_do_not(pki: Pki, version: str) -> None:
    rules = {"verify_chain": True, "require_cert": True, "ca_file": str(pki.ca)}
    site = Site(server(pki), hosted(pki, "a.example", None, **rules), hosted(pki, "b.example"))
    for name, identity, works in (
        ("a.example", True, True),
        ("a.example", False, False),
        ("b.example", False, True),
        ("b.example", True, True),
    ):
        log = Log()
        ends = browser(pki, name, version, identity=identity), site.end(log)
        if works:
            shake(*ends)
            peer = ends[1].session.peer_certificate
            assert (peer is not None) is (name == "a.example")
            part(*ends)
        else:
            assert "peer did not return a certificate" in failing(*ends)
            ends[1].close()


@each_version
def test_the_others_may_ask_for_certificates_where_a_name_does_not(pki: Pki, version: str) -> None:
    rules = {"verify_chain": True, "require_cert": True, "ca_file": str(pki.ca)}
    site = Site(server(pki, **rules), hosted(pki, "a.example"))
    ends = browser(pki, "a.example", version), site.end()
    shake(*ends)
    part(*ends)
    ends = browser(pki, "b.example", version), site.end()
    assert "peer did not return a certificate" in failing(*ends)
    ends[1].close()


@each_version
def test_pre_shared_keys_are_those_of_the_name(pki: Pki, version: str, tmp_path: Any) -> None:
    for name, line in (("here", "alice:this is the key of a"), ("there", "alice:this is the key of b")):
        (tmp_path / name).write_text(line + "\n")
    site = Site(
        server(pki),
        hosted(pki, "a.example", cert=(), psk_secrets=str(tmp_path / "here")),
        hosted(pki, "b.example", cert=(), psk_secrets=str(tmp_path / "there")),
    )
    for name, works in (("a.example", True), ("b.example", False), ("c.example", False)):
        near = tls.build(client(sni=name, psk_secrets=str(tmp_path / "here"), ssl_version=version))
        log = Log()
        ends = Ours(near.session("x:1")), site.end(log)
        if works:
            shake(*ends)
            assert log.lines == [(5, 'Key configured for PSK identity "alice"')]
        else:
            assert failing(*ends)
        for end in ends:
            end.close()


def test_application_protocols_are_those_of_the_name(pki: Pki) -> None:
    one, other = hosted(pki, "a.example", alpn=("http/1.1",)), hosted(pki, "b.example")
    site = Site(server(pki, alpn=("h2",)), one, other)
    for name, agreed in (("a.example", "http/1.1"), ("b.example", None), ("c.example", "h2")):
        context = python_client(pki)
        context.check_hostname = False
        context.set_alpn_protocols(["http/1.1", "h2"])
        near, far = Theirs(context, name=name), site.end()
        shake(near, far)
        assert near.object.selected_alpn_protocol() == agreed
        part(near, far)


# Sessions


def resumes(site: Site, first: Callable[..., Theirs], second: Callable[..., Theirs]) -> bool:
    """Whether a connection of the second kind resumes the session of one of the first."""
    near, far = first(None), site.end()
    shake(near, far)
    saved = near.object.session
    context = near.object.context
    part(near, far)
    near, far = second(saved, context), site.end()
    shake(near, far)
    resumed = far.session.resumed
    assert resumed == near.object.session_reused
    part(near, far)
    return resumed


@each_version
@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize(
    ("one", "other", "resumed"),
    [
        ("a.example", "a.example", True),
        (None, None, True),
        ("c.example", None, True),  # both are the first section's
        ("a.example", "b.example", False),
        ("a.example", None, False),
        (None, "a.example", False),
        ("c.example", "a.example", False),
    ],
)
def test_a_session_is_resumed_under_its_name_only(
    pki: Pki, version: str, tickets: bool, one: str | None, other: str | None, resumed: bool
) -> None:
    more = () if tickets else ("NO_TICKET",)
    names = ("a.example", "b.example")
    site = Site(server(pki, options=more), *(hosted(pki, name, options=more) for name in names))

    def near(name: str | None) -> Callable[..., Theirs]:
        def make(session: ssl.SSLSession | None, context: ssl.SSLContext | None = None) -> Theirs:
            if context is None:
                context = python_client(pki, version=VERSIONS[version])
                context.check_hostname = False
            return Theirs(context, name=name, session=session)

        return make

    assert resumes(site, near(one), near(other)) is resumed


@each_version
def test_an_identity_does_not_come_along_to_another_name(pki: Pki, version: str) -> None:
    """Who was let into one service with a certificate of its authority shows none to the other."""
    site = Site(
        server(pki),
        hosted(pki, "a.example", verify_chain=True, require_cert=True, ca_file=str(pki.ca)),
        hosted(pki, "b.example", verify_chain=True, require_cert=True, ca_file=str(pki.other_ca)),
    )
    context = python_client(pki, version=VERSIONS[version], identity=True)
    context.check_hostname = False
    near, far = Theirs(context, name="a.example"), site.end()
    shake(near, far)
    saved = near.object.session
    part(near, far)
    near, far = Theirs(context, name="b.example", session=saved), site.end()
    assert failing(near, far)
    far.close()


@each_version
def test_a_name_may_resume_nothing(pki: Pki, version: str) -> None:
    site = Site(server(pki), hosted(pki, "a.example", session_resume=False))
    near = tls.build(client(sni="a.example", ssl_version=version))
    for _ in range(2):
        ends = Ours(near.session("x:1")), site.end()
        shake(*ends)
        assert not ends[1].session.resumed
        part(*ends)


@each_version
def test_a_name_resumes_nothing_where_the_accepting_service_does_not(pki: Pki, version: str) -> None:
    """That one keeps the sessions and opens the tickets, with the checks of both."""
    site = Site(server(pki, session_resume=False), hosted(pki, "a.example"))
    context = python_client(pki, version=VERSIONS[version])
    context.check_hostname = False
    first, far = Theirs(context, name="a.example"), site.end()
    shake(first, far)
    saved = first.object.session
    assert saved is not None
    assert not saved.has_ticket
    part(first, far)
    again, far = Theirs(context, name="a.example", session=saved), site.end()
    shake(again, far)
    assert not far.session.resumed
    part(again, far)


def test_two_services_of_one_name_are_two(pki: Pki) -> None:
    site = Site(server(pki), hosted(pki, "x", sni=("server:a.example",)))
    other = Site(server(pki), hosted(pki, "x", sni=("server:b.example",)))
    contexts = {each.policies["x"].switch._session_context for each in (site, other)}  # type: ignore[union-attr]
    assert len(contexts) == 2


# What is wrong


def test_a_certificate_that_cannot_be_used_is_refused_at_its_service(pki: Pki) -> None:
    builder = tls.Builder(services := (server(pki), hosted(pki, "a.example", cert=("/nowhere",))))
    with pytest.raises(ConfigErrors, match="cert: cannot read /nowhere"):
        builder.build(services[1])


def test_a_weak_certificate_is_refused_as_in_a_service_of_its_own(pki: Pki) -> None:
    weak = pki.issue("weak", kind="rsa1024")
    builder = tls.Builder(services := (server(pki), hosted(pki, "a.example", weak)))
    with pytest.raises(ConfigErrors, match="ee key too small"):
        builder.build(services[1])


def test_settings_that_cannot_be_are_refused_at_each_service(pki: Pki) -> None:
    services = (server(pki), *(hosted(pki, name, ciphers="NONSENSE") for name in ("a", "b")))
    builder = tls.Builder(services)
    for service in services[1:]:
        with pytest.raises(ConfigErrors, match="ciphers"):
            builder.build(service)


def test_a_chooser_that_fails_ends_the_handshake(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(server(pki), hosted(pki, "a.example"))

    def choose(name: bytes | None) -> Switch | None:
        raise LookupError(name)

    ends = browser(pki, "a.example", "TLSv1.3"), Ours(site.home.session(None, Log(), choose))
    assert failing(*ends)
    assert "the handshake ends: LookupError" in caplog.text
    ends[1].close()


def test_only_services_that_share_their_address_ask_for_the_name(pki: Pki) -> None:
    assert tls.build(server(pki)).silent_context is not None
    assert Site(server(pki), hosted(pki, "a.example")).home.silent_context is None
    part(*connect(tls.build(client(sni="a.example")), tls.build(server(pki))))


def extension(name: bytes, kind: int = 0) -> bytes:
    entry = bytes((kind,)) + len(name).to_bytes(2, "big") + name
    return len(entry).to_bytes(2, "big") + entry


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (extension(b"a.example"), b"a.example"),
        (extension(b""), b""),
        (extension(b"x" * 255), b"x" * 255),
        (extension(b"x" * 256), None),
        (extension(b"a\0b"), None),
        (extension(b"a", kind=1), None),
        (extension(b"a")[:-1], None),
        (extension(b"a") + b"x", None),
        (extension(b"a") + extension(b"b"), None),
        (b"", None),
        (b"\0\0", None),
        (b"\0\1\0", None),
    ],
)
def test_the_name_is_read_as_openssl_reads_it(octets: bytes, name: bytes | None) -> None:
    assert name_in(octets) == name


def hello(pki: Pki, name: bytes) -> bytes:
    """A ClientHello with any octets for a name; the lengths around it are right."""
    near = browser(pki, "placeholder.example", "TLSv1.3")
    near.handshake()
    record = near.to_send()
    old = extension(b"placeholder.example")
    head, tail = record.split((len(old)).to_bytes(2, "big") + old)
    new = len(extension(name)).to_bytes(2, "big") + extension(name)
    body = head + new + tail
    growth = len(body) - len(record)
    grown = bytearray(body)
    for place, size in ((3, 2), (6, 3), (_extensions_at(record), 2)):
        value = int.from_bytes(grown[place : place + size], "big") + growth
        grown[place : place + size] = value.to_bytes(size, "big")
    return bytes(grown)


def _extensions_at(record: bytes) -> int:
    """Where the length of the extensions stands (RFC 8446, 4.1.2)."""
    place = 5 + 4 + 2 + 32
    place += 1 + record[place]
    place += 2 + int.from_bytes(record[place : place + 2], "big")
    return place + 1 + record[place]


HANDSHAKE, ALERT = 22, 21


@pytest.mark.parametrize(
    ("name", "seen", "answer"),
    [
        (b"a.example", b"a.example", HANDSHAKE),
        (b"A.EXAMPLE", b"A.EXAMPLE", HANDSHAKE),
        (b"a.example.", b"a.example.", HANDSHAKE),
        ("b\u00fccher.example".encode(), "b\u00fccher.example".encode(), HANDSHAKE),
        (b"\xff\x1b[31m\r\n", b"\xff\x1b[31m\r\n", HANDSHAKE),
        (b"", b"", HANDSHAKE),
        (b"x" * 255, b"x" * 255, HANDSHAKE),
        (b"x" * 256, None, ALERT),
        (b"a\0b", None, ALERT),
    ],
    ids=repr,
)
def test_any_name_is_taken_as_it_is_or_ends_the_handshake(
    pki: Pki, name: bytes, seen: bytes | None, answer: int
) -> None:
    site = Site(server(pki), hosted(pki, "a.example"))
    far = site.end()
    far.receive(hello(pki, name))
    if answer == ALERT:
        with pytest.raises(TlsError):
            far.handshake()
    else:
        far.handshake()
    assert site.names == [seen]
    assert far.to_send()[0] == answer
    far.close()


@each_version
@pytest.mark.parametrize("debug", [3, 4, 5])
@pytest.mark.parametrize("where", ["at home", "by name"])
def test_chains_are_verified_where_they_are_demanded_and_nowhere_else(
    pki: Pki, version: str, debug: int, where: str
) -> None:
    """With a quiet log the judgement is made without Python, and goes along with the switch."""
    rules: dict[str, Any] = {"verify_chain": True, "ca_file": str(pki.ca), "debug": debug}
    at_home, by_name = (rules, {}) if where == "at home" else ({}, rules)
    site = Site(server(pki, **at_home), hosted(pki, "a.example", **by_name))
    for name, demanding in (("a.example", where == "by name"), (None, where == "at home")):
        near, far = browser(pki, name, version), site.end()
        if demanding:
            assert failing(near, far) == "peer did not return a certificate"
            far.close()
        else:
            shake(near, far)
            part(near, far)
        if demanding:
            context = python_client(pki, version=VERSIONS[version])
            context.check_hostname = False
            context.load_cert_chain(str(pki.other_client.both))
            stranger, far = Theirs(context, name=name), site.end()
            assert failing(stranger, far) == "certificate verify failed"
            far.close()
        near, far = browser(pki, name, version, identity=True), site.end()
        shake(near, far)
        part(near, far)
