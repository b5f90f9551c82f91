"""Questions and answers of RFC 1413, without a socket."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.errors import PeerError
from culvert.net import identification


def test_the_question_has_the_clients_port_first() -> None:
    assert identification.question(6193, 23) == b"6193 , 23\r\n"


@pytest.mark.parametrize(
    ("reply", "user"),
    [
        (b"6193, 23 : USERID : UNIX : stjohns\r\n", "stjohns"),
        (b"6193,23:USERID:UNIX,US-ASCII:stjohns", "stjohns"),
        (b" 6193 , 23 : USERID : OTHER :  a:b c \n", "a:b c"),
        ("6193,23:USERID:UNIX:jürgen\r\n".encode(), "jürgen"),
        (b"6193,23:USERID:UNIX:\r\n", ""),
    ],
)
def test_the_user_is_what_stands_behind_the_third_colon(reply: bytes, user: str) -> None:
    assert identification.user_of(reply, 6193, 23) == user


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"", "Malformed IDENT response"),
        (b"6193,23\r\n", "Malformed IDENT response"),
        (b"6193,23:USERID:UNIX\r\n", "Malformed IDENT response"),
        (b"6193,23:ERROR:NO-USER\r\n", "Incorrect IDENT response type: ERROR"),
        (b"6193,23:userid:UNIX:root\r\n", "Incorrect IDENT response type: userid"),
        (b"6194,23:USERID:UNIX:root\r\n", "another connection"),
        (b"23,6193:USERID:UNIX:root\r\n", "another connection"),
        (b":USERID:UNIX:root\r\n", "another connection"),
    ],
)
def test_an_answer_that_names_nobody_is_refused(reply: bytes, reason: str) -> None:
    with pytest.raises(PeerError, match=reason):
        identification.user_of(reply, 6193, 23)


@given(st.binary(max_size=identification.REPLY_OCTETS))
def test_any_octets_name_a_user_or_are_refused(reply: bytes) -> None:
    with contextlib.suppress(PeerError):
        identification.user_of(reply, 6193, 23)
