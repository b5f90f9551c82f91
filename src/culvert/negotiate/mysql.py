"""MySQL and MariaDB: TLS in the middle of the handshake of their protocol.

Theory of operation.  The server speaks first, and TLS begins after the client's SSLRequest, a packet that the
plain side of a tunnel never sees.  Therefore

- the greeting is passed on with the bit CLIENT_SSL set towards a TLS client, and cleared towards a plain one;
- the client's answer is passed on with that bit cleared towards a plain server, and set towards a TLS server;
- every packet that follows has a number that is one off, until the server's OK or ERR ends the authentication
  and the command phase starts to count anew.  So the authentication is carried packet by packet.

What the client proves with its password is bound to the salt of the greeting, which passes unchanged; any
method works in which the server and the client take turns.  A method that sends the password itself when the
channel is secure (caching_sha2_password with an empty cache) wants both sides to agree whether it is: then
the plain side has to be a Unix socket, which both programs hold to be secure.
"""

from __future__ import annotations

from typing import Final

from culvert.negotiate import mysql_packets as packets
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd
from culvert.negotiate.mysql_packets import CLIENT_SSL, Packet
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Fact, Outcome, Peer, Script, Talk, exactly, learn, send, silent

_TURNS_MAX: Final = 64
_NO_TLS: Final = "SSL connection error: the server does not offer TLS"
_TLS_NEEDED: Final = "Connections using insecure transport are prohibited"


def client_in_clear(_terms: Terms) -> Script:
    """Let the local client answer the server's greeting, then ask the server for TLS in its name.

    The client's answer is remembered, to be sent inside TLS.
    """
    greeting = yield from _greeting()
    if not packets.offers_tls(greeting):
        yield from send(Peer.NEAR, packets.refusal(0, packets.CONNECTION_ERROR, _NO_TLS))
        raise NegotiationFailed("the server does not offer TLS")
    yield from _pass_on(Peer.NEAR, packets.with_tls(greeting, False))
    answer = yield from _receive(Peer.NEAR, packets.PACKET_MAX)
    able = packets.capabilities(answer)
    if able & CLIENT_SSL:
        raise NegotiationFailed("the local client asks for TLS, which it was not offered")
    yield from silent(Peer.FAR)
    yield from send(Peer.FAR, packets.ssl_request(answer, able | CLIENT_SSL))
    return Outcome(memory=answer)


def client_in_tls(_terms: Terms) -> Script:
    """Carry the client's answer and what follows up to the end of the authentication."""
    answer: Packet = yield from learn(Fact.MEMORY)
    able = packets.capabilities(answer) | CLIENT_SSL
    yield from _pass_on(Peer.FAR, packets.with_capabilities(answer, answer.number + 1, able))
    return (yield from _authentication(-1))


def server_in_clear(_terms: Terms) -> Script:
    """Pass the backend's greeting on as that of a server with TLS, and wait for the SSLRequest.

    There is no go-ahead: the client's hello may stand right behind its request.
    """
    greeting = yield from _greeting()
    yield from _pass_on(Peer.NEAR, packets.with_tls(greeting, True))
    request = yield from _receive(Peer.NEAR, packets.PACKET_MAX)
    if len(request.contents) != packets.SSL_REQUEST_SIZE or not packets.capabilities(request) & CLIENT_SSL:
        code = packets.SECURE_TRANSPORT_REQUIRED
        yield from send(Peer.NEAR, packets.refusal(request.number + 1, code, _TLS_NEEDED))
        raise NegotiationFailed("the client does not ask for TLS")
    return NOTHING


def server_in_tls(_terms: Terms) -> Script:
    """Carry the client's answer and what follows up to the end of the authentication."""
    answer = yield from _receive(Peer.NEAR, packets.PACKET_MAX)
    able = packets.capabilities(answer) & ~CLIENT_SSL
    yield from _pass_on(Peer.FAR, packets.with_capabilities(answer, answer.number - 1, able))
    return (yield from _authentication(1))


def _greeting() -> Talk[Packet]:
    """The server's greeting; its refusal is passed on and ends the tunnel."""
    greeting = yield from _receive(Peer.FAR, packets.GREETING_MAX)
    if greeting.kind == packets.ERR:
        yield from _pass_on(Peer.NEAR, greeting)
        raise OrderlyEnd("the server refuses the connection")
    return greeting


def _authentication(shift: int) -> Script:
    """Carry packets in turn, the far side's numbers changed by ``shift`` and the near side's back by it."""
    for _ in range(_TURNS_MAX):
        packet = yield from _receive(Peer.FAR, packets.PACKET_MAX)
        yield from _pass_on(Peer.NEAR, packet._replace(number=packet.number + shift))
        if packet.kind in (packets.OK, packets.ERR):
            return NOTHING
        if packet.contents != packets.FAST_AUTH:
            packet = yield from _receive(Peer.NEAR, packets.PACKET_MAX)
            yield from _pass_on(Peer.FAR, packet._replace(number=packet.number - shift))
    raise NegotiationFailed(f"no end of the authentication after {_TURNS_MAX} turns")


def _receive(peer: Peer, most: int) -> Talk[Packet]:
    header = yield from exactly(peer, packets.HEADER)
    return Packet(header[3], (yield from exactly(peer, packets.length(header, most))))


def _pass_on(peer: Peer, packet: Packet) -> Talk[None]:
    yield from send(peer, packet.encode())


CLIENT = Hooks(middle=client_in_clear, late=client_in_tls)
SERVER = Hooks(middle=server_in_clear, late=server_in_tls, dials_first=True)
