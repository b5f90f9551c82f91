"""Log lines: stunnel's levels and identifiers on top of the standard library's logging.

Every line is a record of the logger "culvert" with two attributes more: `severity`, the level of syslog (0
emerg to 7 debug), and `mark`, what stands in the brackets of the line.  A program that embeds Culvert gets
these records as any others; the daemon puts its own sinks there (culvert.observe.sinks).

A line costs nothing when it is not wanted: whoever has to compose a text asks `log.level` first.

    if log.level >= INFO:
        log.write(INFO, f"TLS accepted: {description}")
"""

from __future__ import annotations

import logging
from typing import Final

EMERG, ALERT, CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = range(8)

TEXT_BYTES: Final = 1024
"""A line's text is cut to this many bytes of UTF-8; a peer's words may be in it."""

STANDARD: Final = (60, 55, logging.CRITICAL, logging.ERROR, logging.WARNING, 25, logging.INFO, logging.DEBUG)
"""Level of syslog -> level of the standard library, where 25 and those above 50 have no name of their own."""

LOGGER: Final = logging.getLogger("culvert")
LOGGER.addHandler(logging.NullHandler())  # a library is silent until its program says otherwise

# C0 and C1 control characters, DEL, and the two line ends that only Unicode knows, become dots: a peer's text
# neither breaks a line nor speaks to the terminal that shows it.
_DOTS: Final = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), ".")


class Log:
    """Writes lines with one identifier, up to one level."""

    __slots__ = ("level", "mark")

    def __init__(self, mark: str, level: int = DEBUG) -> None:
        self.mark = mark
        self.level = level  # the least important level that is written, 0-7

    def write(self, level: int, text: str) -> None:
        """Write a line if its level is wanted.  Never raises, never blocks on a peer, a disk or a log
        server."""
        if level <= self.level and LOGGER.isEnabledFor(STANDARD[level]):
            LOGGER.handle(_record(level, self.mark, clean(text)))

    def child(self, mark: str, level: int | None = None) -> Log:
        """A log for one connection: its own identifier, and the level of its service."""
        return Log(mark, self.level if level is None else level)


def for_library() -> Log:
    """The log of an embedding program: as detailed as its logger "culvert" is set at this moment."""
    wanted = LOGGER.getEffectiveLevel()
    return Log("culvert", max((level for level in range(8) if STANDARD[level] >= wanted), default=-1))


def clean(text: str) -> str:
    """The text in one line: trailing line ends dropped, control characters as dots, at most TEXT_BYTES
    long."""
    text = text.rstrip("\r\n")
    if not text.isprintable():
        text = text.translate(_DOTS)
    if len(text) * 4 <= TEXT_BYTES:
        return text
    encoded = text.encode("utf-8", "surrogateescape")
    if len(encoded) <= TEXT_BYTES:
        return text
    return encoded[: _character_end(encoded)].decode("utf-8", "surrogateescape")


def _character_end(encoded: bytes) -> int:
    """The last place up to TEXT_BYTES where a character begins."""
    end = TEXT_BYTES
    while end > TEXT_BYTES - 4 and encoded[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _record(level: int, mark: str, text: str) -> logging.LogRecord:
    # Made by hand: Logger.log() would walk the stack for a file and a line that nobody prints.
    record = logging.LogRecord("culvert", STANDARD[level], "", 0, text, (), None)
    record.severity = level
    record.mark = mark
    return record
