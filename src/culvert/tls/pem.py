"""Files of PEM blocks (RFC 7468): which blocks there are.  What is inside is for OpenSSL to say."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLOCK = re.compile(
    rb"^-----BEGIN (?P<label>[A-Z0-9. ]{1,60})-----[ \t]*\r?\n.*?^-----END (?P=label)-----[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
_PARAMETERS = ("DH PARAMETERS", "X9.42 DH PARAMETERS")

FILE_MAX = 64 * 1024 * 1024
"""Octets; the largest bundles of authorities in use have one or two MiB."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block, its BEGIN and END lines included."""

    label: str
    data: bytes
    line: int
    """Where it begins, counted from 1."""

    @property
    def is_certificate(self) -> bool:
        return self.label in _CERTIFICATES

    @property
    def is_key(self) -> bool:
        return self.label.endswith("PRIVATE KEY")

    @property
    def is_parameters(self) -> bool:
        return self.label in _PARAMETERS

    @property
    def is_revocation_list(self) -> bool:
        return self.label == "X509 CRL"

    @property
    def is_encrypted(self) -> bool:
        """True when a pass phrase is needed: PKCS#8 (RFC 5958), or the older way (RFC 1421, 4.6.1.1)."""
        return self.label.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in self.data


def blocks_of(text: bytes) -> tuple[Block, ...]:
    """All blocks, in their order; what stands between them is passed over."""
    blocks, line, seen = [], 1, 0
    for found in _BLOCK.finditer(text.replace(b"\r\n", b"\n")):
        line += found.string.count(b"\n", seen, found.start())
        seen = found.start()
        blocks.append(Block(found["label"].decode(), found[0] + b"\n", line))
    return tuple(blocks)


def read_blocks(path: str) -> tuple[Block, ...]:
    """The blocks of a file.  Raises OSError when it cannot be read or is absurdly large."""
    with open(path, "rb") as file:
        text = file.read(FILE_MAX + 1)
    if len(text) > FILE_MAX:
        raise OSError(f"larger than {FILE_MAX >> 20} MiB")
    return blocks_of(text)
