"""Who may connect to a Unix socket that is listened on: owner, group and mode of its path.

They are set between bind() and listen(), so nobody connects before they hold.
"""

from __future__ import annotations

import functools
import os
import stat
from typing import NamedTuple

from culvert.config.model import Service
from culvert.errors import SystemRefusal

_UNCHANGED = -1  # chown(2)


class Access(NamedTuple):
    """What a path shall have; what is not asked for stays as the system makes it."""

    uid: int = _UNCHANGED
    gid: int = _UNCHANGED
    mode: int | None = None


def wanted(service: Service) -> Access:
    """What a service asks for.  Raises SystemRefusal for an account that is not there any more."""
    if service.accept_owner is not None:
        return Access(*service.accept_owner, service.accept_mode)
    uid = _UNCHANGED if service.setuid is None else _uid(service.setuid)
    gid = _UNCHANGED if service.setgid is None else _gid(service.setgid)
    return Access(uid, gid, service.accept_mode)


def grant(path: str, access: Access) -> None:
    """Make it so; what is so already is not touched.  Raises SystemRefusal."""
    try:
        facts = os.lstat(path)
        if access.uid not in (_UNCHANGED, facts.st_uid) or access.gid not in (_UNCHANGED, facts.st_gid):
            os.chown(path, access.uid, access.gid, follow_symlinks=False)
        if access.mode not in (None, stat.S_IMODE(facts.st_mode)):
            os.chmod(path, access.mode)
    except OSError as error:
        raise SystemRefusal.of(f"Access to {path}", error) from error


# Looked up once: in a jail, after a reload, there may be no list of users.
@functools.cache
def _uid(name: str) -> int:
    import pwd  # only configurations that name a user pay for the import

    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise SystemRefusal("setuid", f'there is no user "{name}"') from None


@functools.cache
def _gid(name: str) -> int:
    import grp

    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise SystemRefusal("setgid", f'there is no group "{name}"') from None
