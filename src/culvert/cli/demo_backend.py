"""The service behind the demonstration's tunnels: HTTP/1.1, one request for each connection.

``GET /`` answers with a greeting, ``GET /bytes/N`` with N zeros; anything else is not found.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HEAD_LIMIT = 16 * 1024  # octets of request line and header fields
HEAD_SECONDS = 30.0
CHUNK = bytes(256 * 1024)


@asynccontextmanager
async def backend(greeting: str) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1 while the context lasts; its value is the port."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await _serve(reader, writer, greeting)
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=HEAD_LIMIT)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: str) -> None:
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        await _answer(writer, head.split(b"\r\n", 1)[0], greeting)
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return  # whoever it was has left, or does not speak HTTP


async def _answer(writer: asyncio.StreamWriter, request: bytes, greeting: str) -> None:
    if request.startswith(b"GET / HTTP/1."):
        writer.write(_head(200, "text/plain; charset=utf-8", len(greeting.encode())) + greeting.encode())
    elif zeros := re.match(rb"GET /bytes/(\d{1,12}) HTTP/1\.", request):
        await _write_zeros(writer, int(zeros[1]))
    else:
        writer.write(_head(404, "text/plain", 0))
    await writer.drain()


async def _write_zeros(writer: asyncio.StreamWriter, count: int) -> None:
    writer.write(_head(200, "application/octet-stream", count))
    while count:
        piece = CHUNK[:count]
        writer.write(piece)
        count -= len(piece)
        await writer.drain()


def _head(status: int, kind: str, length: int) -> bytes:
    reason = {200: "OK", 404: "Not Found"}[status]
    fields = f"Content-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n"
    return f"HTTP/1.1 {status} {reason}\r\n{fields}\r\n".encode()
