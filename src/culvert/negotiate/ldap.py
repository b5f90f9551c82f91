"""LDAP: the StartTLS operation (RFC 4511, 4.14)."""

from __future__ import annotations

from typing import Final

from culvert.negotiate import ber
from culvert.negotiate.ber import ENUMERATED, OCTET_STRING, SEQUENCE
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Peer, Script, Talk, exactly, go_ahead_octets, note, send, silent

_START_TLS: Final = b"1.3.6.1.4.1.1466.20037"
_NAME, _RESPONSE_NAME = 0x80, 0x8A
_UNBIND, _ABANDON, _EXTENDED, _EXTENDED_RESPONSE = 0x42, 0x50, 0x77, 0x78

# Operation -> the operation of its answer (RFC 4511, 4.2 to 4.12).
_ANSWERS: Final = {
    0x60: 0x61,  # bind
    0x63: 0x65,  # search: searchResDone
    0x66: 0x67,  # modify
    0x68: 0x69,  # add
    0x4A: 0x6B,  # delete
    0x6C: 0x6D,  # modify DN
    0x6E: 0x6F,  # compare
    _EXTENDED: _EXTENDED_RESPONSE,
}
_SUCCESS, _CONFIDENTIALITY_REQUIRED = 0, 13  # RFC 4511, appendix A.1
_MESSAGE_MAX: Final = 4096
_MESSAGES_MAX: Final = 16
_TEXT_SHOWN: Final = 200
_INFO: Final = 6


def client(_terms: Terms) -> Script:
    """Ask the server for TLS."""
    yield from send(Peer.FAR, _message(1, _EXTENDED, ber.encode(_NAME, _START_TLS)))
    code, text = _result((yield from _receive(Peer.FAR)))
    if code != _SUCCESS:
        raise NegotiationFailed(f"LDAP response has indicated an error ({code}){text}")
    yield from silent(Peer.FAR)
    yield from note(_INFO, "LDAP Start TLS successfully negotiated")
    return NOTHING


def server(_terms: Terms) -> Script:
    """Wait for StartTLS; every other operation is refused by its own answer until then."""
    for _ in range(_MESSAGES_MAX):
        message = ber.Reader((yield from _receive(Peer.NEAR)))
        number, operation = message.number(), message.next()
        if operation.tag == _UNBIND:
            raise OrderlyEnd("The client unbinds before StartTLS")
        if operation.tag == _ABANDON:
            continue
        answer = _ANSWERS.get(operation.tag)
        if answer is None:
            raise ber.bad(f"the client sent operation 0x{operation.tag:02x} before StartTLS")
        if _is_start_tls(operation):
            yield from go_ahead_octets(Peer.NEAR, _message(number, answer, _STARTED))
            return NOTHING
        yield from send(Peer.NEAR, _message(number, answer, _NOT_BEFORE_TLS))
    raise NegotiationFailed(f"no StartTLS within {_MESSAGES_MAX} operations")


def _is_start_tls(operation: ber.Element) -> bool:
    """Whether this is StartTLS and nothing besides; requestValue must be absent (4.14.1)."""
    if operation.tag != _EXTENDED:
        return False
    reader = ber.Reader(operation.contents)
    return reader.expect(_NAME) == _START_TLS and reader.done


def _result(contents: bytes) -> tuple[int, str]:
    """The result code of the answer to our message 1, and what the server says to it."""
    message = ber.Reader(contents)
    if message.number() != 1:
        raise ber.bad("unexpected message ID value")
    operation = message.next()
    if operation.tag != _EXTENDED_RESPONSE:
        raise ber.bad("LDAP response protocol op is not ExtendedResponse")
    answer = ber.Reader(operation.contents)
    code = answer.number(ENUMERATED)
    answer.expect(OCTET_STRING)  # matchedDN
    text = answer.expect(OCTET_STRING)[:_TEXT_SHOWN].decode("utf-8", "replace")
    return code, f": {text}" if text else ""


def _message(number: int, operation: int, *parts: bytes) -> bytes:
    return ber.encode(SEQUENCE, ber.integer(number), ber.encode(operation, *parts))


def _receive(peer: Peer) -> Talk[bytes]:
    """The contents of the next LDAPMessage."""
    tag, first = yield from exactly(peer, 2)
    if tag != SEQUENCE:
        raise ber.bad("a message is not UNIVERSAL SEQUENCE")
    size = ber.read_length(first, (yield from exactly(peer, ber.length_octets(first))))
    if size > _MESSAGE_MAX:
        raise ber.bad(f"a message of {size} octets, at most {_MESSAGE_MAX} are read")
    return (yield from exactly(peer, size))


def _outcome(code: int, text: bytes = b"") -> bytes:
    return ber.encode(ENUMERATED, bytes((code,))) + ber.encode(OCTET_STRING) + ber.encode(OCTET_STRING, text)


_STARTED: Final = _outcome(_SUCCESS) + ber.encode(_RESPONSE_NAME, _START_TLS)
_NOT_BEFORE_TLS: Final = _outcome(_CONFIDENTIALITY_REQUIRED, b"StartTLS is needed first")

CLIENT = Hooks(middle=client)
SERVER = Hooks(early=server)
