"""A sink for tests: keeps the records it is given, out of everybody else's way."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from culvert.observe.log import LOGGER
from culvert.observe.sinks import body


class Kept(logging.Handler):
    """`LOG<level>[<mark>]: text` of each record, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.bodies.append(body(record))


@contextmanager
def collecting() -> Iterator[Kept]:
    """Take part in the logger "culvert", at every level, for the time of the block."""
    kept, level = Kept(), LOGGER.level
    LOGGER.addHandler(kept)
    LOGGER.setLevel(1)
    try:
        yield kept
    finally:
        LOGGER.removeHandler(kept)
        LOGGER.setLevel(level)


def record(text: str = "hello", level: int = 5, mark: str = "7") -> logging.LogRecord:
    """A record as Log makes it, at the first second of 2026 (UTC)."""
    made = logging.LogRecord("culvert", logging.INFO, "", 0, text, (), None)
    made.severity, made.mark, made.created = level, mark, 1_767_225_600.0
    return made
