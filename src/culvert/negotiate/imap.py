"""IMAP and its STARTTLS: RFC 3501 sections 6.1 and 6.2.1."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from culvert.negotiate.failures import OrderlyEnd, shown
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import (
    NOTHING,
    Peer,
    Script,
    Talk,
    expect,
    go_ahead,
    line,
    note,
    say,
    silent,
    speaks,
    starts,
)

NEAR, FAR = Peer.NEAR, Peer.FAR
ERR, DEBUG = 3, 7
_TAG: Final = b"culvert"

# A tag is any of ASTRING-CHAR but "+" (RFC 3501, 9); it is sent to the far end, so nothing else goes through.
_COMMAND: Final = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+]{1,64}) ([A-Za-z]{1,32})(.*)', re.DOTALL)

# Client side


def ask_server(_terms: Terms) -> Script:
    """In clear: ask the server for TLS.  What it offers before TLS is not what it offers in it, so our
    client is not shown its greeting.
    """
    expect((yield from line(FAR)), "Unknown server welcome", b"* OK")
    yield from say(NEAR, b"* OK Connected.")
    yield from say(FAR, _TAG + b" STARTTLS")
    answer = yield from line(FAR)
    while starts(answer, b"* ") and not starts(answer, b"* BYE"):
        answer = yield from line(FAR)
    if not starts(answer, _TAG + b" OK"):
        yield from say(NEAR, b"* BYE culvert: Server does not support TLS")
        raise OrderlyEnd(f"Server does not support TLS: {shown(answer)}")
    yield from silent(FAR)
    return NOTHING


# Server side


def offer_tls(_terms: Terms) -> Script:
    """With the far end's greeting, unless the client speaks TLS at once."""
    if (yield from speaks(NEAR)):
        yield from note(DEBUG, "RFC 2595 not detected")
        return NOTHING
    yield from note(DEBUG, "RFC 2595 detected")
    greeting = expect((yield from line(FAR)), "Unknown server welcome", b"* OK")
    yield from say(NEAR, _without_capabilities(greeting) + b" (culvert)")
    while True:
        tag, command = yield from _command()
        if command == b"STARTTLS":
            yield from go_ahead(NEAR, tag + b" OK Begin TLS negotiation now")
            return NOTHING
        if command == b"CAPABILITY":
            yield from _capabilities(tag)
        elif command == b"LOGOUT":
            yield from say(NEAR, b"* BYE server terminating", tag + b" OK LOGOUT completed")
            yield from _leave()
        else:
            yield from say(NEAR, b"* BYE culvert: unexpected command")
            yield from say(NEAR, tag + b" BAD " + command + b" unexpected")
            yield from note(ERR, f"Unexpected client command {shown(command)}")
            yield from _leave()


def _without_capabilities(greeting: bytes) -> bytes:
    """Those of the far end are not the client's before TLS: the word is spoilt, so that it asks for them."""
    return re.sub(rb"CAPABILITY|capability", lambda found: b"K" + found[0][1:], greeting, count=1)


def _command() -> Talk[tuple[bytes, bytes]]:
    found = _COMMAND.fullmatch((yield from line(NEAR)))
    if found is None:
        yield from _leave()
    assert found is not None
    tag, command, arguments = found.groups()
    return tag, command.upper() if not arguments.strip() else command.upper() + b" with arguments"


def _capabilities(tag: bytes) -> Talk[None]:
    """Those of the far end, and STARTTLS."""
    yield from say(FAR, tag + b" CAPABILITY")
    answer = yield from line(FAR)
    while starts(answer, b"* "):
        offered = starts(answer, b"* CAPABILITY ")
        yield from say(NEAR, answer + b" STARTTLS LOGINDISABLED" if offered else answer)
        answer = yield from line(FAR)
    yield from say(NEAR, answer)
    if not starts(answer, tag + b" OK"):
        yield from say(NEAR, b"* BYE unexpected server response")
        yield from note(ERR, f"Unexpected server response: {shown(answer)}")
        yield from _leave()


def _leave() -> Talk[NoReturn]:
    """Take leave of the far end."""
    yield from say(FAR, _TAG + b" LOGOUT")
    if starts((yield from line(FAR)), b"* "):
        yield from line(FAR)
    raise OrderlyEnd("")


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(middle=offer_tls, dials_first=True)
