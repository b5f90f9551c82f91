"""A service's sessions, shared with other machines: what is made for it in each process."""

from __future__ import annotations

import socket
from collections.abc import Callable

from culvert.config.model import Service
from culvert.config.table.sharing import RedisPlace
from culvert.engine import Engine
from culvert.errors import ConfigError, SystemRefusal
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.net.sessiond import SessiondClient
from culvert.observe.log import ERR
from culvert.tls import TlsPolicy

Say = Callable[[int, str], None]
Place = Endpoint | RedisPlace


def place_of(service: Service) -> Place | None:
    """Where a service shares its sessions; blocks for a name.  Raises ConfigError."""
    place = service.sessiond
    if service.client or place is None or not service.session_resume:
        return None
    if isinstance(place, RedisPlace):
        raise ConfigError(service.where("sessiond"), "sessiond", "Redis is not available yet")
    try:
        found = addresses.resolve(place, passive=False)
    except SystemRefusal as refusal:
        reason = f"Failed to resolve sessiond server address: {refusal}"
        raise ConfigError(service.where("sessiond"), "sessiond", reason) from refusal
    return next((each for each in found if each.family == socket.AF_INET), found[0])


class Sharing:
    """Connects one service in this process with its place; does nothing where there is none."""

    def __init__(self, place: Place | None, policy: TlsPolicy, engine: Engine, say: Say) -> None:
        """say: takes (level, line)."""
        self._place, self._policy, self._engine, self._say = place, policy, engine, say
        self._client: SessiondClient | None = None

    def start(self) -> None:
        """Begin to share."""
        loop = self._engine.loop
        if self._client is not None or loop is None or not isinstance(self._place, Endpoint):
            return
        try:
            self._client = SessiondClient(self._place, loop, self._say)
        except OSError as error:
            self._say(ERR, f"sessiond {self._place.text}: {error.strerror or error}")
            return
        self._policy.share_sessions(self._client)

    def stop(self) -> None:
        """Share no more."""
        if self._client is not None:
            self._policy.share_sessions(None)
            self._client.close()
            self._client = None
