"""Giving up rights: the root directory, the groups and the user that the daemon was started with.

All of it happens once, after the ports were opened, and for the supervisor too, so a reload works with the
rights that are left: as stunnel's manual says, it finds its files inside the new root, and low ports and
files of root only are out of its reach.

Python loads a module when it is first used, from a library that the new root does not have.  What the
daemon may use later is therefore loaded before the root changes.
"""

from __future__ import annotations

import os
import time
from importlib import import_module
from typing import Final, NamedTuple

from culvert.config.model import GlobalOptions
from culvert.errors import SystemRefusal

_USED_LATER: Final = (
    "culvert.daemon.worker",
    "ctypes",  # watching files
    "concurrent.futures.thread",  # getaddrinfo of asyncio
    "encodings.idna",  # host names
    "encodings.ascii",
    "encodings.utf_8_sig",
    "grp",
    "pwd",
    "stringprep",
    "traceback",
    "unicodedata",
)


class Rights(NamedTuple):
    """What is to be given up, with names already looked up: those of the new root are another system's.

    root: the new root directory, None to keep it.  user, group: numbers, None to keep them.
    """

    root: str | None
    user: int | None
    group: int | None

    @classmethod
    def of(cls, options: GlobalOptions) -> Rights:
        """What a configuration asks for.  Raises SystemRefusal for a name that is gone since it was read."""
        return cls(options.chroot, _user(options.setuid), _group(options.setgid))


def give_up(rights: Rights) -> tuple[str, ...]:
    """Change root, then groups, then user; returns lines for the log.  Raises SystemRefusal at the first
    failure.

    With `setgid` that group is the only one left; with `setuid` alone the group stays, and all
    supplementary groups go.
    """
    lines = []
    if rights.root is not None:
        _change_root(rights.root)
        lines.append(f"Switched to chroot directory: {rights.root}")
    if rights.group is not None:
        _do("setgroups", os.setgroups, [rights.group])
        _do("setgid", os.setgid, rights.group)
    elif rights.user is not None:
        _do("setgroups", os.setgroups, [])
    if rights.user is not None:
        _do("setuid", os.setuid, rights.user)
    return tuple(lines)


def _change_root(root: str) -> None:
    for module in _USED_LATER:
        import_module(module)
    time.tzset()  # the time zone is read once, from the old root
    time.localtime()
    _do(f"chroot {root}", os.chroot, root)
    _do("chdir", os.chdir, "/")


def _do(doing: str, call: object, argument: object) -> None:
    try:
        call(argument)  # type: ignore[operator]
    except OSError as error:
        raise SystemRefusal.of(doing, error) from error


def _user(name: str | None) -> int | None:
    import pwd  # the option is rare

    if name is None or name.isdigit():
        return None if name is None else int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise SystemRefusal("setuid", f'there is no user "{name}"') from None


def _group(name: str | None) -> int | None:
    import grp

    if name is None or name.isdigit():
        return None if name is None else int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise SystemRefusal("setgid", f'there is no group "{name}"') from None
