"""Where sessions are shared: addresses of servers of stunnel's protocol, and of Redis."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from culvert.config import load_text
from culvert.config.table.sharing import SESSIOND, RedisPlace
from culvert.config.values import Address, BadValue

PLACES = {
    "localhost:1": Address(host="localhost", port="1"),
    "redis://cache": RedisPlace("cache"),
    "REDIS://cache:1/2": RedisPlace("cache", 1, 2),
    "redis://me:a%20b%3A@cache": RedisPlace("cache", username="me", password="a b:"),
    "redis://:word@[::1]:1": RedisPlace("::1", 1, password="word"),
    "rediss://cache/?CAfile=/etc/ca.pem": RedisPlace("cache", secure=True, ca_file="/etc/ca.pem"),
}


@pytest.mark.parametrize("text", PLACES)
def test_an_address_is_read(text: str) -> None:
    assert SESSIOND.parse(text) == PLACES[text]


@pytest.mark.parametrize(
    "text",
    [
        "/run/redis.sock",
        "redis://",
        "redis://:secret@",
        "redis://host:port",
        "redis://host:99999",
        "redis://host/name",
        "redis://host/0?CAfile=ca.pem",
        "rediss://host/0?cafile=ca.pem",
        "rediss://host/0?verify=no",
        "redis://host/0#secret",
        "redis://[::1",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadValue) as refused:
        SESSIOND.parse(text)
    assert "secret" not in str(refused.value)


@given(st.text(max_size=50).map("redis://".__add__) | st.text(max_size=50).map("rediss://u:p@".__add__))
def test_no_text_is_an_error_of_another_kind(text: str) -> None:
    with suppress(BadValue):
        assert isinstance(SESSIOND.parse(text), RedisPlace)


def test_neither_user_nor_password_is_ever_shown() -> None:
    text = "cert = web.pem\n[web]\naccept = 1\nconnect = 2\nsessiond = rediss://user:swordfish@[::1]/1\n"
    service = load_text(text, "conf").services[0]
    assert isinstance(service.sessiond, RedisPlace)
    assert service.sessiond.text == SESSIOND.render(service.sessiond) == "rediss://[::1]:6379/1"
    for shown in (repr(service), repr(service.sessiond), str(service.sessiond)):
        assert "swordfish" not in shown
        assert "user:" not in shown
