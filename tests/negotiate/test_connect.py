"""HTTP CONNECT: asking a proxy, with and without authentication, and being one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import spnego

from culvert.negotiate.connect import client, server
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd, PlaintextAfterUpgrade
from culvert.negotiate.negotiation import Negotiation
from culvert.negotiate.registry import Terms
from culvert.negotiate.steps import Host, Peer, Receive, Send
from tests.negotiate.conversing import Conversation, converse

NEAR, FAR = Peer.NEAR, Peer.FAR
TERMS = Terms(host="far.example:443")
PLAIN = b"CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n"
ACCEPTED = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 3, 7])
@pytest.mark.parametrize("answer", [ACCEPTED, b"HTTP/1.0 200\n\n", b"HTTP/1.1 299 \r\n\r\n"])
def test_an_accepted_request_is_enough(answer: bytes, size: int) -> None:
    talk = converse(client(TERMS), far=answer, size=size)
    assert talk.sent[FAR] == PLAIN


def test_credentials_and_headers_are_sent_and_the_log_does_not_show_them() -> None:
    terms = Terms(host="h:1", username="u", password="pä:p", headers=("X-A: b", "Cookie: secret"))
    talk = converse(client(terms), far=ACCEPTED)
    both = base64.b64encode("u:pä:p".encode())
    assert talk.sent[FAR] == (
        b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nProxy-Authorization: Basic " + both
        + b"\r\nX-A: b\r\nCookie: secret\r\n\r\n"
    )  # fmt: skip
    told = "\n".join(text for _level, text in talk.log)
    assert "Proxy-Authorization: (hidden)" in told
    assert both.decode() not in told
    assert "secret" not in told


REFUSALS = {
    "407": (b"HTTP/1.1 407 Go away\r\nProxy-Authenticate: Basic realm=x\r\nProxy-Authenticate: NTLM\r\n\r\n",
            r"rejected \(the proxy wants Basic, NTLM\): HTTP/1.1 407 Go away"),
    "403": (b"HTTP/1.1 403 No\r\n\r\n", "rejected: HTTP/1.1 403 No"),
    "101": (b"HTTP/1.1 101 Switching\r\n\r\n", "rejected"),
    "not http": (b"220 smtp.example\r\n", "rejected: 220 smtp.example"),
    "http 2": (b"HTTP/2 200\r\n\r\n", "rejected"),
    "endless": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, "more than 100 header lines"),
    "a nul": (b"HTTP/1.1 200 O\0K\r\n\r\n", "NUL"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "why"), REFUSALS.values(), ids=REFUSALS)
def test_anything_but_success_is_refused(answer: bytes, why: str) -> None:
    with pytest.raises(NegotiationFailed, match=why):
        converse(client(TERMS), far=answer)


def test_octets_behind_the_go_ahead_are_refused() -> None:
    with pytest.raises(PlaintextAfterUpgrade):
        converse(client(TERMS), far=ACCEPTED + b"x")


# NTLM -----------------------------------------------------------------------------------------------------


def ntlm_proxy(terms: Terms, challenge_head: bytes = b"", *, accepts: bytes = ACCEPTED) -> list[bytes]:
    """A conversation with pyspnego's own server; the requests that it saw."""
    acceptor = spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
    negotiation = Negotiation(client(terms))
    requests: list[bytes] = []
    inbox = b""
    while (step := negotiation.question) is not None:
        if isinstance(step, Send):
            requests.append(step.octets)
            token = base64.b64decode(step.octets.partition(b"Authorization: NTLM ")[2].split(b"\r\n")[0])
            answer = acceptor.step(token)
            if answer:
                inbox += b"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Basic realm=x\r\n"
                inbox += b"Proxy-Authenticate: NTLM " + base64.b64encode(answer) + b"\r\n"
                inbox += challenge_head or b"Content-Length: 4\r\n\r\nbody"
            else:
                assert acceptor.complete
                inbox += accepts
            negotiation.answer()
        elif isinstance(step, Receive):
            inbox = inbox[negotiation.feed(inbox) :]
        else:
            negotiation.answer(inbox)
    return requests


@pytest.fixture
def _accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = tmp_path / "accounts"
    accounts.write_text("DOM:user:pass\n:user:pass\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(accounts))


def ntlm_terms(domain: str | None = None) -> Terms:
    return Terms(
        host="far:443",
        username="user",
        password="pass",
        domain=domain,
        authentication="ntlm",
        headers=("X: y",),
    )


@pytest.mark.usefixtures("_accounts")
@pytest.mark.parametrize("domain", ["DOM", "", None])
def test_ntlm_is_believed_by_a_server_of_it(domain: str | None) -> None:
    first, second = ntlm_proxy(ntlm_terms(domain))
    assert first.startswith(b"CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\nProxy-Connection: keep-alive\r\n")
    assert second.endswith(b"\r\nX: y\r\n\r\n")


@pytest.mark.usefixtures("_accounts")
@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"Content-Length: x\r\n\r\n", "Invalid Content-Length"),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", "Invalid Content-Length"),
        (b"Content-Length: 99999999\r\n\r\n", "body of 99999999 octets"),
        (b"Transfer-Encoding: chunked\r\n\r\n", "unknown length"),
        (b"Proxy-Connection: Close\r\n\r\n", "closes the connection"),
    ],
)
def test_a_challenge_that_cannot_be_answered_is_refused(head: bytes, why: str) -> None:
    with pytest.raises(NegotiationFailed, match=why):
        ntlm_proxy(ntlm_terms(), head)


@pytest.mark.parametrize(
    "token",
    [
        b"", b"!", b"AAAA", base64.b64encode(b"NTLMSSP\0\2\0\0\0"), base64.b64encode(bytes(100)),
        b"A" * 5000,
        base64.b64encode(b"NTLMSSP\0\3\0\0\0" + bytes(80)),
    ],
)  # fmt: skip
def test_a_broken_challenge_is_a_failure_and_nothing_else(token: bytes) -> None:
    answer = b"HTTP/1.1 407 A\r\nProxy-Authenticate: NTLM " + token + b"\r\n\r\n"
    with pytest.raises(NegotiationFailed):
        converse(
            client(Terms(host="h:1", username="u", password="p", authentication="ntlm")),
            far=answer + ACCEPTED,
        )


# Server ---------------------------------------------------------------------------------------------------


def names(host: str, port: str) -> tuple[Host, ...]:
    known = {"host": "192.0.2.7", "2001:db8::1": "2001:db8::1", "192.0.2.7": "192.0.2.7"}
    return ((known[host], int(port)),) if host in known else ()


@pytest.mark.parametrize("size", [0, 1, 3, 7])
@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"host:80", ("192.0.2.7", 80)),
        (b"[2001:db8::1]:80", ("2001:db8::1", 80)),
        (b"192.0.2.7:80", ("192.0.2.7", 80)),
    ],
)
def test_a_request_is_granted_and_leads_there(target: bytes, found: Host, size: int) -> None:
    asks = b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    talk = converse(server(Terms()), asks, size=size, names=names)
    assert talk.sent[NEAR] == b"HTTP/1.0 200 OK\r\n\r\n"
    assert talk.outcome is not None
    assert talk.outcome.target == (found,)


@pytest.mark.parametrize(
    ("asks", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT host:80\r\n\r\n", b"400"),
        (b"CONNECT host:80 HTTP/2\r\n\r\n", b"400"),
        (b"CONNECT host HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT host:99999 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT a@host:80 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT  host:80 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT nobody:80 HTTP/1.1\r\n\r\n", b"404"),
        (b"CONNECT 192.0.2.7:25 HTTP/1.1\r\n\r\n", b"403"),
    ],
)
def test_a_request_that_is_refused_is_answered(asks: bytes, status: bytes) -> None:
    talk = Conversation()
    with pytest.raises(OrderlyEnd):
        converse(
            server(Terms()),
            asks,
            names=names,
            judge=lambda host: "mail" if host[1] == 25 else None,
            into=talk,
        )
    assert talk.sent[NEAR].startswith(b"HTTP/1.0 " + status)
    assert talk.sent[NEAR].endswith(b"\r\n\r\n")


def test_octets_behind_a_request_are_refused() -> None:
    with pytest.raises(PlaintextAfterUpgrade):
        converse(server(Terms()), b"CONNECT host:80 HTTP/1.1\r\n\r\nx", names=names)
