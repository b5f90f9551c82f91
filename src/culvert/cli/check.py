"""`culvert check FILE`: everything that is wrong or doubtful in a configuration, without starting anything.

Certificates and keys are loaded as a start would load them.  Ends with 0 when all is well, with 1 when there
are warnings only, and with 2 when the daemon would not start.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from culvert.config import Configuration, ConfigWarning, load_descriptor, load_file
from culvert.errors import ConfigError, ConfigErrors, printable

USAGE = """\
culvert check [--json] FILE
culvert check [--json] -fd N

Reports errors and warnings with file and line.  Status: 0 fine, 1 warnings, 2 errors.
  --json   one JSON object instead of lines
"""
FINE, DOUBTFUL, BROKEN = 0, 1, 2


class Report(NamedTuple):
    """What was found in one configuration."""

    source: str
    services: int
    errors: tuple[ConfigError, ...]
    warnings: tuple[ConfigWarning, ...]

    @property
    def status(self) -> int:
        if self.errors:
            return BROKEN
        return DOUBTFUL if self.warnings else FINE


def run(arguments: Sequence[str]) -> int:
    """Do the command; `arguments` are the words behind `check`.  Returns the status to end with."""
    words = [each for each in arguments if each != "--json"]
    if any(each in ("-h", "-help", "--help") for each in words):
        sys.stderr.write(USAGE)
        return FINE
    descriptor = words[1] if len(words) == 2 and words[0] == "-fd" else None
    if descriptor is None and (len(words) != 1 or words[0].startswith("-")):
        sys.stderr.write(USAGE)
        return BROKEN
    if descriptor is not None and not (descriptor.isascii() and descriptor.isdigit()):
        sys.stderr.write(f'"{printable(descriptor)}" is no number of a descriptor\n')
        return BROKEN
    report = inspect(words[0] if descriptor is None else int(descriptor))
    sys.stdout.write(as_json(report) if "--json" in arguments else as_text(report))
    return report.status


def inspect(source: str | int) -> Report:
    """Read a file, or an open descriptor, and make of it everything short of sockets."""
    name = source if isinstance(source, str) else f"descriptor {source}"
    try:
        configuration = load_file(source) if isinstance(source, str) else load_descriptor(source)
    except ConfigErrors as found:
        return Report(name, 0, found.errors, found.warnings)
    errors, warnings = _look_at_tls(configuration)
    return Report(name, len(configuration.services), errors, (*configuration.warnings, *warnings))


def _look_at_tls(configuration: Configuration) -> tuple[tuple[ConfigError, ...], tuple[ConfigWarning, ...]]:
    """What is wrong and what is doubtful with certificates, keys, ciphers and the like, each thing once."""
    from culvert.observe.log import WARNING
    from culvert.tls import Builder, library  # needs the compiled module; errors of a file are told without

    errors: dict[str, ConfigError] = {}
    warnings: dict[ConfigWarning, None] = {}

    def say(level: int, text: str) -> None:
        if level <= WARNING:
            warnings[ConfigWarning(None, "", text)] = None

    try:
        library.take_over(configuration.options, say)
    except ConfigErrors as found:
        return found.errors, tuple(warnings)
    builder = Builder(configuration.services)
    for service in configuration.services:
        try:
            told = builder.build(service).warnings
        except ConfigErrors as found:
            errors |= {str(each): each for each in found.errors}
            told = found.warnings
        warnings |= dict.fromkeys(told)
    return tuple(errors.values()), tuple(warnings)


def as_text(report: Report) -> str:
    """A line for each finding, errors first, and a line that counts them."""
    lines = [
        *(_line("error", each) for each in report.errors),
        *(_line("warning", each) for each in report.warnings),
    ]
    return "\n".join([*lines, printable(f"{report.source}: {_verdict(report)}")]) + "\n"


def _line(severity: str, found: ConfigError | ConfigWarning) -> str:
    """As compilers write it: `FILE:LINE: error: OPTION: REASON`."""
    place = f"{printable(str(found.at))}: " if found.at else ""
    return f"{place}{severity}: {str(found).removeprefix(place)}"


def _verdict(report: Report) -> str:
    if report.status == FINE:
        return f"fine, {_count(report.services, 'service')}"
    counts = ((len(report.errors), "error"), (len(report.warnings), "warning"))
    return ", ".join(_count(number, word) for number, word in counts if number)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def as_json(report: Report) -> str:
    """The same for programs."""
    findings = [*_facts("error", report.errors), *_facts("warning", report.warnings)]
    document = {
        "file": report.source,
        "status": report.status,
        "services": report.services,
        "findings": findings,
    }
    return json.dumps(document, indent=2) + "\n"


def _facts(severity: str, found: Iterable[ConfigError | ConfigWarning]) -> list[dict[str, object]]:
    return [
        {
            "severity": severity,
            "file": each.at.path if each.at else None,
            "line": each.at.line if each.at else None,
            "option": each.option,
            "reason": each.reason,
            "near": getattr(each, "near", None),
        }
        for each in found
    ]
