"""CRLfile and CRLpath: whose certificates have been revoked.

All that an operator can get wrong here refuses peers rather than letting them in: a list that is missing, has
expired, is not valid yet or has a bad signature is an error of the certificate whose issuer it should be of
(RFC 5280, 6.3.3).  What can be seen of it beforehand is told at the start.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from datetime import timedelta

from culvert.errors import TlsError
from culvert.openssl import Context
from culvert.openssl.revocation import RevocationList, check_revocation
from culvert.tls.faults import Faults
from culvert.tls.pem import read_blocks

_HASHED = re.compile(r"[0-9a-f]{8}\.r[0-9]+")
"""How openssl-rehash(1) names a revocation list."""


def apply_revocation(faults: Faults, context: Context) -> bytes:
    """Check the service's peers against its lists, if it has any.

    Returns a digest that changes with every list, empty without lists: sessions are bound to it.
    """
    service = faults.service
    if not (service.crl_file or service.crl_path):
        return b""
    lists = _from_file(faults, service.crl_file) if service.crl_file else []
    in_folder = _from_folder(faults, service.crl_path) if service.crl_path else []
    for attribute, found in (("crl_file", lists), ("crl_path", in_folder)):
        for each in found:
            _look_at_dates(faults, attribute, each)
    attribute = "crl_path" if service.crl_path else "crl_file"
    with faults.about(attribute, "revocation cannot be checked"):
        check_revocation(context, lists, service.crl_path, whole_chain=service.crl_check_chain)
    return _digest([*lists, *in_folder], service.crl_path)


def _digest(lists: list[RevocationList], folder: str | None) -> bytes:
    summary = hashlib.sha256(repr(folder).encode("utf-8", "surrogateescape"))
    for each in lists:
        summary.update(hashlib.sha256(each.der).digest())
    return summary.digest()


def _from_file(faults: Faults, path: str) -> list[RevocationList]:
    failed = f"Failed to load {path} revocation lookup file"
    found: list[RevocationList] = []
    before = len(faults.errors)
    with faults.about("crl_file", failed):
        for block in read_blocks(path):
            if block.is_revocation_list:
                with faults.about("crl_file", f"{failed}: line {block.line} is not a usable list"):
                    found.append(RevocationList.from_pem(block.data))
    if not found and len(faults.errors) == before:
        faults.refuse("crl_file", f"{failed}: it has no BEGIN X509 CRL line")
    return found


def _from_folder(faults: Faults, path: str) -> list[RevocationList]:
    """The lists of a folder, as OpenSSL will find them there."""
    found: list[RevocationList] = []
    with faults.about("crl_path", f"cannot read {path}"):
        names = sorted(name for name in os.listdir(path) if _HASHED.fullmatch(name))
        for name in names:
            found += _of_one_file(faults, os.path.join(path, name))
        if not found:
            reason = (
                f"{path} has no revocation list yet (openssl rehash names them): every peer will be refused"
            )
            faults.warn("crl_path", reason)
    return found


def _of_one_file(faults: Faults, path: str) -> Iterator[RevocationList]:
    try:
        for block in read_blocks(path):
            if block.is_revocation_list:
                yield RevocationList.from_pem(block.data)
    except OSError as error:
        faults.warn("crl_path", f"cannot read {path}: {error.strerror or error}")
    except TlsError as error:
        faults.warn("crl_path", f"{path} is not a usable revocation list: {error.reason}")


def _look_at_dates(faults: Faults, attribute: str, found: RevocationList) -> None:
    whose = f"the revocation list of {found.issuer}"
    with faults.about(attribute, f"the dates of {whose} cannot be read"):
        left = found.ends_in
        if left is not None and left < timedelta(0):
            faults.warn(attribute, f"{whose} has expired ({found.ends}): its peers will be refused")
        if found.begins_in > timedelta(0):
            faults.warn(attribute, f"{whose} is not valid yet: its peers will be refused")
