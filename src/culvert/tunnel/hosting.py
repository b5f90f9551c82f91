"""The services that share the address of a running one, as this process runs them.

One is made when the first connection asks for it: a worker with ten thousand of them starts as fast as
another, and its memory goes on being shared with the supervisor's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from culvert.observe.log import DEBUG, ERR, INFO, NOTICE

if TYPE_CHECKING:
    from culvert.tls import NameTable
    from culvert.tunnel.plan import Say, ServicePlan
    from culvert.tunnel.service import RunningService


class Hosting:
    """Finds the service of a server name."""

    def __init__(self, names: NameTable[ServicePlan], run: Callable[[ServicePlan], RunningService]) -> None:
        self._names = names
        self._run = run
        self._running: dict[ServicePlan, RunningService] = {}

    def choose(self, name: bytes | None, level: int, say: Say) -> RunningService | None:
        """The service that a name leads to, None when there is none; the lines are stunnel's.

        level: up to which there is a log.
        """
        if name is None:
            say(NOTICE, "SNI: no servername received")
            return None
        match = self._names.find(name)
        if level >= INFO or match is None:
            text = name.decode("utf-8", "replace")
            say(INFO, f"SNI: requested servername: {text}")
            if match is None:
                say(ERR, f"SNI: no pattern matched servername: {text}")
        if match is None:
            return None
        if level >= NOTICE:
            say(DEBUG, f"SNI: matched pattern: {match.pattern}")
            say(NOTICE, f"SNI: switched to service [{match.target.service.name}]")
        return self._running_one(match.target)

    def abort_all(self) -> None:
        """Ask nobody any more; the tunnels are ended by the service that accepted them."""
        for service in self._running.values():
            if service.judge is not None:
                service.judge.stop()

    def close(self) -> None:
        """No connection comes any more."""
        for service in self._running.values():
            service.leave()

    def _running_one(self, plan: ServicePlan) -> RunningService:
        found = self._running.get(plan)
        if found is None:
            found = self._running[plan] = self._run(plan)
        return found
