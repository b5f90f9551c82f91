"""Lines of configuration files: sections and settings with their positions, includes followed.

The grammar is stunnel's: one `[section]` or `name = value` a line, comments only in lines of their own, no
quoting, no continuation.  Bytes that are no UTF-8 are kept by surrogateescape, so file names of any encoding
work.

What the original does silently and what hurts an operator is told instead: a line that is too long is an
error and not two lines, what stands behind a NUL byte is named, an include that includes itself is found at
its first turn.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from culvert.config.model import Message
from culvert.errors import ConfigError, ConfigWarning, Where, printable

MAX_LINE = 16_383  # bytes of a line, its end not counted
MAX_FILE = 64 << 20  # bytes of one file
MAX_OPEN = 100  # files that may be open at once, the first one included
MAX_FILES = 65_536  # files in all: includes can double at each level
BOM = b"\xef\xbb\xbf"


class Section(NamedTuple):
    """A line `[name]`."""

    at: Where
    name: str


class Setting(NamedTuple):
    """A line `name = value`, both trimmed."""

    at: Where
    name: str
    value: str


class Spoilt(NamedTuple):
    """A line that is none of the two; its first word may be the name of an option."""

    at: Where
    word: str


Line = Section | Setting | Spoilt


class Abandoned(Exception):
    """Reading on would make no sense; the reason is in Reader.errors."""


class Reader:
    """Reads a configuration with everything that it includes.

    Errors and messages are collected in order; `files` numbers the files in the order in which they were
    opened.
    """

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigWarning] = []
        self.messages: list[Message] = []
        self.files: dict[str, int] = {}
        self._open: list[tuple[int, int]] = []  # (device, inode) from the first file to the current one
        self._count = 0

    def read(self, path: str) -> Iterator[Line]:
        """Yield the lines of a file.  What is wrong with it goes to `errors`."""
        try:
            yield from self._file(path, None)
        except Abandoned:
            return

    def read_bytes(self, data: bytes, path: str) -> Iterator[Line]:
        """Yield the lines of a configuration that was read elsewhere; `path` only names it."""
        self.files.setdefault(path, len(self.files))
        self._open.append((0, 0))
        try:
            yield from self._lines(data, path)
        except Abandoned:
            return

    def _file(self, path: str, included: Where | None) -> Iterator[Line]:
        try:
            data, identity = _contents(path)
        except OSError as error:
            reason = f'Cannot open configuration file "{path}": {error.strerror or error}'
            self._fail(included or Where(path, 0), "include" if included else "", reason)
            return
        if identity in self._open:
            self._abandon(included, f'"{path}" would include itself')
        if len(data) > MAX_FILE:
            self._abandon(included or Where(path, 0), f'"{path}" is longer than {MAX_FILE} bytes')
        self.files.setdefault(path, len(self.files))
        self._open.append(identity)
        yield from self._lines(data, path)
        self._open.pop()

    def _lines(self, data: bytes, path: str) -> Iterator[Line]:
        if data:
            self._note_mark(data.startswith(BOM))
        for number, raw in enumerate(data.removeprefix(BOM).split(b"\n"), 1):
            line = self._line(raw, Where(path, number))
            if line is None:
                continue
            yield line
            if isinstance(line, Setting) and line.name.lower() == "include":
                yield from self._directory(line)

    def _note_mark(self, found: bool) -> None:
        self.messages.append(Message(5, f"UTF-8 byte order mark {'' if found else 'not '}detected"))

    def _line(self, raw: bytes, at: Where) -> Line | None:
        text = self._text(raw, at)
        if not text or text[0] in ";#":
            return None
        if text[0] == "[" and text[-1] == "]" and len(text) > 1:
            return Section(at, text[1:-1])
        name, equals, value = text.partition("=")
        if not equals:
            self._fail(at, "", _no_equals(text))
            return Spoilt(at, (text.split() or [""])[0])
        return Setting(at, name.strip(_BLANKS), value.strip(_BLANKS))

    def _text(self, raw: bytes, at: Where) -> str:
        """The text of a line without what does not count; empty when nothing is left."""
        if len(raw) > MAX_LINE and not raw.lstrip().startswith((b";", b"#")):
            self._fail(at, "", f"the line has {len(raw)} bytes, at most {MAX_LINE} are allowed")
            return ""
        raw, nul, behind = raw.replace(b"\r", b"").partition(b"\0")
        if nul:
            reason = f"a NUL byte ends the line, {len(behind)} bytes behind it do not count"
            self.warnings.append(ConfigWarning(at, "", reason))
        return raw.strip().decode("utf-8", "surrogateescape")

    def _directory(self, line: Setting) -> Iterator[Line]:
        """Follow an include: every regular file of the directory, in the order of their names."""
        try:
            names = sorted(os.listdir(line.value)) if line.value else []
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._fail(line.at, "include", f'Failed to include directory "{line.value}": {reason}')
            return
        if not line.value:
            self._fail(line.at, "include", "a directory is needed")
        for name in names:
            path = os.path.join(line.value, name)
            if self._is_file(path):
                self._count_file(path, line.at)
                yield from self._file(path, line.at)

    def _is_file(self, path: str) -> bool:
        try:
            regular = stat.S_ISREG(os.stat(path).st_mode)
        except OSError:
            regular = False
        if not regular:
            self.messages.append(Message(7, printable(f'"{path}" is not a file')))
        return regular

    def _count_file(self, path: str, at: Where) -> None:
        self._count += 1
        if self._count > MAX_FILES:
            self._abandon(at, f"more than {MAX_FILES} files are included")
        if len(self._open) >= MAX_OPEN:
            depth = f"(maximum depth {MAX_OPEN}); recursive includes suspected"
            self._abandon(at, f'Include stack overflow while including "{path}" {depth}')

    def _fail(self, at: Where | None, option: str, reason: str) -> None:
        self.errors.append(ConfigError(at, option, reason))

    def _abandon(self, at: Where | None, reason: str) -> None:
        self._fail(at, "include", reason)
        raise Abandoned


_BLANKS = " \t\n\v\f\r"


def _contents(path: str) -> tuple[bytes, tuple[int, int]]:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            return file.read(MAX_FILE + 1), (status.st_dev, status.st_ino)
    except ValueError as error:  # a NUL in the path
        raise OSError(str(error)) from None


def _no_equals(text: str) -> str:
    """The reason, with the first word only: what follows may be a secret."""
    if text.startswith("["):
        return "No '=' found: a section line ends with ]"
    word = (text.split() or [""])[0]
    return f"No '=' found behind \"{word if len(word) <= 60 else f'{word[:60]}...'}\""
