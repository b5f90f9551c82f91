"""Sessions and ticket keys that machines share over Redis, in one process.

Theory of operation.  One task keeps the connection: it connects, shares the secret of the ticket keys, looks
now and then whether the server is there, and connects again, later and later, when it is not.  While it is
not, nobody waits for it: fetch() has no session, keep() and forget() drop what they are given.  The sign is
that a command fails, or takes longer than PATIENCE.  So an outage costs the handshakes of that moment
PATIENCE, and all later ones nothing.

What is stored: a session under its id, sealed where the fleet has a secret; and for each service that has no
configured ticket secrets the oldest secret of its chain (culvert.tls.tickets) that is still good.  Whoever
comes first stores it; the others take it over, and all move it on as time passes.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from culvert.config.table.sharing import RedisPlace
from culvert.net.sessiond import PATIENCE, Say
from culvert.observe.log import DEBUG, NOTICE, WARNING
from culvert.tls.sealing import Seal
from culvert.tls.tickets import SECRET_SIZE, TicketKeys

if TYPE_CHECKING:
    from redis.asyncio import Redis

SESSIONS: Final = b"culvert:session:"
TICKETS: Final = b"culvert:tickets:"

COMMAND_SECONDS: Final = 2.0
"""How long a command may take that no handshake waits for."""
LOOK_SECONDS: Final = 5.0
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
QUEUE_MAX: Final = 1024
"""Sessions that wait to be stored; beyond that the oldest are dropped."""
BATCH: Final = 64
SIZE_MAX: Final = 16 * 1024
"""Octets of a session; a value that is longer is none."""

_STATE: Final = struct.Struct(f">Q{SECRET_SIZE}s")


class RedisSessions:
    """A Remote (culvert.tls.fleet)."""

    def __init__(
        self,
        place: RedisPlace,
        ca: str | None,
        seal: Seal,
        keys: TicketKeys | None,
        loop: asyncio.AbstractEventLoop,
        say: Say,
    ) -> None:
        """ca: the authorities of the server in PEM, None for the system's; keys: shared where there are any.
        say: takes (level, line).
        """
        self._place, self._ca, self._seal, self._keys, self._say = place, ca, seal, keys, say
        self._loop = loop
        self._server: Redis | None = None
        self._queue: deque[tuple[bytes, bytes | None, int]] = deque(maxlen=QUEUE_MAX)
        self._news, self._lost = asyncio.Event(), asyncio.Event()
        self._reason = ""
        self._tasks = [loop.create_task(self._keep_connected()), loop.create_task(self._write())]

    def close(self) -> None:
        """End; nobody is waited for."""
        self._server = None
        for task in self._tasks:
            task.cancel()

    # For handshakes
    # -----------------------------------------------------------------------------------------------------

    def keep(self, key: bytes, session: bytes, seconds: int) -> None:
        """Have a session stored soon."""
        if self._server is not None and len(session) <= SIZE_MAX:
            name = _name(key)
            self._queue.append((name, self._seal.close(name, session), seconds))
            self._news.set()

    def forget(self, key: bytes) -> None:
        """Have a session removed soon."""
        if self._server is not None:
            self._queue.append((_name(key), None, 0))
            self._news.set()

    async def fetch(self, key: bytes) -> bytes | None:
        """The session with that id; None when there is none, or when it does not come in time."""
        server, name = self._server, _name(key)
        if server is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                stored = await server.getrange(name, 0, SIZE_MAX + 64)
        except Exception as error:  # noqa: BLE001 - sharing is not worth a handshake
            self._fail(server, error)
            return None
        return self._seal.open(name, stored) if isinstance(stored, bytes) and stored else None

    # The connection
    # -----------------------------------------------------------------------------------------------------

    def _fail(self, server: Redis, error: BaseException) -> None:
        """From now on the server is out of reach."""
        if self._server is server:
            self._server, self._reason = None, str(error) or type(error).__name__
            self._queue.clear()
            self._lost.set()

    async def _keep_connected(self) -> None:
        pause, told = FIRST_PAUSE, False
        while True:
            server = _connection(self._place, self._ca)
            try:
                await self._begin(server)
                self._say(NOTICE, f"sessiond {self._place.text}: connected")
                pause, told = FIRST_PAUSE, False
                await self._watch(server)
            except Exception as error:  # noqa: BLE001 - sharing is not worth a handshake
                self._reason = str(error) or type(error).__name__
            finally:
                self._server = None
                await _close(server)
            level = DEBUG if told else WARNING
            self._say(level, f"sessiond {self._place.text}: out of reach: {self._reason}")
            told = True
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _begin(self, server: Redis) -> None:
        self._lost.clear()
        async with asyncio.timeout(COMMAND_SECONDS):
            await server.ping()
            await self._share_keys(server)
        self._server = server

    async def _watch(self, server: Redis) -> None:
        """Return when the server is lost."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._lost.wait()
                    return
            except TimeoutError:
                async with asyncio.timeout(COMMAND_SECONDS):
                    await server.ping()
                    await self._share_keys(server)

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue and (server := self._server) is not None:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
                try:
                    async with asyncio.timeout(COMMAND_SECONDS):
                        await _store(server, batch)
                except Exception as error:  # noqa: BLE001 - sharing is not worth a handshake
                    self._fail(server, error)

    # Ticket keys
    # -----------------------------------------------------------------------------------------------------

    async def _share_keys(self, server: Redis) -> None:
        """Seal tickets with the secret that was stored first; store ours where none is, or an older one."""
        if self._keys is None:
            return
        epoch, secret = self._keys.state()
        name, ours = TICKETS + self._keys.name.hex().encode(), _STATE.pack(epoch, secret)
        lifetime = self._keys.lifetime
        if await server.set(name, ours, nx=True, ex=lifetime):
            return
        stored = await server.getrange(name, 0, _STATE.size)
        if stored == ours:
            return
        whole = stored if isinstance(stored, bytes) and len(stored) == _STATE.size else None
        if whole is not None and self._keys.adopt(*_STATE.unpack(whole)):
            return
        await server.set(name, ours, ex=lifetime)


def _name(key: bytes) -> bytes:
    """A session's name in Redis; printable, for the people who look."""
    return SESSIONS + key.hex().encode()


def _connection(place: RedisPlace, ca: str | None) -> Redis:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    tls = {"ssl": True, "ssl_check_hostname": True, "ssl_ca_data": ca}
    secure: dict[str, Any] = tls if place.secure else {}
    return Redis(
        host=place.host,
        port=place.port,
        db=place.database,
        username=place.username,
        password=place.password,
        socket_connect_timeout=COMMAND_SECONDS,
        retry=Retry(NoBackoff(), 0),  # a handshake does not wait for a second try
        health_check_interval=0,
        **secure,
    )


async def _close(server: Redis) -> None:
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            await server.aclose()
    except Exception:  # noqa: BLE001
        return  # it is gone anyway


async def _store(server: Redis, batch: list[tuple[bytes, bytes | None, int]]) -> None:
    pipeline = server.pipeline(transaction=False)
    for name, value, seconds in batch:
        if value is None:
            pipeline.delete(name)
        else:
            pipeline.set(name, value, ex=max(seconds, 1))
    await pipeline.execute()
