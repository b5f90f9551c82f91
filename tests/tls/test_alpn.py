"""Application protocols: who chooses, and what is said of it."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from culvert import tls
from culvert.config.tlsnames import PROTOCOLS
from culvert.config.values import BadValue
from culvert.openssl.protocols import agreed_protocol, names_of
from tests.openssl.memory import Ours, Theirs, failing, shake
from tests.pki import Pki
from tests.tls.pairs import Log, client, python_client, server

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
each_version = pytest.mark.parametrize("version", list(VERSIONS))


def browser(pki: Pki, version: str, *offered: str) -> Theirs:
    context = python_client(pki, version=VERSIONS[version])
    if offered:
        context.set_alpn_protocols(list(offered))
    return Theirs(context, name="localhost")


def of_info(policy: tls.TlsPolicy, end: Ours) -> list[Any]:
    return [text for level, text in policy.handshake_lines(end.session) if level == 6 and "ALPN" in text]


@each_version
@pytest.mark.parametrize(
    ("offered", "chosen", "said"),
    [
        (("http/1.1", "h2"), "h2", "ALPN: agreed on h2"),
        (("x", "http/1.1"), "http/1.1", "ALPN: agreed on http/1.1"),
        ((), None, "ALPN: the client offered none"),
    ],
)
def test_a_server_takes_what_it_prefers_of_what_is_offered(
    pki: Pki, version: str, offered: tuple[str, ...], chosen: str | None, said: str
) -> None:
    far = tls.build(server(pki, alpn=("h2", "http/1.1")))
    near, end = browser(pki, version, *offered), Ours(far.session(None, Log()))
    shake(near, end)
    assert near.object.selected_alpn_protocol() == chosen
    assert of_info(far, end) == [said]
    end.close()


@each_version
def test_nothing_in_common_ends_the_handshake_and_is_said(pki: Pki, version: str) -> None:
    far, log = tls.build(server(pki, alpn=("h2",))), Log()
    near, end = browser(pki, version, "spdy/3", "http/1.1"), Ours(far.session(None, log))
    assert failing(near, end) == "no application protocol"
    assert log.lines == [
        (3, "ALPN: no protocol in common with the client, which offers spdy/3, http/1.1"),
    ]
    end.close()


@each_version
def test_a_server_without_protocols_ignores_what_is_offered(pki: Pki, version: str) -> None:
    far = tls.build(server(pki))
    near, end = browser(pki, version, "h2"), Ours(far.session())
    shake(near, end)
    assert near.object.selected_alpn_protocol() is None
    assert of_info(far, end) == []
    end.close()


@each_version
@pytest.mark.parametrize(
    ("known", "said"),
    [(["http/1.1"], "ALPN: agreed on http/1.1"), ([], "ALPN: the server chose none")],
)
def test_a_client_offers_and_says_what_was_agreed(
    pki: Pki, version: str, known: list[str], said: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(pki.server.both))
    context.set_alpn_protocols(known)
    near = tls.build(client(alpn=("h2", "http/1.1"), ssl_version=version))
    end, far = Ours(near.session("there:1", Log())), Theirs(context, server=True)
    shake(end, far)
    assert of_info(near, end) == [said]
    assert agreed_protocol(end.session) == (known[0].encode() if known else None)
    end.close()


@pytest.mark.parametrize(
    ("text", "value"),
    [("h2", ("h2",)), (" h2 ,http/1.1 ", ("h2", "http/1.1")), ("postgresql", ("postgresql",))],
)
def test_protocols_stand_with_commas_between(text: str, value: tuple[str, ...]) -> None:
    assert PROTOCOLS.parse(text) == value
    assert PROTOCOLS.parse(PROTOCOLS.render(value)) == value


@pytest.mark.parametrize(
    "text", ["", ",", "h2,", "h2,h2", "x" * 256, "hé", "a\tb", ",".join(map(str, range(20000)))]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(BadValue):
        PROTOCOLS.parse(text)


def test_a_list_of_the_wire_is_read_however_it_ends() -> None:
    assert names_of(b"\x02h2\x08http/1.1") == (b"h2", b"http/1.1")
    assert names_of(b"\x02h2\x08ht") == (b"h2", b"ht")
    assert names_of(b"\x00") == (b"",)
