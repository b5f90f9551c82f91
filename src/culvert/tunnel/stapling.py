"""Fetching the answers that servers staple: tasks of one process, which lays them where all can read them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Final

from culvert.errors import TlsError
from culvert.net import responders
from culvert.observe.log import CRIT, ERR, INFO, NOTICE, Log
from culvert.openssl.ocsp import ANSWER_MAX
from culvert.tls.stapling import Stapled

AT_ONCE: Final = 8
"""Requests that are under way; a thousand certificates are no reason to flood a responder."""


class Stapler:
    """Keeps the answers about our certificates fresh, one task for each certificate.

    One request serves all services that show the same certificate in the same way.
    """

    def __init__(self, stapled: Iterable[Stapled], log: Log) -> None:
        groups: dict[bytes, list[Stapled]] = {}
        for each in stapled:
            groups.setdefault(each.key, []).append(each)
        self._groups = list(groups.values())
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []
        self._room = asyncio.Semaphore(AT_ONCE)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; the first requests leave as soon as the loop runs."""
        self._tasks = [loop.create_task(self._keep(group), name="stapler") for group in self._groups]

    def stop(self) -> None:
        """End every task; only the first call counts."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    async def _keep(self, group: Sequence[Stapled]) -> None:
        first = group[0]
        log = self._log.child(self._log.mark, max(each.level for each in group))
        pause = first.first_pause(time.time())
        while True:
            await self._rest(pause)
            try:
                async with self._room:
                    pause = await self._renew(first, log)
            except Exception as fault:  # noqa: BLE001 - whatever it is, answers go on being fetched
                log.write(CRIT, f"INTERNAL ERROR: OCSP: {type(fault).__name__}: {fault}")
                pause = first.failed(log.write)
            current = first.staple.current
            for other in group[1:]:
                if current is None:
                    other.staple.take_away()
                else:
                    other.staple.put(*current)

    async def _rest(self, pause: float) -> None:
        await asyncio.sleep(pause)

    async def _renew(self, stapled: Stapled, log: Log) -> float:
        """One request; returns the seconds until the next."""
        log.write(NOTICE, f'OCSP: Connecting the AIA responder "{stapled.url}"')
        try:
            question = stapled.question()
            answer = await responders.ask(
                stapled.url, question.der, connect=stapled.connect, busy=stapled.busy, most=ANSWER_MAX
            )
            return stapled.take(question, answer, time.time(), log.write)
        except responders.NoAnswer as failure:
            log.write(INFO if failure.late else ERR, f"OCSP: {failure}")
        except TlsError as error:
            log.write(ERR, f"OCSP: {error}")
        return stapled.failed(log.write)
