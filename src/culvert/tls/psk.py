"""`PSKsecrets`: which identity has which key, from a file of `identity:key` lines (stunnel(8)).

A key is taken as hexadecimal when all of it is, colons between the octets allowed, else as it stands.  Keys
and whole lines never get into a message; identities do, since they cross the wire in clear.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from culvert.config.model import Service
from culvert.errors import ConfigError, Where
from culvert.observe.log import INFO, WARNING
from culvert.openssl._callbacks import Finding, Report
from culvert.openssl.keys import LONGEST_IDENTITY, LONGEST_KEY
from culvert.tls.faults import SPELLING, Faults
from culvert.tls.lines import Line

SHORTEST_KEY = 16
"""Octets."""

FILE_MAX = 64 * 1024 * 1024
"""Octets."""

_HEXADECIMAL = re.compile(rb"(?:[0-9A-Fa-f]{2}:?)*[0-9A-Fa-f]{2}")
_ODD = re.compile(rb"[0-9A-Fa-f]+")


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the file."""

    identity: bytes
    secret: bytes = field(repr=False)
    hexadecimal: bool
    line: int

    @property
    def told(self) -> str:
        """What the log says of it."""
        kind = "hexadecimal" if self.hexadecimal else "ASCII"
        name = self.identity.decode("utf-8", "surrogateescape")
        size = len(self.secret)
        return f'PSKsecrets line {self.line}: {size}-byte {kind} key configured for identity "{name}"'


@dataclass(frozen=True, slots=True)
class Secrets:
    """The keys that a service uses: all of the file for a server, one for a client."""

    keys: tuple[Key, ...]
    known: int

    @property
    def pairs(self) -> tuple[tuple[bytes, bytes], ...]:
        return tuple((key.identity, key.secret) for key in self.keys)

    @property
    def digest(self) -> bytes:
        """Changes with any identity or key."""
        summary = hashlib.sha256()
        for key in sorted(self.pairs):
            for part in key:
                summary.update(hashlib.sha256(part).digest())
        return summary.digest()

    def lines(self) -> Iterator[Line]:
        """What the log says at the start."""
        for key in self.keys:
            yield INFO, key.told
        yield INFO, f"PSK identities: {self.known} retrieved"


def load_secrets(faults: Faults) -> Secrets | None:
    """Read the file of a service; None when it has none, or when a fault was found.

    Each line that is wrong is refused at its own place, all of them at once.
    """
    service = faults.service
    if service.psk_secrets is None:
        return None
    with faults.about("psk_secrets", f"cannot read {service.psk_secrets}"):
        keys, errors = read_secrets(service.psk_secrets)
        faults.errors += errors
        if errors:
            faults.refuse("psk_secrets", f"Failed to read PSK secrets from {service.psk_secrets}")
            return None
        _warn_of_odd_digits(faults, keys)
        return _wanted(faults, keys)
    return None


def read_secrets(path: str) -> tuple[tuple[Key, ...], list[ConfigError]]:
    """The keys of a file, and what is wrong with its lines.  Raises OSError."""
    with open(path, "rb") as file:
        text = file.read(FILE_MAX + 1)
    if len(text) > FILE_MAX:
        raise OSError(f"larger than {FILE_MAX >> 20} MiB")
    keys: dict[bytes, Key] = {}
    errors = []
    lines = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"").split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        key = _key(line, number)
        if isinstance(key, Key) and (first := keys.setdefault(key.identity, key)) is not key:
            key = f"its identity is that of line {first.line}, too"
        if isinstance(key, str):
            errors.append(ConfigError(Where(path, number), SPELLING["psk_secrets"], key))
    if not keys and not errors:
        errors.append(ConfigError(Where(path, 0), SPELLING["psk_secrets"], "there is no key in it"))
    return tuple(keys.values()), errors


def _key(line: bytes, number: int) -> Key | str:
    """The key of a line, or why it is none."""
    identity, colon, text = line.partition(b":")
    if not colon:
        return "Not in identity:key format"
    if not identity:
        return "Identity is empty"
    if b"\0" in line:
        return "There is a zero octet in it"
    if len(identity) > LONGEST_IDENTITY:
        return f"Identity longer than {LONGEST_IDENTITY} characters"
    hexadecimal = _HEXADECIMAL.fullmatch(text) is not None
    secret = bytes.fromhex(text.replace(b":", b"").decode()) if hexadecimal else text
    if len(secret) < SHORTEST_KEY:
        return f"Key shorter than {SHORTEST_KEY} bytes"
    if len(secret) > LONGEST_KEY:
        return f"Key longer than {LONGEST_KEY} bytes"
    return Key(identity, secret, hexadecimal, number)


def _warn_of_odd_digits(faults: Faults, keys: tuple[Key, ...]) -> None:
    for key in keys:
        if not key.hexadecimal and _ODD.fullmatch(key.secret):
            what = "has an odd number of hexadecimal digits, so they are taken for text"
            faults.warn("psk_secrets", f"the key in line {key.line} of {faults.service.psk_secrets} {what}")


def _wanted(faults: Faults, keys: tuple[Key, ...]) -> Secrets | None:
    service = faults.service
    if not service.client:
        return Secrets(keys, len(keys))
    if service.psk_identity is None:
        return Secrets(keys[:1], len(keys))
    wanted = service.psk_identity.encode("utf-8", "surrogateescape")
    found = tuple(key for key in keys if key.identity == wanted)
    if not found:
        faults.refuse("psk_identity", "No key found for the specified PSK identity")
        return None
    return Secrets(found, len(keys))


def relies_on_key(service: Service) -> bool:
    """A client that knows its server by the key alone."""
    verified = service.verify_chain or service.verify_peer or bool(service.pin)
    return service.client and service.psk_secrets is not None and not verified


class OnlyByKey:
    """Judges the certificates that a server shows instead of proving that it has the key: it takes none."""

    def judge(self, finding: Finding, report: Report) -> bool:
        report(WARNING, "PSK: the server showed a certificate instead of using the pre-shared key")
        report(WARNING, f"Rejected by CERT at depth={finding.depth}: {finding.certificate.subject}")
        return False
