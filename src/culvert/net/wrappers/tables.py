"""The two files: their lines, and what in them only a program started by inetd could obey."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from culvert.errors import CulvertError

LINE_OCTETS: Final = 2047
"""A longer line is no rule; the library has a buffer of 2048."""

_ELEMENT: Final = re.compile(r"[^, \t\r\n]+")

# What a rule may ask for beside a verdict (hosts_options(5)): whether it has a value, and stands at the end.
_NEEDS_VALUE: Final = frozenset(
    ["user", "group", "umask", "linger", "spawn", "twist", "setenv", "severity", "banners", "aclexec"]
)
_TAKES_VALUE: Final = _NEEDS_VALUE | {"rfc931", "nice"}
_LAST: Final = frozenset(("allow", "deny", "twist"))
_KNOWN: Final = _TAKES_VALUE | _LAST | {"keepalive"}

# These start programs, talk to the client in clear, or change the process that judges.
_IMPOSSIBLE: Final = frozenset(("spawn", "twist", "aclexec", "banners", "user", "group"))


class Tables(NamedTuple):
    """The paths of the two files."""

    allow: str = "/etc/hosts.allow"
    deny: str = "/etc/hosts.deny"


class Unsupported(CulvertError):
    """A rule that concerns a service asks for what a TLS tunnel cannot do: the connection is refused."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path, self.line, self.reason = path, line, reason

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


class SpoiltOptions(CulvertError):
    """The options of a rule are wrong: service is denied (hosts_options(5), DIAGNOSTICS)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: the words of its lists, and its options as they are written.

    whole: False for a line that is too long or has no end.  It permits nobody, and refuses everybody.
    """

    line: int
    daemons: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    options: str | None = None
    whole: bool = True

    def parsed_options(self) -> Iterator[tuple[str, str]]:
        """The options, keywords in lower case.  Raises SpoiltOptions."""
        if self.options is None:
            return
        fields = _fields(self.options)
        for number, text in enumerate(fields):
            yield _option(text.strip(), last=number == len(fields) - 1)


def read(path: str) -> tuple[Rule, ...]:
    """The rules of a file, in their order; none where there is no file.  Raises OSError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return tuple(_rules(file.read()))
    except FileNotFoundError:
        return ()


def find_impossible(tables: Tables, daemon: str) -> Unsupported | None:
    """The first rule that may concern a service and asks for what cannot be done.

    Whether it really matches is known only for a client: what might be needed is refused beforehand.
    """
    for path in tables:
        for rule in read(path):
            reason = _impossible(rule)
            if reason and _may_concern(rule, daemon):
                return Unsupported(path, rule.line, reason)
    return None


def split_at(text: str, mark: str) -> tuple[str, str | None]:
    """Before and behind the first `mark` that is not within brackets; None where there is none."""
    depth = 0
    for index, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        elif character == mark and depth == 0:
            return text[:index], text[index + 1 :]
    return text, None


def _rules(text: str) -> Iterator[Rule]:
    for number, line, whole in _lines(text):
        if not whole or len(line) > LINE_OCTETS:
            yield Rule(number, whole=False)
            continue
        daemons, rest = split_at(line, ":")
        if line.startswith("#") or rest is None:
            continue
        clients, options = split_at(rest, ":")
        yield Rule(number, tuple(_ELEMENT.findall(daemons)), tuple(_ELEMENT.findall(clients)), options)


def _lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """Lines without their end, continued ones joined, and whether they have an end."""
    collected = ""
    *lines, rest = text.split("\n")
    for number, line in enumerate(lines, 1):
        if line.endswith("\\"):
            collected += line[:-1]
        else:
            yield number, collected + line, True
            collected = ""
    if collected + rest:
        yield len(lines) + 1, collected + rest, False


def _fields(text: str) -> list[str]:
    """Split at colons that have no backslash before them; the backslash goes."""
    fields = [""]
    skip = False
    for index, character in enumerate(text):
        if skip:
            skip = False
        elif character == "\\" and text[index + 1 : index + 2] == ":":
            fields[-1] += ":"
            skip = True
        elif character == ":":
            fields.append("")
        else:
            fields[-1] += character
    return fields


def _option(text: str, *, last: bool) -> tuple[str, str]:
    found = re.match(r"([^ \t=]*)[ \t]*=?[ \t]*(.*)", text, re.DOTALL)
    assert found is not None
    key, value = found.group(1).lower(), found.group(2)
    if key not in _KNOWN:
        raise SpoiltOptions(f'bad option name: "{key}"' if key else "missing option name")
    if key in _NEEDS_VALUE and not value:
        raise SpoiltOptions(f'option "{key}" requires value')
    if value and key not in _TAKES_VALUE:
        raise SpoiltOptions(f'option "{key}" does not take value')
    if key in _LAST and not last:
        raise SpoiltOptions(f'option "{key}" must be at end')
    return key, value


def _impossible(rule: Rule) -> str | None:
    try:
        for key, _ in rule.parsed_options():
            if key in _IMPOSSIBLE:
                return f'"{key}" is not supported: Culvert runs no commands and says nothing for a rule'
    except SpoiltOptions:
        return None  # it denies
    if any(word.rpartition("@")[2] and word.startswith("@") for word in rule.clients):
        return "netgroups are not supported"
    return None


def _may_concern(rule: Rule, daemon: str) -> bool:
    """Whether the first list could match; whatever stands behind EXCEPT is not looked at."""
    for word in rule.daemons:
        if word.upper() == "EXCEPT":
            return False
        name = word[0] + word[1:].partition("@")[0]
        wild = name.upper() in ("ALL", "KNOWN") or name[0] == "." or name[-1] == "." or set("*?") & set(name)
        if wild or name.lower() == daemon.lower() or name.isdigit():
            return True
    return False


def stamp(tables: Tables) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes when one of the files changes."""
    return tuple(_stamp(path) for path in tables)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
