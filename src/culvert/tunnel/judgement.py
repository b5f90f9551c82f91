"""Judging a peer after its handshake, before a byte is relayed (see culvert.tls.ocsp).

Questions of several tunnels about the same certificate are one question.  The loop never waits: a tunnel
that needs an answer sleeps until it is there, and only that one does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from culvert.errors import PeerError, TlsError
from culvert.net import responders
from culvert.observe.log import ERR, INFO
from culvert.openssl.ocsp import ANSWER_MAX
from culvert.tls.ocsp import Ask, Heard, PeerOcsp, Rejected, Say

if TYPE_CHECKING:
    from culvert.config.model import Service
    from culvert.engine import Carrier
    from culvert.openssl import Session


class PeerRejected(PeerError):
    """The peer is not believed; its log has the line."""


class Judge:
    """Asks responders for the tunnels of one service, in one process."""

    def __init__(self, service: Service, ocsp: PeerOcsp) -> None:
        self._connect, self._busy = service.timeout_ocsp, service.timeout_busy
        self._ocsp = ocsp
        self._asked: dict[tuple[object, ...], asyncio.Task[Heard]] = {}

    async def judge(self, carrier: Carrier, session: Session, say: Say) -> Rejected | None:
        """The certificate that was rejected, if one was; awaited by a tunnel's life.  Raises TlsError."""
        judging = self._ocsp.judge(session, say)
        try:
            ask = next(judging)
            while True:
                ask = judging.send(await carrier.outside(self._ask(ask)))
        except StopIteration as end:
            rejected: Rejected | None = end.value
            return rejected

    def stop(self) -> None:
        """Ask nobody any more; the tunnels have ended."""
        for task in self._asked.values():
            task.cancel()

    async def _ask(self, ask: Ask) -> Heard:
        key = (ask.url, *ask.link.key)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.ensure_future(self._fetch(ask))
            task.add_done_callback(lambda _: self._asked.pop(key))
        return await asyncio.shield(task)  # a tunnel that is stopped stops no other

    async def _fetch(self, ask: Ask) -> Heard:
        try:
            question = self._ocsp.question(ask)
            answer = await responders.ask(
                ask.url, question.der, connect=self._connect, busy=self._busy, most=ANSWER_MAX
            )
        except responders.NoAnswer as failure:
            return Heard(None, ((INFO if failure.late else ERR, f"OCSP: {failure}"),))
        except TlsError as error:
            return Heard(None, ((ERR, f"OCSP: {error}"),))
        return self._ocsp.read(ask, question, answer)
