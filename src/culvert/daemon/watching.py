"""`watch = yes`: files of certificates, keys, authorities and revocation lists are loaded again when they
change.

inotify(7) tells that something happened in a directory; whether a file that is in use is another one now is
found by looking.  Watched are directories and not files, and every directory in which a link on the way to
a file stands, since that is how files are replaced: by a rename, or as Kubernetes does it, by turning the
link `..data` to another directory.

Several files are seldom replaced at one instant.  So a change counts when nothing more has happened for a
moment, and a load that fails, for a new certificate beside an old key, is tried again at the next change.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from culvert.config.model import Configuration, Service
from culvert.config.secrecy import file_of
from culvert.errors import SystemRefusal

QUIET_SECONDS: Final = 0.3
"""How long nothing may have happened before a change counts."""

LONGEST_SECONDS: Final = 2.0
"""How long something may go on happening before a change counts all the same."""

_FILES: Final = ("key", "ca_file", "ca_path", "ca_store", "crl_file", "crl_path", "psk_secrets")
_MOST_LINKS: Final = 256
_MOST_ENTRIES: Final = 10_000

# inotify(7), the same on every Linux.
_INIT: Final = os.O_NONBLOCK | os.O_CLOEXEC
_CLOSE_WRITE, _MOVED, _CREATE, _DELETE, _SELF, _ONLYDIR = 0x8, 0xC0, 0x100, 0x200, 0xC00, 0x1000000
_MASK: Final = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _SELF | _ONLYDIR

Look = tuple[tuple[str, object], ...]
"""What files are at one moment; unequal when one of them has become another."""


def look(configuration: Configuration) -> Look:
    """How the files of a configuration look now; to be taken before they are loaded."""
    paths = sorted({path for service in configuration.services for path in _paths(service)})
    return tuple((path, _facts(path)) for path in paths)


def _paths(service: Service) -> Iterator[str]:
    """Names of files and directories; what is no path, such as the name of a key in a token, is left out."""
    given = (*service.cert, *(getattr(service, attribute) for attribute in _FILES))
    named = (file_of(name) for name in given if name)
    yield from (path for path in named if path and (os.path.isabs(path) or os.path.lexists(path)))


def _facts(path: str) -> object:
    try:
        if not os.path.isdir(path):
            return os.path.realpath(path), _identity(os.stat(path))
        with os.scandir(path) as entries:
            some = itertools.islice(entries, _MOST_ENTRIES)
            found = sorted((entry.name, _identity_of(entry.path)) for entry in some)
        return os.path.realpath(path), tuple(found)
    except OSError as error:
        return error.errno


def _identity_of(path: str) -> tuple[int, ...]:
    """Of an entry in a directory; a link that leads nowhere does not hide the others."""
    try:
        return _identity(os.stat(path))
    except OSError:
        return ()


def _identity(facts: os.stat_result) -> tuple[int, ...]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def directories(path: str) -> set[str]:
    """Every directory where a change of an entry may make `path` another file."""
    found, here = set(), "/"
    left = deque(os.path.abspath(path).split("/"))
    for _ in range(_MOST_LINKS):
        if not left:
            break
        name = left.popleft()
        if name in ("", ".", ".."):
            here = os.path.dirname(here) if name == ".." else here
            continue
        full = os.path.join(here, name)
        target = _target(full)
        if target is not None:
            found.add(here)
            here = "/" if target.startswith("/") else here
            left.extendleft(reversed(target.split("/")))
            continue
        if not left:
            found.add(here)
        here = full
    return found | {here} if os.path.isdir(here) else found


def _target(path: str) -> str | None:
    """Where a link leads; None for what is no link, or is gone by now."""
    try:
        return os.readlink(path)
    except OSError:
        return None


class Watch:
    """Tells when files of a configuration have changed; `fileno` is readable when something happened near
    them.

    Raises SystemRefusal when the kernel gives no watches (their number is limited for each user).
    """

    def __init__(self, configuration: Configuration, loaded: Look) -> None:
        self._configuration = configuration
        self._last = loaded  # the look that was loaded, or tried last
        self._first_event: float | None = None
        self._last_event = 0.0
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _checked(libc.inotify_init1(_INIT), "inotify_init1")
        try:
            for place in _places(loaded):
                number = libc.inotify_add_watch(self._descriptor, os.fsencode(place), ctypes.c_uint32(_MASK))
                if ctypes.get_errno() not in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
                    _checked(number, f"inotify_add_watch {place}")
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        return self._descriptor

    def hear(self) -> None:
        """Take in that something happened."""
        with suppress(BlockingIOError):
            while os.read(self._descriptor, 65_536):
                self._last_event = time.monotonic()
                self._first_event = self._first_event or self._last_event

    def seconds_to_next(self) -> float | None:
        """How long until `changed` is worth a look; None while nothing happens."""
        if self._first_event is None:
            return None
        due = min(self._last_event + QUIET_SECONDS, self._first_event + LONGEST_SECONDS)
        return max(0.0, due - time.monotonic())

    def changed(self) -> bool:
        """Whether it is time to load the files, because they are others than those that were loaded or
        tried last."""
        if self.seconds_to_next() != 0.0:
            return False
        self._first_event = None
        now = look(self._configuration)
        before, self._last = self._last, now
        return now != before

    def close(self) -> None:
        """Watch no more."""
        os.close(self._descriptor)


def _places(loaded: Look) -> Iterable[str]:
    return sorted({place for path, _ in loaded for place in directories(path)})


def _checked(number: int, doing: str) -> int:
    if number < 0:
        code = ctypes.get_errno()
        raise SystemRefusal(doing, os.strerror(code), code)
    return number
