"""asyncio over the engine: the engine's epoll set is the loop's selector.

Theory of operation.  ``select()`` runs the engine, and acts on its decisions itself.  It goes back to
asyncio only when a descriptor of asyncio is ready, a timer is due, a signal came, or a decision led to
something that asyncio has to do; the loop notes the last by ``call_soon`` and ``call_at``.  So a life that
awaits only the engine never passes through asyncio's queue.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import select
import selectors
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Final, TypeVarTuple, Unpack

from culvert.engine.engine import Engine
from culvert.openssl._lib import lib

Arguments = TypeVarTuple("Arguments")

_READ: Final = select.EPOLLIN
_WRITE: Final = select.EPOLLOUT


def _number(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


class EngineSelector(selectors.BaseSelector):
    """The selector of asyncio's own descriptors, in the engine's epoll set."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.called = False  # asyncio was given something to do since select() began
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As selectors.BaseSelector.register."""
        number = _number(fileobj)
        if number in self._keys:
            raise KeyError(f"{fileobj!r} (FD {number}) is already registered")
        key = selectors.SelectorKey(fileobj, number, events, data)
        self._watch(key, change=False)
        self._keys[number] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As selectors.BaseSelector.unregister; a descriptor that was closed meanwhile is no error."""
        key = self._keys.pop(_number(fileobj))
        lib.engine_unwatch(self.engine.cdata, key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As selectors.BaseSelector.modify."""
        old = self._keys[_number(fileobj)]
        key = selectors.SelectorKey(old.fileobj, old.fd, events, data)
        if events != old.events:
            self._watch(key, change=True)
        self._keys[key.fd] = key
        return key

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """The registered descriptors, by number."""
        return self._keys

    def close(self) -> None:
        """Close the engine too."""
        self._keys.clear()
        self.engine.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Run the engine until asyncio has something to do; at most ``timeout`` seconds."""
        self.called = False
        until = None if timeout is None else time.monotonic() + timeout
        wait = -1 if timeout is None else max(0, math.ceil(timeout * 1000))
        while True:
            status = self.engine.run(wait)
            if self.engine.cdata.foreign_count:
                return self._ready()
            if self.called or status == -errno.EINTR:
                return []
            if status < 0:
                raise OSError(-status, os.strerror(-status))
            if until is not None:
                wait = math.ceil((until - time.monotonic()) * 1000)
                if wait <= 0:
                    return []

    def _watch(self, key: selectors.SelectorKey, *, change: bool) -> None:
        events = (_READ if key.events & selectors.EVENT_READ else 0) | (
            _WRITE if key.events & selectors.EVENT_WRITE else 0
        )
        status = lib.engine_watch(self.engine.cdata, key.fd, events, change)
        if status < 0:
            raise OSError(-status, os.strerror(-status))

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        cdata, ready = self.engine.cdata, []
        for index in range(cdata.foreign_count):
            found = cdata.foreign[index]
            key = self._keys.get(found.fd)
            if key is not None:
                events = (selectors.EVENT_READ if found.events & ~_WRITE else 0) | (
                    selectors.EVENT_WRITE if found.events & ~_READ else 0
                )
                ready.append((key, events & key.events))
        return ready


class EngineLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that carries tunnels: ``loop.engine``."""

    def __init__(self) -> None:
        self.engine = Engine()
        self._engine_selector = EngineSelector(self.engine)
        super().__init__(self._engine_selector)
        self.engine.loop = self

    def call_soon(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As asyncio's; select() is told to come back."""
        self._engine_selector.called = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's; select() is told to come back, since the timer may be due before its time-out."""
        self._engine_selector.called = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        """As asyncio's; select() is told to come back."""
        self._engine_selector.called = True
        super().stop()
