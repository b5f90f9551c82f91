"""What can go wrong, sorted by who has to act.

CulvertError
    ConfigError         the operator edits a file; nothing was started or changed
    ConfigErrors        the same, with every error of the file
    SystemRefusal       the operating system said no: a port in use, a missing right
    TunnelError         one tunnel could not go on; its neighbours are not touched
        TlsError        OpenSSL refused; carries its error queue
        PeerError       the remote end broke the rules of a protocol

Exceptions hold facts and the text is composed from them, so that a log line, a metric and a test each read
the fact that they need.  All of them survive pickling: they cross pipes between supervisor and workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple, Self


class Where(NamedTuple):
    """A line of a configuration file; `line` counts from 1, and 0 stands for the whole file."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


def printable(text: str) -> str:
    """The text for a terminal or a log: what could move a cursor or break a line is written as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class ConfigWarning(NamedTuple):
    """What works, but perhaps not as the operator thinks; it is nobody's duty to act.

    reason: a whole line for the log (level 4).
    """

    at: Where | None
    option: str
    reason: str

    def __str__(self) -> str:
        place = f"{self.at}: " if self.at else ""
        return printable(f"{place}{self.option}: {self.reason}" if self.option else f"{place}{self.reason}")


class CulvertError(Exception):
    """Anything that Culvert raises on purpose."""


class ConfigError(CulvertError):
    """One thing that is wrong in a configuration.

    at: where it stands, None when the configuration was made by a program.
    option: the option as it is spelt in the manual, or `[section]`.
    reason: why it cannot be; a sentence without its full stop.
    near: a correct word that the operator may have meant.
    """

    def __init__(self, at: Where | None, option: str, reason: str, near: str | None = None) -> None:
        super().__init__(at, option, reason, near)
        self.at, self.option, self.reason, self.near = at, option, reason, near

    def __str__(self) -> str:
        place = f"{self.at}: " if self.at else ""
        subject = f"{self.option}: " if self.option else ""
        hint = f' (did you mean "{self.near}"?)' if self.near else ""
        return printable(f"{place}{subject}{self.reason}{hint}")


class ConfigErrors(CulvertError):
    """Everything that is wrong in a configuration, in the order of its lines; str() has one line for each.

    warnings: what was found besides and would not have stopped the start.
    """

    def __init__(self, errors: Iterable[ConfigError], warnings: Iterable[ConfigWarning] = ()) -> None:
        self.errors, self.warnings = tuple(errors), tuple(warnings)
        super().__init__(self.errors, self.warnings)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


class SystemRefusal(CulvertError):
    """The operating system refused something that does not belong to one tunnel.

    number: the errno, or None where the refusal has none (a resolver's answer).
    """

    def __init__(self, doing: str, reason: str, number: int | None = None) -> None:
        super().__init__(doing, reason, number)
        self.doing, self.reason, self.number = doing, reason, number

    @classmethod
    def of(cls, doing: str, error: OSError) -> Self:
        """The refusal that an OSError tells of."""
        if error.errno is None:
            return cls(doing, str(error))
        return cls(doing, error.strerror or os.strerror(error.errno), error.errno)

    def __str__(self) -> str:
        number = f" ({self.number})" if self.number is not None else ""
        return printable(f"{self.doing}: {self.reason}{number}")


class TunnelError(CulvertError):
    """A tunnel could not go on: what was being done, and why it failed."""

    def __init__(self, doing: str, reason: str) -> None:
        super().__init__(doing, reason)
        self.doing, self.reason = doing, reason

    def __str__(self) -> str:
        return printable(f"{self.doing}: {self.reason}" if self.reason else self.doing)


class TlsError(TunnelError):
    """OpenSSL refused: the call that failed, and the texts of its error queue, oldest first."""

    def __init__(self, doing: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(doing, "; ".join(reasons))
        self.args = (doing, reasons)  # what unpickling calls the constructor with
        self.reasons = reasons


class PeerError(TunnelError):
    """The remote end broke the rules of a protocol: which one, and how."""
