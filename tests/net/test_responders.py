"""One HTTP question to a responder, within its bounds."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
from collections.abc import Iterator

import pytest

from culvert.net import responders
from culvert.net.responders import NoAnswer
from tests.responders import Hang, Reply, Responder, http, responder


@pytest.fixture
def asked() -> Iterator[Responder]:
    with responder() as made:
        yield made


def ask(asked: Responder, reply: Reply, *, busy: float = 5.0, most: int = 1000) -> bytes:
    asked.reply = lambda _: reply
    return asyncio.run(responders.ask(asked.url, b"question", connect=5.0, busy=busy, most=most))


def test_the_question_is_posted_and_the_answer_comes_back(asked: Responder) -> None:
    assert ask(asked, http(b"answer")) == b"answer"
    assert asked.asked == [b"question"]


def test_an_answer_may_come_in_chunks(asked: Responder) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nans\r\n3\r\nwer\r\n0\r\n\r\n"
    assert ask(asked, chunked) == b"answer"


def test_an_answer_may_end_with_the_connection(asked: Responder) -> None:
    assert ask(asked, b"HTTP/1.0 200 OK\r\n\r\nanswer") == b"answer"


@pytest.mark.parametrize("length", [1000, 1001])
def test_an_answer_has_a_bound(asked: Responder, length: int) -> None:
    if length == 1000:
        assert len(ask(asked, http(bytes(length)))) == length
        return
    with pytest.raises(NoAnswer, match="more than 1000 bytes"):
        ask(asked, http(bytes(length)))


def test_nothing_is_unpacked(asked: Responder) -> None:
    """A small answer cannot become a large one."""
    packed = gzip.compress(bytes(1 << 20))[:900]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    assert ask(asked, head.encode() + packed) == packed


def test_an_answer_that_stops_half_way_is_none(asked: Responder) -> None:
    with pytest.raises(NoAnswer):
        ask(asked, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def test_patience_has_a_bound(asked: Responder) -> None:
    with pytest.raises(NoAnswer, match="TIMEOUTbusy exceeded") as late:
        ask(asked, Hang, busy=0.2)
    assert late.value.late


def test_nobody_who_asks_nothing_loads_the_http_client() -> None:
    code = (
        "import sys, culvert.daemon.supervisor, culvert.tunnel.embedding; sys.exit('aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
