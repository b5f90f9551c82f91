"""How endings are told: the words of the statistics line, and the lines before it."""

from __future__ import annotations

import errno

import pytest

from culvert.engine import Cause, Ending, HandshakeFailed
from culvert.observe.log import ERR, INFO, NOTICE
from culvert.openssl import Context
from culvert.tunnel import closing
from culvert.tunnel.closing import ALERTED, BROKEN, CLEAN, Closing

HTTP_REQUEST = 0x0A00009C  # ERR_LIB_SSL, SSL_R_HTTP_REQUEST
NO_SHARED_CIPHER = 0x0A0000C1


def ending(cause: Cause, number: int = 0, *, secure_first: bool = True, ended: bool = False) -> Ending:
    return Ending(cause, number, 0, 0, ended, ended, secure_first)


@pytest.mark.parametrize(
    ("end", "client", "word"),
    [
        (CLEAN, False, "closed"),
        (CLEAN, True, "closed"),
        (BROKEN, False, "reset"),
        (BROKEN, True, "reset"),
        (ALERTED, False, "reset/closed"),
        (ALERTED, True, "closed/reset"),
    ],
)
def test_the_word_names_the_dialled_side_first(end: Closing, client: bool, word: str) -> None:
    assert end.word(client) == word


@pytest.mark.parametrize(
    ("cause", "codes", "sent"),
    [
        (Cause.TLS, (NO_SHARED_CIPHER,), True),
        (Cause.TLS, (HTTP_REQUEST,), False),
        (Cause.RESET, (), False),
        (Cause.BUSY, (), False),
    ],
)
def test_a_peer_that_speaks_tls_has_an_alert_to_read(
    cause: Cause, codes: tuple[int, ...], sent: bool
) -> None:
    assert closing.alert_was_sent(cause, codes) is sent


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (
            ending(Cause.RESET, errno.ECONNRESET, secure_first=False),
            (ERR, "transfer_tcp: readsocket: Connection reset by peer (104)"),
        ),
        (
            ending(Cause.RESET, errno.ECONNRESET),
            (ERR, "transfer_tcp: SSL_read: Connection reset by peer (104)"),
        ),
        (ending(Cause.TRUNCATED), (INFO, "TLS socket closed (SSL_read)")),
        (ending(Cause.IDLE), (INFO, "transfer_tcp: s_poll_wait: TIMEOUTidle exceeded: sending reset")),
        (ending(Cause.CLOSE_TIMEOUT), (ERR, "transfer_tcp: s_poll_wait: TIMEOUTclose exceeded: closing")),
        (ending(Cause.RENEGOTIATION), (ERR, "Aborting due to renegotiation request")),
    ],
)
def test_each_cause_has_its_line(what: Ending, line: tuple[int, str]) -> None:
    said: list[tuple[int, str]] = []
    closing.say_relay_end(NOTICE, lambda level, text: said.append((level, text)), what)
    assert said == [line]


def test_ends_are_told_in_the_order_in_which_they_came() -> None:
    said: list[str] = []
    closing.say_relay_end(
        INFO, lambda _level, text: said.append(text), ending(Cause.CLEAN, secure_first=False, ended=True)
    )
    assert said.index("Read socket closed (readsocket)") < said.index("TLS closed (SSL_read)")


def test_a_handshake_that_was_too_slow_has_the_line_of_its_timer() -> None:
    said: list[tuple[int, str]] = []
    closing.say_handshake_failure(
        lambda level, text: said.append((level, text)), HandshakeFailed(Cause.BUSY), server=True, peer=None
    )
    assert said == [(INFO, "ssl_handshake_poll: s_poll_wait: TIMEOUTbusy exceeded: sending reset")]


def test_a_failed_handshake_names_the_client() -> None:
    Context(server=True)  # the first one loads OpenSSL's texts
    said: list[tuple[int, str]] = []
    failure = HandshakeFailed(Cause.TLS, 0, (HTTP_REQUEST, HTTP_REQUEST))
    closing.say_handshake_failure(
        lambda level, text: said.append((level, text)), failure, server=True, peer="127.0.0.1:7"
    )
    (level, text) = said[-1]
    assert level == ERR
    assert text.startswith("SSL_accept: ")
    assert "http request" in text
    assert text.endswith(": client 127.0.0.1:7")
