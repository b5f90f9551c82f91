"""Which URLs of responders can be asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from culvert.config.urls import LONGEST, responder_url
from culvert.config.values import BadValue

GOOD = (
    "http://ocsp.example.com",
    "HTTP://ocsp.example.com/",
    "http://127.0.0.1:8080/path/to?it=1",
    "http://[2001:db8::1]:80/",
    "http://host/%2e%2e/a",
)
BAD = (
    "",
    "http://",
    "http:///path",
    "http://:80/",
    "https://host/",
    "ftp://host/",
    "//host/",
    "http://user@host/",
    "http://user:password@host/",
    "http://host:0/",
    "http://host:65536/",
    "http://host:80:80/",
    "http://host:/",
    "http://host/a b",
    "http://host/\r\nX-Other: header",
    "http://host/#fragment",
    "http://[::1/",
    "http://ho\x00st/",
    "http://h\u00f6st/",
    "http://host/" + "a" * LONGEST,
    "http://" + "a" * 300 + "/",
)


@pytest.mark.parametrize("url", GOOD)
def test_a_plain_url_is_taken_as_it_is(url: str) -> None:
    assert responder_url(url) == url


@pytest.mark.parametrize("url", BAD)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(BadValue):
        responder_url(url)


@given(st.text(alphabet="htp:/[]@#?%0189.-_ax \r\n\\", max_size=60).map(lambda rest: "http://" + rest))
def test_what_is_taken_means_the_same_to_the_http_client(url: str) -> None:
    try:
        taken = URL(responder_url(url), encoded=True)
    except BadValue:
        return
    except ValueError:  # which is told as a failed question
        return
    assert taken.scheme == "http"
    assert taken.user is None
    assert taken.password is None
    assert taken.raw_host
