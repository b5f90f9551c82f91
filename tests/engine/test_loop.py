"""EngineLoop is an asyncio loop like any other."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from culvert.engine import EngineLoop
from culvert.engine.loop import EngineSelector

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=EngineLoop) as runner:
        return runner.run(asyncio.wait_for(main, 30))


def test_tasks_and_timers_run_in_order() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def later(delay: float, name: str) -> None:
            await asyncio.sleep(delay)
            seen.append(name)

        await asyncio.gather(later(0.03, "last"), later(0, "first"), later(0.01, "second"))
        return seen

    assert run(main()) == ["first", "second", "last"]


def test_a_stream_server_echoes() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    async def main() -> bytes:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x" * 1_000_000)
            writer.write_eof()
            echoed = await reader.read()
            writer.close()
            await writer.wait_closed()
            return echoed

    assert run(main()) == b"x" * 1_000_000


def test_a_thread_wakes_the_loop() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(done.set_result, "woken"))
        thread.start()
        answer = await done
        thread.join()
        return answer

    assert run(main()) == "woken"


def test_work_in_a_thread_comes_back() -> None:
    async def main() -> int:
        return await asyncio.get_running_loop().run_in_executor(None, sum, (1, 2, 3))

    assert run(main()) == 6


def test_a_signal_handler_is_called() -> None:
    async def main() -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await told.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)

    run(main())


def test_a_child_process_is_awaited() -> None:
    async def main() -> tuple[int | None, bytes]:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('hello')", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
        return child.returncode, output

    assert run(main()) == (0, b"hello\n")


@pytest.fixture
def selector() -> Any:
    loop = EngineLoop()
    yield EngineSelector(loop.engine)
    loop.close()


Watched = Callable[[], Awaitable[None]]


def test_a_descriptor_is_reported_while_it_is_ready(selector: EngineSelector) -> None:
    near, far = socket.socketpair()
    with near, far:
        key = selector.register(near, 1, "data")
        assert selector.select(0) == []
        far.send(b"x")
        assert selector.select(1) == [(key, 1)]
        assert selector.select(1) == [(key, 1)]
        selector.unregister(near)
        assert selector.select(0) == []


def test_only_the_events_that_were_asked_for_are_reported(selector: EngineSelector) -> None:
    near, far = socket.socketpair()
    with near, far:
        selector.register(near, 1)
        far.send(b"x")
        key = selector.modify(near, 2)
        assert selector.select(1) == [(key, 2)]
        selector.unregister(near)


def test_a_descriptor_is_registered_once(selector: EngineSelector) -> None:
    near, far = socket.socketpair()
    with near, far:
        selector.register(near, 1)
        with pytest.raises(KeyError, match="already registered"):
            selector.register(near, 1)
        selector.unregister(near)


def test_a_descriptor_that_cannot_be_watched_is_refused(selector: EngineSelector) -> None:
    with open(__file__) as regular, pytest.raises(PermissionError):
        selector.register(regular, 1)
    assert selector.get_map() == {}


def test_a_hang_up_is_reported_to_a_writer_as_well(selector: EngineSelector) -> None:
    reading, writing = os.pipe()
    key = selector.register(writing, 2)
    os.close(reading)
    assert selector.select(1) == [(key, 2)]
    selector.unregister(writing)
    os.close(writing)


def test_the_loop_can_be_stopped_by_what_the_engine_calls() -> None:
    loop = EngineLoop()
    route = loop.engine.route(lambda _carrier: None, lambda *_facts: None)
    route.watch(loop.stop)
    loop.call_later(30, pytest.fail, "the loop did not stop")
    loop.run_forever()
    loop.close()
