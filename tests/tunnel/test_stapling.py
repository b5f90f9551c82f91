"""Answers are fetched in the background, one request for all that need it, and never in a hurry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import culvert
from culvert import tls
from culvert.observe.log import Log, for_library
from culvert.tls import stapling
from culvert.tls.stapling import Stapled
from culvert.tunnel.stapling import Stapler
from tests.pki import Identity, Pki
from tests.responders import Reply, Reset, Responder, answer, http, responder
from tests.tls.pairs import server


def run(main: Callable[[Responder], Any]) -> None:
    """Run a test's coroutine with a responder at its side."""

    async def bounded(asked: Responder) -> None:
        async with asyncio.timeout(30):
            await main(asked)

    with responder() as asked, asyncio.Runner(loop_factory=culvert.EngineLoop) as runner:
        runner.run(bounded(asked))


def policies(pki: Pki, asked: Responder, count: int) -> tuple[Identity, list[tls.TlsPolicy]]:
    """Services that show one certificate, which names the responder."""
    own = pki.issue("fetched", responders=(asked.url,))
    files = {"cert": (str(own.both),), "ca_file": str(pki.ca), "debug": 7, "timeout_busy": 1.0}
    return own, [tls.build(server(pki, **files)) for _ in range(count)]


class Watched(Stapler):
    """Tells when a round is over."""

    def __init__(self, *stapled: Stapled) -> None:
        super().__init__(stapled, for_library())
        self._round = asyncio.Event()

    async def _rest(self, pause: float) -> None:
        self._round.set()
        await super()._rest(pause)

    async def until(self, condition: Callable[[], object]) -> None:
        """Run until a round has brought this about, then stop."""
        self.start(asyncio.get_running_loop())
        while not condition():
            self._round.clear()
            await self._round.wait()
        self.stop()


def current(stapled: Stapled) -> bytes | None:
    found = stapled.staple.current
    return found[0] if found else None


def test_one_request_serves_every_service_with_the_certificate(pki: Pki) -> None:
    async def main(asked: Responder) -> None:
        own, made = policies(pki, asked, 3)
        der = answer(own, pki.root)
        asked.says(der)
        stapler = Watched(*(each for one in made for each in one.stapled))
        await stapler.until(lambda: all(current(one.stapled[0]) == der for one in made))
        assert len(asked.asked) == 1

    run(main)


def test_a_responder_that_fails_is_asked_once_for_each_pause(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "culvert")
    monkeypatch.setattr(stapling, "FIRST_PAUSE", 0.02)

    async def main(asked: Responder) -> None:
        own, made = policies(pki, asked, 1)
        asked.reply = lambda _: Reset
        (stapled,) = made[0].stapled
        await Watched(stapled).until(lambda: stapled.failures >= 4)
        assert len(asked.asked) == 4
        der = answer(own, pki.root)
        asked.says(der)
        await Watched(stapled).until(lambda: current(stapled) == der)
        assert len(asked.asked) == 5
        assert caplog.messages.count(f'OCSP: Connecting the AIA responder "{asked.url}"') == 5
        assert caplog.messages.count("OCSP: No OCSP stapling response to send") == 4

    run(main)


def test_an_answer_serves_on_while_its_successor_cannot_be_had(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stapling, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(stapling, "SHORTEST_REST", 0.01)
    monkeypatch.setattr(stapling, "LONGEST_REST", 0.01)

    async def main(asked: Responder) -> None:
        own, made = policies(pki, asked, 1)
        good = answer(own, pki.root)
        replies: Iterator[Reply] = iter(
            [http(good), Reset, http(b"", "500 Oops"), http(bytes(10 << 20)), http(b"x")]
        )
        asked.reply = lambda _: next(replies, Reset)
        (stapled,) = made[0].stapled
        await Watched(stapled).until(lambda: stapled.failures >= 4)
        assert len(asked.asked) == 5
        assert current(stapled) == good

    run(main)


def test_a_fault_of_ours_does_not_end_the_fetching(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "culvert")
    monkeypatch.setattr(stapling, "FIRST_PAUSE", 0.01)

    async def main(asked: Responder) -> None:
        own, made = policies(pki, asked, 1)
        (stapled,) = made[0].stapled

        def broken(_: Stapled) -> None:
            raise RuntimeError("oops")

        monkeypatch.setattr(Stapled, "question", broken)
        await Watched(stapled).until(lambda: stapled.failures >= 2)
        monkeypatch.undo()
        asked.says(answer(own, pki.root))
        await Watched(stapled).until(lambda: current(stapled) is not None)
        assert "INTERNAL ERROR: OCSP: RuntimeError: oops" in caplog.messages

    run(main)


def test_many_certificates_are_asked_about_a_few_at_a_time(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("culvert.tunnel.stapling.AT_ONCE", 3)
    under_way: list[int] = []
    most = []

    class Counting(Watched):
        async def _renew(self, stapled: Stapled, log: Log) -> float:
            under_way.append(1)
            most.append(len(under_way))
            pause = await super()._renew(stapled, log)
            under_way.pop()
            return pause

    async def main(asked: Responder) -> None:
        made = []
        for number in range(9):
            own = pki.issue(f"one-of-many-{number}", responders=(asked.url,))
            made.append(tls.build(server(pki, cert=(str(own.both),), ca_file=str(pki.ca))).stapled[0])
        await Counting(*made).until(lambda: len(asked.asked) == len(made))
        assert max(most) == 3

    run(main)
