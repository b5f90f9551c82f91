"""RNDfile and EGD: what they give is mixed into OpenSSL's pool before the workers are forked.

The pool rests on the kernel's entropy, which OpenSSL takes by itself, in every worker anew.  What is mixed in
only adds: a file that is missing, or that an attacker wrote, makes nothing worse.  So none of this stops the
start.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from culvert.config.model import GlobalOptions
from culvert.errors import SystemRefusal
from culvert.observe.log import DEBUG, INFO, WARNING
from culvert.tls import randomness

Say = Callable[[int, str], None]

WRITTEN = 1024
"""Octets of a new seed file, as RAND_write_file(3) makes it."""

FROM_EGD = 255
"""Octets that are asked of an EGD."""

_OWNER_ONLY = 0o600


def seed(options: GlobalOptions, say: Say) -> None:
    """Mix in what the global part names, and say so; `say` gets level and line."""
    if options.rnd_file is None and options.egd is None:
        say(DEBUG, "No PRNG seeding was required")
        return
    if options.rnd_file is not None:
        _from_file(options.rnd_file, options, say)
    if options.egd is not None:
        _from_egd(options.egd, say)
    if randomness.is_seeded():
        say(DEBUG, "PRNG seeded successfully")


def _from_file(path: str, options: GlobalOptions, say: Say) -> None:
    try:
        descriptor, writable = _open(path, options.rnd_overwrite)
    except OSError as error:
        say(INFO, f"Cannot retrieve any random data from {path}: {error.strerror}")
        return
    try:
        _from_descriptor(descriptor, writable, path, options, say)
    finally:
        os.close(descriptor)


def _from_descriptor(descriptor: int, writable: bool, path: str, options: GlobalOptions, say: Say) -> None:
    try:
        data = os.read(descriptor, options.rnd_bytes)
    except OSError as error:
        say(INFO, f"Cannot retrieve any random data from {path}: {error.strerror}")
        return
    randomness.stir(data)
    say(DEBUG, f"Snagged {len(data)} random bytes from {path}")
    if options.rnd_overwrite and stat.S_ISREG(os.fstat(descriptor).st_mode):
        _overwrite(descriptor, path, writable, say)


def _open(path: str, overwrite: bool) -> tuple[int, bool]:
    """A descriptor, and whether it can be written; a pipe without a writer is not waited for."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    if overwrite and stat.S_ISREG(os.stat(path).st_mode):
        try:
            return os.open(path, flags | os.O_RDWR | os.O_NOFOLLOW), True
        except OSError:
            pass
    return os.open(path, flags | os.O_RDONLY), False


def _overwrite(descriptor: int, path: str, writable: bool, say: Say) -> None:
    """The same seed must not serve twice."""
    if not writable:
        say(WARNING, f"Failed to write strong random data to {path}: it cannot be opened for writing")
        return
    try:
        os.fchmod(descriptor, _OWNER_ONLY)
        os.ftruncate(descriptor, 0)
        count = os.pwrite(descriptor, randomness.random_bytes(WRITTEN), 0)
    except OSError as error:
        say(WARNING, f"Failed to write strong random data to {path}: {error.strerror}")
    else:
        say(DEBUG, f"Wrote {count} new random bytes to {path}")


def _from_egd(path: str, say: Say) -> None:
    from culvert.net import egd

    try:
        data = egd.ask(path, FROM_EGD)
    except SystemRefusal as refusal:
        say(WARNING, str(refusal))
        return
    randomness.stir(data)
    say(DEBUG, f"Snagged {len(data)} random bytes from EGD socket {path}")
