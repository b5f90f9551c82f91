"""From the lines of a file to a Configuration: inheritance, then the checks.  All errors are told at once.

Options of services that stand before the first section are the defaults of every section behind them.  A
section begins as a copy of these defaults; how its own lines go together with them is the business of each
option's `Merge`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

from culvert.config.advice import advise
from culvert.config.checks import check_file
from culvert.config.draft import Draft
from culvert.config.model import (
    GLOBAL,
    GLOBAL_NAMES,
    SERVICE,
    SERVICE_NAMES,
    Configuration,
    GlobalOptions,
    Message,
    Service,
)
from culvert.config.options import Option
from culvert.config.syntax import Line, Reader, Section, Setting, Spoilt
from culvert.config.table.process import INCLUDE
from culvert.config.values import BadValue, nearest
from culvert.errors import ConfigError, ConfigErrors, ConfigWarning, Where

_MOST_HINTS = 50  # looking for a near name takes about a millisecond
_EVERY_NAME = tuple({each.name for each in (*GLOBAL, *SERVICE)})


def load_file(path: str | os.PathLike[str]) -> Configuration:
    """Read a file.  Raises ConfigErrors with everything that is wrong in it or in what it includes."""
    reader, name = Reader(), os.fspath(path)
    return _load(reader, reader.read(name), name)


def load_descriptor(descriptor: int) -> Configuration:
    """Read an open descriptor to its end and close it, but for 0, 1 and 2.  Raises ConfigErrors."""
    source = f"descriptor {descriptor}"
    try:
        os.fstat(descriptor)  # says of any number that it is none, where open() would not
        with open(descriptor, "rb", closefd=descriptor > 2) as file:
            data = file.read()
    except (OSError, ValueError, OverflowError) as error:
        reason = f"Cannot read the configuration: {getattr(error, 'strerror', None) or error}"
        raise ConfigErrors((ConfigError(Where(source, 0), "", reason),)) from error
    return load_bytes(data, source)


def load_text(text: str, path: str = "<text>") -> Configuration:
    """Read a text; `path` names it in errors.  Raises ConfigErrors."""
    return load_bytes(text.encode("utf-8", "surrogateescape"), path)


def load_bytes(data: bytes, path: str = "<text>") -> Configuration:
    """Read the bytes of a file; `path` names it in errors.  Raises ConfigErrors."""
    reader = Reader()
    return _load(reader, reader.read_bytes(data, path), path)


def _load(reader: Reader, lines: Iterable[Line], source: str) -> Configuration:
    loader = _Loader(source)
    for line in lines:
        loader.take(line)
    options, services, drafts = loader.options(), loader.services(), loader.drafts()
    errors = [*reader.errors, *loader.errors]
    errors += check_file(options, services, drafts, inetd=not loader.sections)
    warnings = tuple(_in_order((*reader.warnings, *loader.warnings, *advise(services, drafts)), reader.files))
    if errors:
        raise ConfigErrors(_in_order(errors, reader.files), warnings)
    return Configuration(
        options=options,
        services=services,
        inetd=not loader.sections,
        warnings=warnings,
        messages=(*reader.messages, *loader.messages),
        source=source,
    )


_Told = TypeVar("_Told", ConfigError, ConfigWarning)


def _in_order(told: Iterable[_Told], files: dict[str, int]) -> list[_Told]:
    """Errors or warnings by file and line; of what was said twice, once."""
    once = {(each.at, each.option, each.reason): each for each in told}

    def place(each: _Told) -> tuple[int, int]:
        return (files.get(each.at.path, -1), each.at.line) if each.at else (-1, 0)

    return sorted(once.values(), key=place)


class _Loader:
    """Sorts lines into the global part and the sections."""

    def __init__(self, source: str) -> None:
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigWarning] = []
        self.messages: list[Message] = []
        self.sections: list[Draft] = []
        self._global = Draft("", Where(source, 0))
        self._defaults = Draft("", Where(source, 0))
        self._hints = 0

    def take(self, line: Line) -> None:
        if isinstance(line, Section):
            self.sections.append(Draft(line.name, line.at, self._defaults))
        elif isinstance(line, Spoilt):
            self._not_missed(line.word, self.drafts()[-1])
        elif line.name.lower() == INCLUDE.attribute:
            return  # the reader has obeyed it already
        elif self.sections:
            self._take_in_section(line, self.sections[-1])
        else:
            self._take_global(line)

    def _take_global(self, line: Setting) -> None:
        name = line.name.lower()
        daemon, service = GLOBAL_NAMES.get(name), SERVICE_NAMES.get(name)
        if daemon:
            if self._set(daemon, line, self._global) and service and service.inherited:
                self._defaults.adopt(service, self._global)
        elif service:
            self._set(service, line, self._defaults)
        else:
            self._unknown(line, self._defaults)

    def _take_in_section(self, line: Setting, section: Draft) -> None:
        name = line.name.lower()
        if name in SERVICE_NAMES:
            self._set(SERVICE_NAMES[name], line, section)
        elif name in GLOBAL_NAMES:
            reason = "Specified option name is not valid here: it belongs before the first section"
            self.errors.append(ConfigError(line.at, GLOBAL_NAMES[name].name, reason))
        else:
            self._unknown(line, section)

    def _set(self, option: Option, line: Setting, draft: Draft) -> bool:
        try:
            value = option.kind.parse(line.value)
        except BadValue as error:
            draft.break_(option)
            near = error.near if self._may_hint() else None
            self.errors.append(ConfigError(line.at, option.name, error.reason, near))
            return False
        draft.set(option, value, line.at)
        self._remark(option, line)
        return True

    def _remark(self, option: Option, line: Setting) -> None:
        if line.name.lower() != option.name.lower():
            reason = f'"{line.name}" is an old name of "{option.name}"'
            self.warnings.append(ConfigWarning(line.at, option.name, reason))
        elif option.obsolete:
            self.warnings.append(ConfigWarning(line.at, option.name, option.obsolete))
        if option.idle:
            self.messages.append(Message(5, f"{line.at}: {option.name}: {option.idle}"))

    def _unknown(self, line: Setting, draft: Draft) -> None:
        near = nearest(line.name, _EVERY_NAME) if self._may_hint() else None
        self._not_missed(near or "", draft)
        shown = line.name if len(line.name) <= 60 else f"{line.name[:60]}..."
        self.errors.append(ConfigError(line.at, shown, "there is no option of this name", near))

    def _not_missed(self, name: str, draft: Draft) -> None:
        """Keep the checks from complaining that an option is absent whose line was only spoilt."""
        if name.lower() in SERVICE_NAMES:
            draft.break_(SERVICE_NAMES[name.lower()])

    def _may_hint(self) -> bool:
        self._hints += 1
        return self._hints <= _MOST_HINTS

    def drafts(self) -> list[Draft]:
        """The drafts of services(), in the same order."""
        return self.sections or [self._defaults]

    def options(self) -> GlobalOptions:
        return GlobalOptions(
            **self._global.values(), positions=self._global.positions, acts=tuple(self._global.acts)
        )

    def services(self) -> tuple[Service, ...]:
        if not self.sections:
            self._defaults.name = str(self._global.value("service") or GlobalOptions.service)
        return tuple(
            Service(
                **each.values(),
                name=str(each.value("service") or each.name),
                at=each.at,
                positions=each.positions,
                lines=each.lines,
            )
            for each in self.drafts()
        )
