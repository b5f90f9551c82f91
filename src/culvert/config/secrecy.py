"""Files that nobody but their owner should read: private keys, in any of their formats, pre-shared ones, and
the configuration itself where a secret stands in it.

By default a file that others can use is warned of; `strict = yes` refuses it.  Only files are looked at:
tokens and engines guard their keys themselves, and what cannot be read is an error elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from culvert.config.model import Service
from culvert.config.table.sharing import RedisPlace

_LONGEST_KEY_FILE = 1 << 20  # bytes that are searched for a private key
_GROUP, _OTHERS = 0o070, 0o007
# PKCS#12 (RFC 7292, 4) and private keys in DER (RFC 5958, 2) begin with a number, certificates do not.
_SECRET_DER = re.compile(
    rb"\x30(?:[\x00-\x7f]|\x80|\x81.|\x82..|\x83...|\x84....)\x02\x01[\x00-\x03]", re.DOTALL
)


class Exposed(NamedTuple):
    """A file with a secret that its group or others can use."""

    attribute: str
    path: str
    to_others: bool
    """False when it is the group alone."""
    what: str

    @property
    def reason(self) -> str:
        """As stunnel says it; where others are in it too, nothing needs to be added."""
        told = f"Insecure file permissions on {self.path}"
        return told if self.to_others else f"{told}: its group can use {self.what}"


def exposed(service: Service) -> Iterator[Exposed]:
    """The files of a service that somebody else can read, or change."""
    keys = (("key", service.key),) if service.key else tuple(("cert", each) for each in service.cert)
    for attribute, name in keys:
        path = file_of(name)
        mode = _shared(path)
        if mode and _has_a_key(path):
            yield Exposed(attribute, path, bool(mode & _OTHERS), "the private key")
    if service.psk_secrets and (mode := _shared(service.psk_secrets)):
        yield Exposed("psk_secrets", service.psk_secrets, bool(mode & _OTHERS), "the keys")
    for attribute in _written(service):
        path = at.path if (at := service.positions.get(attribute)) else ""
        if path and (mode := _shared(path)):
            yield Exposed(attribute, path, bool(mode & _OTHERS), "the secret in it")


def _written(service: Service) -> Iterator[str]:
    """The options whose secret stands in the configuration file itself."""
    if service.ticket_key_secret is not None:
        yield "ticket_key_secret"
    if isinstance(service.sessiond, RedisPlace) and service.sessiond.password:
        yield "sessiond"


def file_of(name: str) -> str:
    """The file that a URI names, else the name itself."""
    return name.removeprefix("file://").removeprefix("file:")


def _shared(path: str) -> int:
    """The permissions of everybody but the owner."""
    try:
        return os.stat(path).st_mode & (_GROUP | _OTHERS)
    except (OSError, ValueError):
        return 0  # that it cannot be read is told where it is needed


def _has_a_key(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(_LONGEST_KEY_FILE)
    except (OSError, ValueError):
        return False
    return b"PRIVATE KEY-----" in start or _SECRET_DER.match(start) is not None
