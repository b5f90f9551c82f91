"""`quarantine = yes`: a service whose files, names or addresses do not work does not keep the others from
serving.

What is wrong in the configuration file itself still stops the start or the reload: it is the operator's to
correct.  What only the world outside shows, a certificate, a key, an authority, a port in use, sets one
service aside.  At a reload its last good version goes on serving, if there is one.  The supervisor tries
again and again, and takes the service in when it works.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from culvert.config.model import Configuration, Service
from culvert.errors import ConfigError, ConfigErrors, CulvertError, SystemRefusal
from culvert.net.listeners import Listening, Pool
from culvert.observe.log import ERR, WARNING, Log
from culvert.tunnel.plan import ServicePlan, is_hosted, plan_service, with_hosted

FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Held:
    """A service that does not work, and why.  serves: its version of before goes on."""

    service: Service
    reason: str
    serves: bool

    def __str__(self) -> str:
        state = "its last good version serves" if self.serves else "it does not serve"
        return f"Service [{self.service.name}] is in quarantine, {state}: {self.reason}"


@dataclass
class Quarantine:
    """The services of one configuration that were set aside while it was prepared.

    before: the plans in force until then.
    """

    log: Log
    before: Sequence[ServicePlan]
    held: list[Held] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pause = FIRST_PAUSE_SECONDS
        self._next = time.monotonic() + self._pause

    def instead(self, service: Service, error: CulvertError) -> tuple[ServicePlan, ...]:
        """Set a service aside; the plans to go on with instead of its own, one or none."""
        errors = error.errors if isinstance(error, ConfigErrors) else (error,)
        for each in errors:
            self.log.write(ERR, str(each))
        earlier = tuple(plan for plan in with_hosted(self.before) if plan.service.name == service.name)[:1]
        held = Held(service, "; ".join(map(str, errors)), bool(earlier))
        self.held.append(held)
        self.log.write(WARNING, str(held))
        return earlier

    def open(
        self, plans: Sequence[ServicePlan], pool: Pool, workers: int
    ) -> tuple[tuple[ServicePlan, ...], tuple[tuple[Listening, ...], ...]]:
        """Bind the addresses of each plan; those that cannot be bound are set aside.

        Raises SystemRefusal when nothing is left.
        """
        bound: list[tuple[ServicePlan, tuple[Listening, ...]]] = []
        for plan in plans:
            try:
                bound.append((plan, pool.open(plan.service, workers, self.log.write)))
            except SystemRefusal as refusal:
                for spare in self.instead(plan.service, refusal):
                    with suppress(SystemRefusal):
                        bound.append((spare, pool.open(spare.service, workers, self.log.write)))
        if not bound:
            raise SystemRefusal("quarantine", "no service is left that works")
        return tuple(plan for plan, _ in bound), tuple(listenings for _, listenings in bound)

    def seconds_to_next(self) -> float | None:
        """How long until it is worth to try again; None when nothing is held."""
        return max(0.0, self._next - time.monotonic()) if self.held else None

    def works_again(self, configuration: Configuration, pool: Pool) -> bool:
        """When it is time: whether one of them could be taken in now."""
        if self.seconds_to_next() != 0.0:
            return False
        self._pause = min(LONGEST_PAUSE_SECONDS, self._pause * 2)
        self._next = time.monotonic() + self._pause
        return any(_works(held.service, configuration, pool) for held in self.held)


def _works(service: Service, configuration: Configuration, pool: Pool) -> bool:
    try:
        plan_service(service, options=configuration.options)
        if not is_hosted(service):
            pool.open(service, 1)
    except (ConfigError, ConfigErrors, SystemRefusal):
        return False
    finally:
        pool.undo()
    return True
