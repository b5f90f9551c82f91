"""One daemon of the demonstration: ``culvert FILE`` as a child process, and the log that it writes."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from culvert.errors import CulvertError

START_SECONDS = 10.0
STOP_SECONDS = 5.0
READY = "Accepting new connections"


class DaemonFailed(CulvertError):
    """A daemon ended, or did not do in time what was waited for; carries the log that it wrote."""

    def __init__(self, file: Path, waited_for: str, log: tuple[str, ...]) -> None:
        super().__init__(file, waited_for, log)
        self.file, self.waited_for, self.log = file, waited_for, log

    def __str__(self) -> str:
        return "\n".join((f"culvert {self.file}: never logged {self.waited_for!r}; its log:", *self.log))


class Daemon:
    """A running child, and how far its log has been read."""

    def __init__(self, file: Path, process: asyncio.subprocess.Process) -> None:
        self.file = file
        self._process = process
        self._log: list[str] = []

    async def lines_until(self, pattern: str, seconds: float = START_SECONDS) -> list[str]:
        """Return the log lines from where the last call stopped to the first that ``pattern`` is found in.

        Raises DaemonFailed when the log ends or ``seconds`` pass without one.
        """
        start = len(self._log)
        try:
            async with asyncio.timeout(seconds):
                while not (len(self._log) > start and re.search(pattern, self._log[-1])):
                    self._log.append(await self._next_line())
        except (TimeoutError, EOFError):
            raise DaemonFailed(self.file, pattern, tuple(self._log)) from None
        return self._log[start:]

    async def ended(self) -> None:
        """Read the log to its end, which is the end of the daemon; what nobody reads would be lost anyhow."""
        assert self._process.stderr is not None
        while await self._process.stderr.read(65536):
            pass

    async def stop(self) -> None:
        """Ask the daemon to end, and insist when it does not."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.communicate(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()

    async def _next_line(self) -> str:
        assert self._process.stderr is not None
        line = await self._process.stderr.readline()
        if not line:
            raise EOFError
        return line.decode(errors="replace").rstrip()


@asynccontextmanager
async def daemon(file: Path) -> AsyncIterator[Daemon]:
    """Run ``culvert FILE`` while the context lasts; it listens when the body begins.

    Raises DaemonFailed when it does not start.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "culvert",
        str(file),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the demonstration, which then ends its daemons in order
    )
    child = Daemon(file, process)
    try:
        await child.lines_until(READY)
        yield child
    finally:
        await child.stop()
