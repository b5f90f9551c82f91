"""Where the daemon's log lines go: standard error, a file, syslog; and where they wait until that is known.

No sink raises and none waits: a line that a full disk, a stopped terminal or a missing log server does not
take is lost, and the next line that gets through is preceded by one that says how many were.

Workers share the file with the supervisor.  It is opened for appending and every line is one write(2), so
lines of several processes never run into each other.
"""

from __future__ import annotations

import abc
import functools
import logging
import os
import select
import socket
import stat
import sys
import time
from typing import Final

from culvert.errors import SystemRefusal

BACKLOG_LINES: Final = 10_000
"""How many lines may wait for a sink; later ones are dropped."""

SYSLOG_SOCKET: Final = "/dev/log"
SYSLOG_RETRY_SECONDS: Final = 1.0

# In the order of their codes (RFC 5424, table 1), from 0 on; local0 has 16.
_NAMES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr",
    "news", "uucp", "cron", "authpriv", "ftp", "ntp",
)  # fmt: skip
FACILITIES: Final = {name: code for code, name in enumerate(_NAMES)} | {f"local{n}": 16 + n for n in range(8)}

_FAILURE_SIGNS: Final = "***!:.  "  # by level


def body(record: logging.LogRecord) -> str:
    """`LOG<level>[<mark>]: text`."""
    return f"LOG{severity(record)}[{getattr(record, 'mark', 'main')}]: {record.getMessage()}"


def line(record: logging.LogRecord) -> bytes:
    """A whole line of a file or of standard error, with its time and its end."""
    return f"{_stamp(int(record.created))} {body(record)}\n".encode("utf-8", "surrogateescape")


def severity(record: logging.LogRecord) -> int:
    """The syslog level of a record."""
    return int(getattr(record, "severity", 3))


@functools.lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return time.strftime("%Y.%m.%d %H:%M:%S", time.localtime(second))


class Backlog(logging.Handler):
    """Keeps records until sinks and level are known."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._records) < BACKLOG_LINES:
            self._records.append(record)

    def replay(self, sinks: list[logging.Handler], level: int) -> None:
        """Give everything up to `level` to the sinks, with its original time, and forget it."""
        records, self._records = self._records, []
        for record in records:
            if severity(record) <= level:
                for sink in sinks:
                    sink.handle(record)

    def failure_report(self) -> str:
        """What a start that failed prints: `[!] TEXT` for each line but the merely informative ones."""
        shown = [record for record in self._records if severity(record) <= 5]
        return "".join(f"[{_FAILURE_SIGNS[severity(each)]}] {each.getMessage()}\n" for each in shown)


class _Losing(logging.Handler, abc.ABC):
    """A sink that may lose lines and says so when it can write again."""

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._lost:
                self._put(_loss(record, self._lost))
                self._lost = 0
            self._put(record)
        except OSError:
            self._lost += 1

    @abc.abstractmethod
    def _put(self, record: logging.LogRecord) -> None:
        """Write the record or raise OSError, without waiting."""


def _loss(record: logging.LogRecord, count: int) -> logging.LogRecord:
    lost = logging.LogRecord(record.name, record.levelno, "", 0, f"{count} log line(s) lost", (), None)
    lost.severity = 4
    lost.mark = "main"
    return lost


class Stderr(_Losing):
    """Standard error, in the foreground.

    It may be shared with other programs, so it is not made non-blocking; a pipe or terminal that poll(2)
    calls writable takes at least PIPE_BUF (4096) bytes, more than any line has.
    """

    def __init__(self) -> None:
        super().__init__()
        self._writable = select.poll()
        self._writable.register(2, select.POLLOUT)

    def _put(self, record: logging.LogRecord) -> None:
        if not self._writable.poll(0):
            raise BlockingIOError
        os.write(2, line(record))


class LogFile(_Losing):
    """The `output` file.

    Raises SystemRefusal when it cannot be opened.  A FIFO or a device is opened non-blocking.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self._descriptor = _open(path)
        self._torn = False  # a line was cut short by a full disk

    def _put(self, record: logging.LogRecord) -> None:
        data = (b"\n" if self._torn else b"") + line(record)
        written = os.write(self._descriptor, data)
        self._torn = written < len(data)

    def reopen(self) -> None:
        """Open the path anew, as after a rename; on SystemRefusal the old file stays."""
        fresh = _open(self.path)
        os.dup2(fresh, self._descriptor, inheritable=False)
        os.close(fresh)
        self._torn = False

    def truncate(self) -> None:
        """Begin the file anew (`log = overwrite`); what has no length is left alone."""
        if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o640)
    except OSError as error:
        raise SystemRefusal.of(f"Cannot open log file: {path}", error) from error


class Syslog(_Losing):
    """The local syslog server, in the format of syslog(3).

    facility: a name of FACILITIES.  ident: the name before each line.
    A server that is away is looked for again once a second; until then lines are lost.
    kept: a connection to it from before the root directory changed, for where there is no such path any more.
    """

    def __init__(
        self, facility: str, ident: str, path: str = SYSLOG_SOCKET, kept: socket.socket | None = None
    ) -> None:
        super().__init__()
        self._code = FACILITIES[facility] << 3
        self._ident = ident
        self._path = path
        self._kept = kept
        self._socket: socket.socket | None = None
        self._next_try = 0.0
        self._connect()

    def _put(self, record: logging.LogRecord) -> None:
        if self._socket is None and not self._connect():
            raise ConnectionError
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(record.created))
        text = f"<{self._code | severity(record)}>{stamp} {self._ident}: {body(record)}"
        self._send(text.encode("utf-8", "surrogateescape"))

    def _send(self, data: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.send(data)
        except BlockingIOError:  # the server is there and slow
            raise
        except OSError:  # it was started anew
            self._disconnect()
            if not self._connect():
                raise
            self._socket.send(data)

    def _connect(self) -> bool:
        if time.monotonic() < self._next_try:
            return False
        self._next_try = time.monotonic() + SYSLOG_RETRY_SECONDS
        self._socket = reach_syslog(self._path)
        if self._socket is None and self._kept is not None:
            self._socket = self._kept.dup()
        return self._socket is not None

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        self._disconnect()
        super().close()


def reach_syslog(path: str = SYSLOG_SOCKET) -> socket.socket | None:
    """A non-blocking connection to the local syslog server, None when there is none."""
    fresh = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if fresh.connect_ex(path):
        fresh.close()
        return None
    return fresh


def say_on_stderr(text: str) -> None:
    """Write to standard error if there is one; for what is said before and beside the log."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, AttributeError):  # closed by the caller, or None
        return
