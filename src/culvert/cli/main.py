"""The command line: stunnel's grammar, and a few words of our own.

Of stunnel's forms only the first two arguments are looked at, in any case of letters; what is none of them is
the name of a configuration file.  A file that is called like one of our words is written ./check.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from culvert.daemon.source import Source

USAGE: Final = """\
culvert [FILE]       run the services of FILE
culvert -fd N        the same, read from descriptor N
culvert -help        list the options of the configuration file
culvert -version     show the version, and the options' defaults
culvert -sockets     show socket options and their defaults
culvert -options     list the TLS options that OpenSSL has
culvert check FILE   find errors and risks in FILE without running it
culvert sessiond     keep TLS sessions for several machines
culvert demo         show a tunnel at work
"""

DEFAULT_FILES: Final = ("/etc/culvert/culvert.conf", "/etc/stunnel/stunnel.conf")

# Every module is imported when its word is said, and only then: a daemon pays for its own parts alone.
_WORDS: Final = {
    "check": "culvert.cli.check",
    "demo": "culvert.cli.demo",
    "sessiond": "culvert.cli.sessiond",
}
_INFORMATION: Final = {
    "-help": "help_text",
    "-version": "version_text",
    "-sockets": "sockets_text",
    "-options": "options_text",
    "version": "version_text",
}


_WINDOWS: Final = {
    "-install": "a service manager starts it, see packaging/ for systemd",
    "-uninstall": "remove the unit of the service manager",
    "-start": "start it by its unit, or by `culvert FILE`",
    "-stop": "send SIGTERM to the process of the `pid` file",
    "-exit": "send SIGTERM to the process of the `pid` file",
    "-reload": "send SIGHUP to the process of the `pid` file",
    "-reopen": "send SIGUSR1 to the process of the `pid` file",
    "-quiet": "there are no message boxes to leave out",
}
"""Flags of the Windows program, and what is done here instead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say (without the program's name); returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    first = words[0] if words else ""
    if first in _WORDS:
        return int(import_module(_WORDS[first]).run(words[1:]))
    if first in ("help", "--help", "-h"):
        sys.stderr.write(USAGE)
        return 0
    flag = "-version" if first == "--version" else first.lower() if first.startswith("-") else first
    if flag in _INFORMATION:
        sys.stderr.write(getattr(import_module("culvert.cli.information"), _INFORMATION[flag])())
        return 0
    if flag in _WINDOWS:
        sys.stderr.write(f"{flag} is a flag of the Windows program; here {_WINDOWS[flag]}\n")
        return 1
    return _run(_descriptor(words[1:2]) if flag == "-fd" else _file(first))


def _run(find_source: Callable[[], Source]) -> int:
    from culvert.cli.information import banner
    from culvert.daemon.start import run

    return run(find_source, banner())


def _file(name: str) -> Callable[[], Source]:
    def find() -> Source:
        from culvert.daemon.source import FileSource

        return FileSource.named(name or default_file())

    return find


def default_file() -> str:
    """The configuration file that is meant when none is named: ours if it is there, else stunnel's."""
    return next(filter(os.path.exists, DEFAULT_FILES), DEFAULT_FILES[0])


def _descriptor(words: Sequence[str]) -> Callable[[], Source]:
    def find() -> Source:
        from culvert.daemon.source import DescriptorSource
        from culvert.errors import ConfigError, ConfigErrors

        if not words:
            raise ConfigErrors([ConfigError(None, "-fd", "No file descriptor specified")])
        if not (words[0].isascii() and words[0].isdecimal()):
            raise ConfigErrors([ConfigError(None, "-fd", "Invalid file descriptor number")])
        return DescriptorSource(int(words[0]))

    return find
