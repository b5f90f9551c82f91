"""A service's sessions, shared with other machines: what is made for it in each process."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from culvert.config.model import Service
from culvert.config.table.sharing import RedisPlace
from culvert.config.values import Address
from culvert.engine import Engine
from culvert.errors import ConfigError, SystemRefusal
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.net.sessiond import SessiondClient
from culvert.observe.log import ERR
from culvert.tls import TlsPolicy
from culvert.tls.sealing import Seal, seal_of

if TYPE_CHECKING:
    from culvert.tunnel.redis_sessions import RedisSessions

Say = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class RedisPlan:
    """A Redis server, and all that has to be read before the fork.

    ca: its authorities in PEM, None for the system's.  seal: of what is stored.
    """

    place: RedisPlace
    ca: str | None
    seal: Seal


Place = Endpoint | RedisPlan


def place_of(service: Service) -> Place | None:
    """Where a service shares its sessions; blocks for a name.  Raises ConfigError."""
    place = service.sessiond
    if service.client or place is None or not service.session_resume:
        return None
    try:
        return _redis(service, place) if isinstance(place, RedisPlace) else _server(place)
    except SystemRefusal as refusal:
        raise ConfigError(service.where("sessiond"), "sessiond", str(refusal)) from refusal


def _server(address: Address) -> Endpoint:
    try:
        found = addresses.resolve(address, passive=False)
    except SystemRefusal as refusal:
        raise SystemRefusal("Failed to resolve sessiond server address", str(refusal)) from refusal
    return next((each for each in found if each.family == socket.AF_INET), found[0])


def _redis(service: Service, place: RedisPlace) -> RedisPlan:
    if importlib.util.find_spec("redis") is None:
        raise SystemRefusal("Redis needs a Python package", "pip install 'culvert[redis]'")
    import redis.asyncio  # noqa: F401 - before the fork, so that no worker's loop waits for it

    import culvert.tunnel.redis_sessions  # noqa: F401

    ca = None
    if place.ca_file is not None:
        try:
            with open(place.ca_file, encoding="ascii") as file:
                ca = file.read()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no PEM"
            raise SystemRefusal(f"cannot read {place.ca_file}", reason) from error
    return RedisPlan(place, ca, seal_of(service.ticket_key_secret, service.ticket_mac_secret))


class Sharing:
    """Connects one service in this process with its place; does nothing where there is none."""

    def __init__(self, place: Place | None, policy: TlsPolicy, engine: Engine, say: Say) -> None:
        """say: takes (level, line)."""
        self._place, self._policy, self._engine, self._say = place, policy, engine, say
        self._remote: SessiondClient | RedisSessions | None = None

    def start(self) -> None:
        """Begin to share."""
        if self._remote is None and self._place is not None:
            self._remote = self._connect(self._place)
            self._policy.share_sessions(self._remote)

    def stop(self) -> None:
        """Share no more."""
        if self._remote is not None:
            self._policy.share_sessions(None)
            self._remote.close()
            self._remote = None

    def _connect(self, place: Place) -> SessiondClient | RedisSessions | None:
        loop = self._engine.loop
        assert loop is not None, "an engine runs in a loop"
        if isinstance(place, RedisPlan):
            from culvert.tunnel.redis_sessions import RedisSessions

            keys = self._policy.ticket_keys
            return RedisSessions(place.place, place.ca, place.seal, keys, loop, self._say)
        try:
            return SessiondClient(place, loop, self._say)
        except OSError as error:
            self._say(ERR, f"sessiond {place.text}: {error.strerror or error}")
            return None
