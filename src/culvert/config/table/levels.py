"""Log levels and facilities by name, users and groups by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from culvert.config.values import BadValue, Kind, nearest

LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FACILITIES = (
    *(
        "kern",
        "user",
        "mail",
        "daemon",
        "auth",
        "syslog",
        "lpr",
        "news",
        "uucp",
        "cron",
        "authpriv",
        "ftp",
        "ntp",
    ),
    *(f"local{number}" for number in range(8)),
)


class DebugLevel(NamedTuple):
    """The value of the global `debug`: the facility is None where the line names none."""

    level: int
    facility: str | None

    def __str__(self) -> str:
        return ".".join(filter(None, (self.facility, LEVELS[self.level])))


def parse_level(text: str) -> int:
    """0-7 or a name of syslog -> 0-7."""
    if len(text) == 1 and text in "01234567":
        return int(text)
    try:
        return LEVELS.index(text.lower())
    except ValueError:
        raise BadValue("Illegal debug level", nearest(text, LEVELS, 0.5)) from None


def parse_debug(text: str) -> DebugLevel:
    """`[FACILITY.]LEVEL`."""
    facility, dot, level = text.rpartition(".")
    if dot and facility.lower() not in FACILITIES:
        raise BadValue("Illegal syslog facility", nearest(facility, FACILITIES))
    return DebugLevel(parse_level(level), facility.lower() or None)


def _level_name(level: int) -> str:
    return LEVELS[level]


LEVEL = Kind("0 to 7 | " + " | ".join(LEVELS), parse_level, _level_name, words=LEVELS)
DEBUG = Kind(
    "[FACILITY.]LEVEL", parse_debug, lambda value: LEVELS[value] if isinstance(value, int) else str(value)
)


def user_of(text: str) -> str | None:
    """A user that exists, by name or number; 0 is the same as none."""
    import pwd  # not on every platform, and the option is rare

    return _account(text, "Illegal UID", pwd.getpwnam)


def group_of(text: str) -> str | None:
    """A group that exists, by name or number; 0 is the same as none."""
    import grp

    return _account(text, "Illegal GID", grp.getgrnam)


def _account(text: str, reason: str, lookup: Callable[[str], object]) -> str | None:
    if text.isascii() and text.isdigit():
        return None if int(text[:18]) == 0 else text
    try:
        _find(lookup, text)
    except (KeyError, ValueError):
        raise BadValue(f'{reason}: there is no "{text}" here') from None
    return text


@functools.cache
def _find(lookup: Callable[[str], object], name: str) -> object:
    """What was found once need not be found again: after `chroot` there may be no list of users."""
    return lookup(name)
